"""Scores to events, row by row. A row is 20 ms (320 samples) here, and times are given in rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio import F32
from streamer.decoding.decoder import Decoder, Detection, smoothing_weights
from streamer.decoding.rules import LabelRule
from tests.support.chunks import random_chunks, told

ROW = 320
ROW_MS = 20.0
PLAIN: dict[str, Any] = {"smoothing_ms": 0, "min_ms": 0, "release_ms": 0, "max_ms": 0, "refractory_ms": 0}


def rule(name: str = "dog", kind: Any = "sound", **changes: Any) -> LabelRule:
    """Nothing but a threshold, and what the test adds."""
    return msgspec.convert({"name": name, "kind": kind, **PLAIN, **changes}, LabelRule)


def keyword(name: str = "yes", **changes: Any) -> LabelRule:
    return rule(name, "keyword", **changes)


def column(*runs: tuple[float, int]) -> F32:
    """(T, 1) scores from (score, rows) pairs."""
    return np.concatenate([np.full((count, 1), score, np.float32) for score, count in runs])


def decode(rules: LabelRule | Sequence[LabelRule], scores: F32, lookahead: int = 0) -> list[Detection]:
    """All detections of one stream, the flush included."""
    decoder = Decoder([rules] if isinstance(rules, LabelRule) else rules, ROW, lookahead)
    return decoder.process(scores, 0) + decoder.flush(len(scores) * ROW)


def brief(detections: Sequence[Detection]) -> list[tuple[Any, ...]]:
    """Phase, onset, offset and detection in rows, and the reason if there is one."""
    rows = []
    for d in detections:
        offset = None if d.offset_sample is None else d.offset_sample / ROW
        rows.append(
            (
                d.phase,
                d.onset_sample / ROW,
                offset,
                d.detected_sample / ROW,
                *([d.reason] if d.reason else []),
            )
        )
    return rows


# --- Keywords


def test_a_keyword_is_one_hit_at_exact_samples() -> None:
    (hit,) = decode(keyword(), column((0.1, 10), (0.9, 30), (0.1, 10)))
    score = round(float(np.float32(0.9)), 6)
    assert hit == Detection("keyword", "yes", "hit", 10 * ROW, 11 * ROW, 11 * ROW, score)


def test_a_keyword_that_stays_is_told_once() -> None:
    assert len(decode(keyword(refractory_ms=100), column((0.9, 1000)))) == 1


def test_a_keyword_is_rearmed_only_below_the_end_threshold() -> None:
    tuned = keyword(threshold=0.5, end_threshold=0.3)
    assert len(decode(tuned, column((0.9, 5), (0.4, 5), (0.9, 5)))) == 1
    assert brief(decode(tuned, column((0.9, 5), (0.2, 1), (0.9, 5)))) == [("hit", 0, 1, 1), ("hit", 6, 7, 7)]


def test_refractory_time_counts_from_the_detection() -> None:
    tuned = keyword(refractory_ms=10 * ROW_MS)  # detected at row 1: quiet until row 11
    again = (0.0, 2), (0.9, 2)
    assert brief(decode(tuned, column((0.9, 1), (0.0, 9), (0.9, 1), (0.0, 5)))) == [("hit", 0, 1, 1)]
    assert brief(decode(tuned, column((0.9, 1), (0.0, 10), (0.9, 1)))) == [
        ("hit", 0, 1, 1),
        ("hit", 11, 12, 12),
    ]
    # What begins within the refractory time and lasts beyond it counts from where it may.
    assert brief(decode(tuned, column((0.9, 1), (0.0, 7), (0.9, 8), *again)))[1] == ("hit", 11, 12, 12)


def test_rearming_may_happen_within_the_refractory_time() -> None:
    tuned = keyword(refractory_ms=10 * ROW_MS)
    assert len(decode(tuned, column((0.9, 2), (0.0, 2), (0.9, 20)))) == 2


def test_minimum_duration_of_a_keyword() -> None:
    tuned = keyword(min_ms=3 * ROW_MS)
    assert decode(tuned, column((0.0, 5), (0.9, 2), (0.0, 5), (0.9, 2), (0.0, 5))) == []
    assert brief(decode(tuned, column((0.0, 5), (0.9, 3)))) == [("hit", 5, 8, 8)]


def test_the_score_of_a_hit_is_the_deciding_rows() -> None:
    (hit,) = decode(keyword(min_ms=3 * ROW_MS), column((0.9, 1), (0.8, 1), (0.75, 1), (0.99, 1)))
    assert hit.score == 0.75


# --- Sounds


def test_a_sound_starts_and_ends_at_exact_samples() -> None:
    start, end = decode(rule(), column((0.0, 10), (0.75, 5), (1.0, 1), (0.5, 4), (0.0, 10)))
    assert start == Detection("sound", "dog", "start", 10 * ROW, None, 11 * ROW, 0.75)
    assert end == Detection("sound", "dog", "end", 10 * ROW, 20 * ROW, 21 * ROW, 1.0)


def test_lookahead_is_added_to_the_moment_of_detection_only() -> None:
    scores = column((0.0, 10), (0.75, 5), (0.0, 10))
    for plain, late in zip(decode(rule(), scores), decode(rule(), scores, 120), strict=True):
        assert late.detected_sample == plain.detected_sample + 120
        assert (late.onset_sample, late.offset_sample) == (plain.onset_sample, plain.offset_sample)


def test_first_sample_moves_all_times() -> None:
    scores = column((0.0, 3), (0.9, 3), (0.0, 3))
    far = 10**15 + 7
    for near, moved in zip(decode(rule(), scores), Decoder([rule()], ROW).process(scores, far), strict=True):
        assert moved.onset_sample == near.onset_sample + far
        assert moved.detected_sample == near.detected_sample + far


def test_hysteresis() -> None:
    tuned = rule(threshold=0.6, end_threshold=0.3)
    scores = column((0.5, 5), (0.6001, 2), (0.3001, 50), (0.5, 5), (0.2999, 1), (0.5, 5))
    assert brief(decode(tuned, scores)) == [("start", 5, None, 6), ("end", 5, 62, 63)]


def test_the_default_end_threshold_is_a_share_of_the_threshold() -> None:
    scores = column((0.9, 2), (0.49, 5), (0.47, 1), (0.0, 1))
    assert brief(decode(rule(threshold=0.8), scores))[1] == ("end", 0, 7, 8)


def test_minimum_duration_keeps_the_onset() -> None:
    tuned = rule(min_ms=70)  # four rows of 20 ms
    assert decode(tuned, column((0.9, 3), (0.4, 1), (0.9, 3), (0.0, 3))) == []
    assert brief(decode(tuned, column((0.0, 2), (0.9, 4), (0.0, 3)))) == [
        ("start", 2, None, 6),
        ("end", 2, 6, 7),
    ]


def test_short_dips_do_not_end_a_sound() -> None:
    tuned = rule(release_ms=5 * ROW_MS)
    scores = column((0.9, 3), (0.0, 4), (0.9, 1), (0.0, 4), (0.4, 1), (0.0, 5), (0.9, 0))
    assert brief(decode(tuned, scores)) == [("start", 0, None, 1), ("end", 0, 13, 18)]


def test_refractory_time_of_a_sound_counts_from_where_its_end_was_told() -> None:
    tuned = rule(release_ms=2 * ROW_MS, refractory_ms=5 * ROW_MS)
    scores = column((0.9, 3), (0.0, 2), (0.9, 10))
    assert brief(decode(tuned, scores)) == [
        ("start", 0, None, 1),
        ("end", 0, 3, 5),
        ("start", 10, None, 11),
        ("end", 10, 15, 15, "stop"),
    ]


def test_maximum_duration_ends_and_rearms_after_a_fall() -> None:
    tuned = rule(max_ms=10 * ROW_MS)
    scores = column((0.0, 5), (0.9, 40), (0.2, 1), (0.9, 5), (0.0, 5))
    assert brief(decode(tuned, scores)) == [
        ("start", 5, None, 6),
        ("end", 5, 15, 15, "max-duration"),
        ("start", 46, None, 47),
        ("end", 46, 51, 52),
    ]


def test_no_maximum() -> None:
    assert brief(decode(rule(max_ms=0), column((0.9, 50_000)))) == [
        ("start", 0, None, 1),
        ("end", 0, 50_000, 50_000, "stop"),
    ]


@pytest.mark.parametrize("reason", ["gap", "stop"])
def test_what_is_open_ends_with_the_stream(reason: str) -> None:
    decoder = Decoder([rule(refractory_ms=10 * ROW_MS)], ROW)
    decoder.process(column((0.0, 2), (0.9, 5)), 0)
    (end,) = decoder.flush(7 * ROW, reason)
    assert brief([end]) == [("end", 2, 7, 7, reason)]
    assert decoder.flush(7 * ROW, reason) == []
    # After a gap the refractory time goes on: the same sound is not told again at once.
    assert brief(decoder.process(column((0.9, 20)), 10 * ROW)) == [("start", 17, None, 18)]


def test_what_was_rising_is_forgotten_at_a_break() -> None:
    decoder = Decoder([rule(min_ms=5 * ROW_MS)], ROW)
    assert decoder.process(column((0.9, 4)), 0) == []
    assert decoder.flush(4 * ROW, "gap") == []
    assert brief(decoder.process(column((0.9, 5)), 10 * ROW)) == [("start", 10, None, 15)]


def test_smoothing_does_not_reach_across_a_break() -> None:
    decoder = Decoder([rule(smoothing_ms=10 * ROW_MS)], ROW)
    decoder.process(column((1.0, 10)), 0)
    decoder.flush(10 * ROW, "gap")
    assert decoder.process(column((1.0, 4)), 20 * ROW) == []
    assert brief(decoder.process(column((1.0, 1)), 24 * ROW)) == [("start", 24, None, 25)]


# --- Smoothing


@pytest.mark.parametrize(("ms", "rows"), [(0, 1), (19, 1), (20, 1), (29, 1), (31, 2), (60, 3), (100, 5)])
def test_the_smoothing_window_is_so_many_rows(ms: float, rows: int) -> None:
    weights = smoothing_weights([ms], ROW_MS)
    assert weights.shape == (rows, 1)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
    # A step up is told in the row in which the mean of the last `rows` rows reaches the threshold.
    (start, _) = decode(rule(smoothing_ms=ms, threshold=0.99), column((0.0, 20), (1.0, 20)))
    assert start.onset_sample == (20 + rows - 1) * ROW


def test_smoothing_is_each_labels_own() -> None:
    rules = [rule("slow", smoothing_ms=5 * ROW_MS, threshold=0.99), rule("quick", threshold=0.99)]
    scores = np.repeat(column((0.0, 7), (1.0, 10)), 2, axis=1)
    starts = {d.label: d.onset_sample / ROW for d in decode(rules, scores) if d.phase == "start"}
    assert starts == {"quick": 7, "slow": 11}


def test_smoothed_scores_are_means(rng: np.random.Generator) -> None:
    scores = rng.random((50, 1)).astype(np.float32)
    padded = np.concatenate((np.zeros((3, 1)), scores))
    means = np.convolve(padded[:, 0], np.full(4, 0.25), "valid")
    for threshold in (0.4, 0.5, 0.6):
        found = decode(keyword(smoothing_ms=4 * ROW_MS, threshold=threshold, end_threshold=threshold), scores)
        above = means >= threshold
        rises = np.flatnonzero(above & ~np.concatenate(([False], above[:-1])))
        assert [hit.onset_sample // ROW for hit in found] == rises.tolist()
        np.testing.assert_allclose([hit.score for hit in found], means[rises], atol=2e-6)


# --- Several labels


def test_detections_of_one_row_come_in_the_order_of_the_labels() -> None:
    rules = [rule("b"), keyword("a"), rule("c")]
    scores = np.zeros((10, 3), np.float32)
    scores[5:8] = 0.9
    scores[2:5, 2] = 0.9  # c is open before
    told_ = [(d.label, d.phase, d.detected_sample // ROW) for d in decode(rules, scores)]
    assert told_ == [("c", "start", 3), ("b", "start", 6), ("a", "hit", 6), ("b", "end", 9), ("c", "end", 9)]


def test_a_label_that_is_off_is_silent() -> None:
    rules = [rule("off", enabled=False), rule("on"), keyword("off-too", enabled=False)]
    scores = np.repeat(column((0.0, 2), (1.0, 5), (0.0, 2)), 3, axis=1)
    assert {d.label for d in decode(rules, scores)} == {"on"}


# --- Retuning while running


def test_retuning_keeps_what_is_open() -> None:
    decoder = Decoder([rule(threshold=0.5)], ROW)
    decoder.process(column((0.0, 2), (0.7, 3)), 0)
    decoder.retune([rule(threshold=0.9, end_threshold=0.2)])
    assert decoder.process(column((0.7, 3), (0.25, 2)), 5 * ROW) == []
    assert brief(decoder.process(column((0.1, 1)), 10 * ROW)) == [("end", 2, 10, 11)]
    assert decoder.process(column((0.8, 3)), 11 * ROW) == [], "the new threshold holds"


def test_switching_a_label_off_ends_what_is_open() -> None:
    decoder = Decoder([rule()], ROW)
    decoder.process(column((0.9, 3)), 0)
    decoder.retune([rule(enabled=False)])
    assert [d.phase for d in decoder.process(column((0.9, 3)), 3 * ROW)] == ["end"]
    decoder.retune([rule()])
    assert [d.phase for d in decoder.process(column((0.9, 3)), 6 * ROW)] == ["start"]


@pytest.mark.parametrize(("before_ms", "after_ms"), [(0, 200), (200, 0), (200, 60), (60, 200)])
def test_retuning_the_smoothing_keeps_what_was_heard(before_ms: float, after_ms: float) -> None:
    """As if it had always been so, as far as the history goes back."""
    decoder = Decoder([rule(smoothing_ms=before_ms, threshold=0.99)], ROW)
    decoder.process(column((0.0, 20)), 0)
    decoder.process(column((0.98, 3)), 20 * ROW)
    decoder.retune([rule(smoothing_ms=after_ms, threshold=0.87)])
    kept = max(1, round(before_ms / ROW_MS)) - 1
    window = max(1, round(after_ms / ROW_MS))
    heard = np.concatenate((np.zeros(20), np.full(3, 0.98)))[23 - min(kept, 23) :]
    heard = np.concatenate((np.zeros(window), heard, np.ones(20)))
    means = np.convolve(heard, np.full(window, 1 / window), "valid")[-20:]
    (start,) = decoder.process(column((1.0, 20)), 23 * ROW)
    assert start.onset_sample == (23 + int(np.argmax(means >= 0.87))) * ROW


def test_retuning_needs_the_same_labels() -> None:
    decoder = Decoder([rule()], ROW)
    decoder.process(column((0.9, 2)), 0)
    for other in ([rule(), keyword()], [keyword()], []):
        with pytest.raises(ValueError, match="same labels"):
            decoder.retune(other)
    assert brief(decoder.process(column((0.0, 1)), 2 * ROW)) == [("end", 0, 2, 3)], (
        "as if it had not been tried"
    )


# --- Anything at all


@st.composite
def any_rule(draw: st.DrawFn, index: int) -> LabelRule:
    times = {
        field: draw(st.sampled_from([0, 10, 20, 50, 100, 330]))
        for field in ("smoothing_ms", "min_ms", "release_ms", "max_ms", "refractory_ms")
    }
    threshold = draw(st.sampled_from([0.2, 0.5, 0.7, 0.99]))
    end = draw(st.sampled_from([None, threshold, threshold / 2]))
    kind = draw(st.sampled_from(["keyword", "sound"]))
    enabled = draw(st.integers(0, 5)) > 0
    return rule(f"label{index}", kind, threshold=threshold, end_threshold=end, enabled=enabled, **times)


@st.composite
def any_scores(draw: st.DrawFn, labels: int) -> F32:
    """Runs of equal scores, the thresholds themselves among them."""
    levels = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.35, 0.495, 0.5, 0.7, 0.8, 0.99, 1.0])
    runs = [
        np.concatenate(
            [
                np.full(n, v, np.float32)
                for v, n in draw(st.lists(st.tuples(levels, st.integers(1, 30)), min_size=1, max_size=15))
            ]
        )
        for _ in range(labels)
    ]
    longest = max(map(len, runs))
    return np.stack([np.pad(run, (0, longest - len(run))) for run in runs], axis=1)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_whatever_the_scores(data: st.DataObject, seed: int) -> None:
    rules = [data.draw(any_rule(index)) for index in range(data.draw(st.integers(1, 3)))]
    scores = data.draw(any_scores(len(rules)))
    expected = decode(rules, scores)
    check_order(expected)
    for own in rules:
        check_label(own, [d for d in expected if d.label == own.name], len(scores))
    lengths = random_chunks(np.random.default_rng(seed), len(scores), 4)
    decoder, got, row = Decoder(rules, ROW), [], 0
    for length in lengths:
        got += decoder.process(scores[row : row + length], row * ROW)
        row += length
    assert got + decoder.flush(row * ROW) == expected, told(lengths)


def check_order(detections: Sequence[Detection]) -> None:
    detected = [d.detected_sample for d in detections]
    assert detected == sorted(detected), "not in order of time"


def check_label(own: LabelRule, detections: Sequence[Detection], rows: int) -> None:
    """What the docstring of the decoder promises about one label."""
    wanted = ["hit"] * len(detections) if own.kind == "keyword" else ["start", "end"] * (len(detections) // 2)
    assert [d.phase for d in detections] == wanted
    assert own.enabled or not detections
    quiet_until = 0
    for d in detections:
        assert d.kind == own.kind
        assert 0 <= d.onset_sample < d.detected_sample <= rows * ROW
        assert d.onset_sample % ROW == d.detected_sample % ROW == 0
        if d.phase == "start":
            assert d.offset_sample is None
            assert d.detected_sample - d.onset_sample >= own.min_ms * 16
        else:
            assert d.offset_sample is not None
            assert d.onset_sample < d.offset_sample <= d.detected_sample
        if d.phase != "end":
            assert d.onset_sample >= quiet_until, "within the refractory time"
            assert own.threshold - 1e-6 <= d.score <= 1 + 1e-6
        if d.phase != "start":
            quiet_until = d.detected_sample + round(own.refractory_ms * 16)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0},
        {"threshold": 1},
        {"threshold": 0.5, "end_threshold": 0.51},
        {"end_threshold": 0},
        {"min_ms": -1},
        {"max_ms": 3_600_001},
        {"name": ""},
        {"name": "-x"},
        {"name": "a.b"},
        {"name": "x" * 65},
        {"name": "yes\n"},
        {"kind": "word"},
    ],
    ids=str,
)
def test_rules_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "yes", "kind": "keyword", **wrong}, LabelRule)


# --- One decoder after another


def test_what_another_has_told_keeps_its_label_quiet() -> None:
    rules = [keyword(refractory_ms=200), keyword("no", refractory_ms=200)]
    former, fresh = Decoder(rules, ROW), Decoder(rules[:1], ROW)
    former.process(np.hstack((column((0.9, 1)), column((0.0, 1)))), 0)
    fresh.stay_quiet_after(former)
    found = fresh.process(column((0.0, 1), (0.9, 20)), ROW)
    assert [d.onset_sample / ROW for d in found] == [11], "a row, and 200 ms"
    other = Decoder(rules[1:], ROW)
    other.stay_quiet_after(former)
    assert [d.onset_sample / ROW for d in other.process(column((0.9, 1)), ROW)] == [1]


def test_what_is_open_and_untold_begins_anew() -> None:
    decoder = Decoder([rule(refractory_ms=100), keyword("yes", refractory_ms=0)], ROW)
    decoder.process(np.repeat(column((0.9, 5)), 2, axis=1), 0)
    decoder.forget_open()
    found = decoder.process(np.repeat(column((0.9, 5), (0.0, 1)), 2, axis=1), 5 * ROW)
    assert [(d.label, d.phase, d.onset_sample / ROW) for d in found] == [
        ("dog", "start", 5),
        ("dog", "end", 5),
    ]

"""F1, PSDS, confusions and times whose answer is known."""

from __future__ import annotations

import sys

import pytest

from streamer.errors import MissingExtra
from tests.support.hand_made import truth
from training.evaluate import psds
from training.evaluate.f1 import F1, event_f1, frame_f1, sounds_f1, words_f1
from training.evaluate.words import NOTHING, SILENCE, UNKNOWN, quantiles, word_figures


def test_frames() -> None:
    counted = frame_f1([(0.0, 1.0)], [(0.5, 1.5)], rows=30, row_s=0.1)
    assert counted == F1(right=5, told=10, wanted=10)
    assert counted.f1 == 0.5


def test_overlapping_spans_count_once() -> None:
    assert frame_f1([(0, 1), (0.5, 1)], [(0, 1)], 20, 0.1) == F1(10, 10, 10)


def test_onsets_within_the_collar() -> None:
    assert event_f1([(1.0, 2.0), (5.3, 6.0)], [(1.2, 9.0), (5.0, 6.0)]) == F1(1, 2, 2)


def test_one_event_is_right_for_one_sound_only() -> None:
    assert event_f1([(1.0, 2.0)], [(0.9, 2.0), (1.1, 2.0)]) == F1(1, 1, 2)


def test_the_pairing_is_the_best_there_is() -> None:
    # Taken greedily, 1.1 would go to 1.0 and leave nothing for 0.9.
    assert event_f1([(1.1, 2), (0.9, 2)], [(1.25, 2), (1.0, 2)]).right == 2


def test_ends_may_be_wrong_by_a_share_of_the_length() -> None:
    assert event_f1([(1.0, 10.0)], [(1.0, 11.5)], offsets=True).right == 1
    assert event_f1([(1.0, 10.0)], [(1.0, 13.5)], offsets=True).right == 0
    assert event_f1([(1.0, 1.3)], [(1.0, 1.45)], offsets=True).right == 1


def test_nothing_told_and_nothing_wanted() -> None:
    assert event_f1([], []).f1 == 1.0
    assert event_f1([(1.0, 2.0)], []).f1 == 0.0
    assert event_f1([], [(1.0, 2.0)]).f1 == 0.0


def test_sounds_of_a_stream(condition) -> None:  # type: ignore[no-untyped-def]
    truths = [truth("rain", 10, 10.5), truth("rain", 40, 10.5)]  # heard 10.2 to 20.2 and 40.2 to 50.2
    heard = condition(sounds=(90, truths, [("rain", 10.2, 20.2, 0.9), ("rain", 70.2, 80.2, 0.9)]))
    rain = sounds_f1(heard)["by_label"]["rain"]
    assert rain["frame"]["f1"] == pytest.approx(0.5, abs=0.01)
    assert (rain["event_onset"]["f1"], rain["clip"]["f1"]) == (0.5, 0.5)
    # The end is told from where the score fell, not from where the release time was over.
    assert rain["event_onset_offset"]["f1"] == 0.5
    assert "cough" not in sounds_f1(heard)["by_label"]


def test_words_of_a_stream(condition) -> None:  # type: ignore[no-untyped-def]
    truths = [truth("yes", 1), truth("yes", 5), truth("no", 9)]
    hits = [("yes", 1.7, 2.0, 0.9), ("yes", 9.7, 10.0, 0.9), ("no", 9.8, 10.1, 0.8)]
    by_label = words_f1(condition(keywords=(20, truths, hits)))["by_label"]
    assert by_label["yes"] == {"f1": 0.5, "precision": 0.5, "recall": 0.5, "told": 2, "wanted": 2}
    assert by_label["no"]["f1"] == 1.0


def test_one_decision_a_clip(condition) -> None:  # type: ignore[no-untyped-def]
    silence = truth("", 17)
    truths = [
        truth("yes", 1),
        truth("yes", 5),
        truth("no", 9),
        truth("", 13),
        silence.__class__("", "silence", 17, 18, ()),
    ]
    hits = [
        ("yes", 1.7, 2.0, 0.9),
        ("yes", 9.7, 10.0, 0.9),
        ("no", 9.8, 10.1, 0.8),
        ("no", 13.7, 14.0, 0.9),
    ]
    figures = word_figures(condition(keywords=(30, truths, hits)))
    assert figures["rows"] == ["yes", "no", UNKNOWN, SILENCE]
    assert figures["columns"] == ["yes", "no", NOTHING]
    assert figures["matrix"] == [[1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert (figures["right"], figures["clips"]) == (2, 5)


def test_times_from_the_end_of_the_word_to_its_hit(condition) -> None:  # type: ignore[no-untyped-def]
    truths = [truth("yes", 3.0 * n) for n in range(5)]  # the words end at 0.7 s of their clips
    hits = [("yes", 3.0 * n + 0.6 + 0.06 * n, 3.0 * n + 1.2, 0.9) for n in range(5)]
    late = word_figures(condition(keywords=(30, truths, hits)))["latency_ms"]
    # Told when the row has been heard, 30 ms after it began.
    assert late == {"yes": [-70, -10, 50, 110, 170]}
    assert quantiles(late) == {"median": 50, "p90": pytest.approx(146)}


def test_psds_is_one_for_perfect_scores_and_mean_less_deviation_otherwise(condition) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("sed_scores_eval", reason="PSDS needs the `evaluate` extra")
    truths = [truth("rain", 10, 5), truth("cough", 30), truth("cough", 50)]
    perfect = [("rain", *truths[0].spans[0], 0.9), *(("cough", *one.spans[0], 0.8) for one in truths[1:])]
    assert psds.psds(condition(sounds=(600, truths, perfect))) == {"psds1": 1.0, "psds2": 1.0}
    # rain 1, cough 1/2: mean 3/4, standard deviation 1/4, weighed by alpha_st = 1.
    assert psds.psds(condition(sounds=(600, truths, perfect[:2])))["psds1"] == pytest.approx(0.5, abs=1e-3)
    assert psds.psds(condition(sounds=(600, truths, [])))["psds1"] == 0.0


def test_without_the_library_one_line_says_what_to_install(condition, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, "sed_scores_eval", None)
    monkeypatch.setitem(sys.modules, "sed_scores_eval.intersection_based", None)
    with pytest.raises(MissingExtra, match=r"streamer\[evaluate\]"):
        psds.psds(condition(sounds=(60, [truth("rain", 10, 5)], [])))


def test_psds_of_no_sounds_is_nothing(condition) -> None:  # type: ignore[no-untyped-def]
    assert psds.psds(condition(keywords=(60, [truth("yes", 1)], []))) == {}

"""The quick decoder against the daemon's: the same events, to the row."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.audio import F32
from streamer.decoding.decoder import Decoder
from streamer.decoding.rules import LabelRule
from training.evaluate.decide import at_threshold, decide, smooth

ROW = 480
Answer = list[tuple[int, int, int]]


def by_the_daemon(scores: F32, rules: list[LabelRule]) -> dict[str, Answer]:
    decoder = Decoder(rules, ROW)
    answer: dict[str, Answer] = {rule.name: [] for rule in rules}
    begun: dict[str, int] = {}
    for told in [*decoder.process(scores, 0), *decoder.flush(len(scores) * ROW)]:
        if told.phase == "start":
            begun[told.label] = told.detected_sample
            continue
        detected = begun.pop(told.label, told.detected_sample)
        end = told.offset_sample
        assert end is not None
        answer[told.label].append((told.onset_sample // ROW, end // ROW, detected // ROW - 1))
    return answer


def random_rule(rng: np.random.Generator, number: int) -> LabelRule:
    def one_of(*values: float) -> float:
        return float(rng.choice(values))

    threshold = float(rng.uniform(0.2, 0.9))
    return LabelRule(
        name=f"label{number}",
        kind="keyword" if number % 2 else "sound",
        enabled=bool(rng.random() > 0.05),
        threshold=threshold,
        end_threshold=threshold * float(rng.uniform(0.1, 1)) if rng.random() < 0.3 else None,
        smoothing_ms=one_of(0, 90, 240, 500),
        min_ms=one_of(0, 60, 120, 500),
        release_ms=one_of(0, 300, 1000),
        max_ms=one_of(0, 1000, 60_000),
        refractory_ms=one_of(0, 45, 300, 700),
    )


@pytest.mark.parametrize("seed", range(60))
def test_random_scores_and_rules_give_the_daemons_events(seed: int) -> None:
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    rules = [random_rule(rng, number) for number in range(6)]
    rows = int(rng.integers(1, 500))
    levels = np.repeat(rng.random((rows, 6)), int(rng.integers(1, 40)), axis=0)[:rows]
    scores = np.clip(levels + rng.normal(0, 0.05, levels.shape), 0, 1).astype(np.float32)
    smoothed, wanted = smooth(scores, rules, ROW), by_the_daemon(scores, rules)
    for column, rule in enumerate(rules):
        found = [(rows.onset, rows.end, rows.told) for rows in decide(smoothed[:, column], rule, ROW)]
        assert found == wanted[rule.name], rule


def test_there_are_events_to_compare() -> None:
    scores = np.tile(np.repeat([0.9, 0.0], 40), 5).astype(np.float32)
    rule = LabelRule(name="word", kind="keyword", smoothing_ms=0)
    assert len(decide(scores, rule, ROW)) == 5
    assert len(by_the_daemon(scores[:, None], [rule])["word"]) == 5


def test_another_threshold_keeps_the_distance_of_the_end() -> None:
    rule = LabelRule(name="word", kind="sound", threshold=0.5, end_threshold=0.25)
    assert at_threshold(rule, 0.8).end_threshold == pytest.approx(0.4)
    assert at_threshold(LabelRule(name="word", kind="sound"), 0.8).end_level == pytest.approx(0.48)

"""Deciding by score, on scores whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.decoding.rules import LabelRule
from training.evaluate.by_score import twelve_by_score
from training.evaluate.metrics import TEN_COMMANDS
from training.evaluate.play import Played
from training.evaluate.streams import LongStream, Truth

ROW_SAMPLES = 480
RULES = [LabelRule(name=name, kind="keyword", smoothing_ms=30) for name in (*TEN_COMMANDS, "computer")]


def played(said: list[tuple[str, dict[str, float]]]) -> Played:
    """Clips of a second every two seconds; in its middle each scores as told."""
    names = [rule.name for rule in RULES]
    scores = np.zeros((len(said) * 2 * 16_000 // ROW_SAMPLES + 1, len(names)), np.float32)
    truths = []
    for number, (label, heard) in enumerate(said):
        start_s = 2.0 * number + 0.5
        group = "silence" if label == "silence" else "toy"
        known = label if label in names else ""
        truths.append(Truth(known, group, start_s, start_s + 1.0, ((start_s, start_s + 1.0),)))
        row = int((start_s + 0.5) * 16_000 / ROW_SAMPLES)
        for name, score in heard.items():
            scores[row : row + 8, names.index(name)] = score
    stream = LongStream("keywords-clean", np.zeros(len(said) * 32_000, np.float32), truths)
    return Played(stream, names, scores, 120, ROW_SAMPLES, 0)


def test_the_highest_score_decides_and_one_threshold_says_none() -> None:
    found = twelve_by_score(
        played(
            [
                ("yes", {"yes": 0.6, "no": 0.5}),  # right
                ("no", {"go": 0.9, "no": 0.8}),  # wrong
                ("stop", {"stop": 0.7}),  # right
                ("cat", {"up": 0.4}),  # right below 0.4
                ("silence", {}),  # right
                ("computer", {"computer": 0.9, "go": 0.9}),  # none of the twelve: not counted
            ]
        ),
        RULES,
    )
    assert found["ten"] == pytest.approx(2 / 3)
    assert found["twelve"] == pytest.approx(4 / 5)
    assert 0.4 < found["threshold"] <= 0.6
    assert found["clips"] == 5


def test_without_all_ten_nothing_is_said() -> None:
    assert twelve_by_score(played([("yes", {"yes": 0.9})]), RULES[1:]) == {}
    assert twelve_by_score(played([("computer", {"computer": 0.9})]), RULES) == {}

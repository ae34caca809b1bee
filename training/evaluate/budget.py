"""Thresholds that keep a budget of false alarms, from streams that were played already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from streamer.decoding.rules import LabelRule
from training.evaluate import det
from training.evaluate.condition import Condition
from training.evaluate.play import Played

CONDITIONS = ("clean", "10dB")
"""The budget must hold in each of them."""


def within_budget(
    played: Mapping[str, Played], rules: Sequence[LabelRule], budget_per_hour: float
) -> list[det.Operating]:
    """One operating point for each label; streams are named KIND-CONDITION."""
    by_condition: defaultdict[str, dict[str, Played]] = defaultdict(dict)
    for name, heard in played.items():
        kind, _, condition = name.partition("-")
        if condition in CONDITIONS:
            by_condition[condition][kind] = heard
    curves = [det.curves(Condition(name, streams, list(rules))) for name, streams in by_condition.items()]
    return [det.operating_point(same_label, budget_per_hour) for same_label in zip(*curves, strict=True)]


def as_lines(points: Sequence[det.Operating]) -> str:
    """A line for each label."""
    return "\n".join(_line(point) for point in points)


def _line(point: det.Operating) -> str:
    missed = f"{point.missed} of {point.clips} missed"
    return f"{point.label}: threshold {point.threshold:g}, {missed}; {point.sentence()}"

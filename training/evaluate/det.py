"""Misses against false alarms as the threshold moves, and the threshold that a budget allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.decoding.rules import LabelRule
from training.evaluate.condition import Condition, count_missed, negative, own_truths
from training.evaluate.decide import at_threshold
from training.evaluate.intervals import Interval, hours_for, poisson_rate, rate_bound, wilson

THRESHOLDS = tuple(
    float(value)
    for value in np.round(
        [*np.arange(0.02, 0.949, 0.02), 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999], 3
    )
)


@dataclass(frozen=True, slots=True)
class Curve:
    """Counts of one label at each threshold, in one condition."""

    label: str
    kind: str
    condition: str
    thresholds: tuple[float, ...]
    missed: tuple[int, ...]
    clips: int
    alarms: tuple[int, ...]
    hours: float

    def miss(self, at: int) -> tuple[float, Interval]:
        """Share of clips missed, with its interval (Wilson, 95 %)."""
        return self.missed[at] / max(1, self.clips), wilson(self.missed[at], self.clips)

    def alarm_rate(self, at: int) -> tuple[float, Interval]:
        """False alarms an hour, with their interval (Poisson, 95 %)."""
        rate = self.alarms[at] / self.hours if self.hours > 0 else math.inf
        return rate, poisson_rate(self.alarms[at], self.hours)


def curve(condition: Condition, rule: LabelRule, thresholds: Sequence[float] = THRESHOLDS) -> Curve:
    """Decides anew at each threshold, by the decoder's rules."""
    homes = [(heard, own_truths(heard, rule.name)) for heard in condition.homes(rule)]
    silent = [negative(heard, rule) for heard in condition.negatives(rule)]
    missed, alarms = [], []
    for threshold in thresholds:
        moved = at_threshold(rule, threshold)
        missed.append(sum(count_missed(heard.events(moved), wanted, rule.kind) for heard, wanted in homes))
        alarms.append(sum(len(part.alarms(part.heard.events(moved))) for part in silent))
    hours = sum(part.hours for part in silent)
    return Curve(
        rule.name,
        rule.kind,
        condition.name,
        tuple(thresholds),
        tuple(missed),
        sum(len(wanted) for _, wanted in homes),
        tuple(alarms),
        hours,
    )


def curves(condition: Condition) -> list[Curve]:
    """One for each label that is on."""
    return [curve(condition, rule) for rule in condition.rules if rule.enabled]


@dataclass(frozen=True, slots=True)
class Operating:
    """Where a label works within a budget, and how far that can be trusted."""

    label: str
    budget_per_hour: float
    threshold: float
    within: bool
    """False: no threshold keeps the budget on what was heard."""
    alarms: int
    hours: float
    missed: int
    clips: int

    @property
    def at_most_per_hour(self) -> float:
        """What the hours support: the rate is below this with 95 % confidence."""
        return rate_bound(self.alarms, self.hours)

    @property
    def supported(self) -> bool:
        """Whether the hours are enough to claim the budget."""
        return self.within and self.at_most_per_hour <= self.budget_per_hour

    def sentence(self) -> str:
        """For people."""
        heard = f"{self.alarms or 'no'} false alarm{'s' * (self.alarms > 1)} in {_short(self.hours)} h"
        if self.supported:
            return f"{heard}: under {self.budget_per_hour:g} an hour"
        if not self.within:
            return f"{heard} even at {self.threshold:g}: no threshold keeps {self.budget_per_hour:g} an hour"
        needed = hours_for(self.budget_per_hour, self.alarms)
        return (
            f"{heard} supports at most {_short(self.at_most_per_hour)} an hour; "
            f"{self.budget_per_hour:g} needs {needed:.0f} h with no more"
        )


def _short(value: float) -> str:
    """Two digits say enough."""
    return f"{float(f'{value:.2g}'):g}"


def operating_point(same_label: Sequence[Curve], budget_per_hour: float) -> Operating:
    """The threshold for a budget over one or more conditions.

    The budget must hold in each of them. They are the same recordings in other noise, so together they are
    worth the hours of one and no more. Where several thresholds miss the same, it is the one in the middle.
    """
    thresholds = same_label[0].thresholds
    alarms = np.max([one.alarms for one in same_label], axis=0)
    missed = np.sum([one.missed for one in same_label], axis=0)
    hours = min(one.hours for one in same_label)
    good = np.flatnonzero(np.logical_and.accumulate((alarms <= budget_per_hour * hours)[::-1])[::-1])
    if len(good):
        same = good[missed[good] == missed[good].min()]
        at = int(same[len(same) // 2])
    else:
        at = len(thresholds) - 1
    return Operating(
        same_label[0].label,
        budget_per_hour,
        thresholds[at],
        len(good) > 0,
        int(alarms[at]),
        hours,
        int(missed[at]),
        sum(one.clips for one in same_label),
    )

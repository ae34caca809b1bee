"""Thresholds from a false-alarm budget on the dev split's negatives, and no higher than they need to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from streamer.decoding.decoder import Detection
from streamer.decoding.rules import LabelRule
from training.evaluate.metrics import by_clip, events, false_events, sound_figures
from training.evaluate.play import Played

GRID = (
    0.2,
    0.25,
    0.3,
    0.35,
    0.4,
    0.45,
    0.5,
    0.55,
    0.6,
    0.65,
    0.7,
    0.75,
    0.8,
    0.85,
    0.9,
    0.93,
    0.95,
    0.97,
    0.98,
    0.99,
    0.995,
)

PRICE = 0.06
"""What each false alarm beyond the budget weighs, as a share of words missed. A strict limit would let
one freak clip among few hours of negatives decide a threshold."""
CONFUSION_PRICE = 0.5
"""Another keyword taken for this one, against missing this one."""


class Plays:
    """The dev streams as one model heard them, by what they are good for."""

    def __init__(
        self,
        rules: Sequence[LabelRule],
        words: Sequence[Played],
        speech: Sequence[Played],
        sounds: Sequence[Played],
        recordings: Sequence[Played] = (),
    ) -> None:
        self.rules, self._all = list(rules), (words, speech, sounds, recordings)

    def heard_at(self, threshold: float) -> Heard:
        """All events at one threshold for every label."""
        rules = with_thresholds(self.rules, {rule.name: threshold for rule in self.rules})
        return Heard(rules, *([(p, p.detections(rules)) for p in plays] for plays in self._all))


Told = list[tuple[Played, list[Detection]]]


@dataclass(slots=True)
class Heard:
    """What was told at one threshold."""

    rules: list[LabelRule]
    words: Told
    speech: Told
    sounds: Told
    recordings: Told
    """With all kinds of things in them."""

    def of_kind(self, kind: str) -> list[str]:
        """The keywords, or the sounds."""
        return [rule.name for rule in self.rules if rule.kind == kind]


def with_thresholds(rules: Sequence[LabelRule], thresholds: Mapping[str, float]) -> list[LabelRule]:
    """The bundle's rules at other thresholds."""
    return [
        msgspec.structs.replace(rule, threshold=thresholds.get(rule.name, rule.threshold), end_threshold=None)
        for rule in rules
    ]


def choose(plays: Plays, budget_per_hour: float) -> dict[str, float]:
    """The cheapest threshold of the grid for each label; of equals the one nearest to 0.6."""
    costs: dict[str, dict[float, float]] = {rule.name: {} for rule in plays.rules}
    for threshold in GRID:
        heard = plays.heard_at(threshold)
        for label, cost in {**_word_costs(heard, budget_per_hour), **_sound_costs(heard)}.items():
            costs[label][threshold] = cost
    return {
        label: min(GRID, key=lambda threshold: (round(cost[threshold], 6), abs(threshold - 0.6)))
        for label, cost in costs.items()
    }


def _word_costs(heard: Heard, budget_per_hour: float) -> dict[str, float]:
    """Misses and confusions, and a price for false alarms on speech and sounds beyond the budget."""
    missed, wrong, total = Counter[str](), Counter[str](), Counter[str]()
    for played, detections in (*heard.words, *heard.recordings):
        words = played.stream.words
        clips = by_clip(words, [e for e in events(detections) if e.label in heard.of_kind("keyword")])
        for truth, found in zip(words, clips, strict=True):
            labels = {event.label for event in found}
            total[truth.label] += 1
            missed[truth.label] += truth.label not in labels
            wrong.update(labels - {truth.label})
    silent = [*heard.speech, *heard.sounds, *heard.recordings]
    false, hours = _count(silent, heard.of_kind("keyword"), "keyword")
    return {
        label: (missed[label] + CONFUSION_PRICE * wrong[label]) / max(1, total[label])
        + PRICE * max(0.0, false[label] - budget_per_hour * hours)
        for label in heard.of_kind("keyword")
    }


def _sound_costs(heard: Heard) -> dict[str, float]:
    """What F1 lacks, and a price for events on words and speech beyond one an hour."""
    labels = heard.of_kind("sound")
    false, hours = _count([*heard.words, *heard.speech, *heard.recordings], labels, "sound")
    homes = [*heard.sounds, *heard.recordings]
    figures = [sound_figures(played, detections, labels)["by_label"] for played, detections in homes]
    return {
        label: 1
        - float(np.mean([entry[label]["f1"] for entry in figures if entry[label]["clips"]] or [0.0]))
        + PRICE * max(0.0, false[label] - hours)
        for label in labels
    }


def _count(told: Told, labels: Sequence[str], kind: str) -> tuple[Counter[str], float]:
    counted = Counter(
        event.label for played, detections in told for event in false_events(played, detections, labels, kind)
    )
    return counted, sum(played.stream.hours for played, _ in told)

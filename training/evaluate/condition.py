"""One condition of listening (clean, or noise at some level): its streams as a model heard them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.decoding.rules import LabelRule
from training.evaluate.decide import Rows, decide, smooth
from training.evaluate.metrics import AFTER_CLIP_S, ONSET_SLACK_S, Event, excuses
from training.evaluate.play import Played
from training.evaluate.streams import Truth

WORDS, SPEECH, SOUNDS, RECORDINGS = "keywords", "speech", "sounds", "recordings"
"""Kinds of streams; a stream's name is its kind, a dash, and the condition."""
HOMES = {"keyword": (WORDS, RECORDINGS), "sound": (SOUNDS, RECORDINGS)}
"""Where a label is heard."""
NEGATIVES = {"keyword": (SPEECH, SOUNDS, RECORDINGS), "sound": (SPEECH, WORDS, RECORDINGS)}
"""Where it is not. A word every two seconds, as in the stream of words, is no measure of a day; but where
nobody speaks otherwise, it is the only speech that there is."""


def negative_kinds(kind: str, there: Collection[str]) -> tuple[str, ...]:
    """Of the kinds of streams that are there, those that count for false alarms of keywords or of sounds."""
    wanted = [*NEGATIVES[kind], *([] if SPEECH in there else [WORDS])]
    return tuple(name for name in dict.fromkeys(wanted) if name in there)


@dataclass(slots=True)
class Heard:
    """A stream and its smoothed scores."""

    played: Played
    smoothed: F32
    """(T, L)"""

    def second(self, row: int) -> float:
        """Where a row begins."""
        return (self.played.first_sample + row * self.played.row_samples) / SAMPLE_RATE_HZ

    def told_s(self, rows: Rows) -> float:
        """When the daemon could have told it."""
        return self.second(rows.told + 1) + self.played.lookahead_samples / SAMPLE_RATE_HZ

    def row(self, second: float) -> int:
        """The row that begins last before this time."""
        return max(0, int((second * SAMPLE_RATE_HZ - self.played.first_sample) // self.played.row_samples))

    def events(self, rule: LabelRule) -> list[Event]:
        """What a label tells at this rule, in order of time."""
        column = self.smoothed[:, self.played.labels.index(rule.name)]
        return [
            Event(
                rule.name,
                self.second(found.onset),
                self.second(found.end),
                self.told_s(found),
                float(column[found.onset : found.end].max()),
            )
            for found in decide(column, rule, self.played.row_samples)
        ]


class Condition:
    """The streams of one condition, as one variant heard them."""

    def __init__(self, name: str, streams: Mapping[str, Played], rules: list[LabelRule]) -> None:
        self.name, self.rules = name, rules
        self.streams = {
            kind: Heard(played, smooth(played.scores, rules, played.row_samples))
            for kind, played in streams.items()
        }

    def of_kind(self, kind: str) -> list[LabelRule]:
        """Rules of the keywords, or of the sounds."""
        return [rule for rule in self.rules if rule.kind == kind]

    def homes(self, rule: LabelRule) -> list[Heard]:
        """The streams that hold this label."""
        streams = [self.streams[kind] for kind in HOMES[rule.kind] if kind in self.streams]
        return [heard for heard in streams if own_truths(heard, rule.name)]

    def negatives(self, rule: LabelRule) -> list[Heard]:
        """Streams that count for its false alarms, but for its own clips in them."""
        found = [self.streams[kind] for kind in negative_kinds(rule.kind, self.streams)]
        return found or list(self.streams.values())


def own_truths(heard: Heard, label: str) -> list[Truth]:
    """The clips of a label."""
    return [truth for truth in heard.played.stream.truths if truth.label == label]


def is_heard(event: Event, truth: Truth, kind: str) -> bool:
    """Whether this event tells of this clip: a word during it or just after, a sound where they overlap."""
    if kind == "keyword":
        return truth.start_s <= event.detected_s <= truth.end_s + AFTER_CLIP_S
    return event.onset_s < truth.end_s and event.offset_s > truth.start_s - ONSET_SLACK_S


def count_missed(found: list[Event], wanted: list[Truth], kind: str) -> int:
    """Clips of which no event tells; both lists in order of time."""
    missed, at = 0, 0
    for truth in wanted:
        while (
            at < len(found) and max(found[at].offset_s, found[at].detected_s) < truth.start_s - ONSET_SLACK_S
        ):
            at += 1
        missed += not any(
            is_heard(event, truth, kind) for event in _until(found, at, truth.end_s + AFTER_CLIP_S)
        )
    return missed


def _until(found: list[Event], at: int, second: float) -> Iterator[Event]:
    while at < len(found) and found[at].onset_s <= second:
        yield found[at]
        at += 1


@dataclass(slots=True)
class Negative:
    """A stream without the stretches in which a label is or may be heard."""

    heard: Heard
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]

    @property
    def hours(self) -> float:
        """What is left to be falsely alarmed by."""
        return self.heard.played.stream.hours - float((self.ends_s - self.starts_s).sum()) / 3600

    def alarms(self, found: list[Event]) -> list[Event]:
        """The events that nothing excuses."""
        return [event for event in found if not self._excused(event.detected_s)]

    def _excused(self, second: float) -> bool:
        at = int(np.searchsorted(self.starts_s, second, side="right")) - 1
        return at >= 0 and second <= self.ends_s[at]


def negative(heard: Heard, rule: LabelRule) -> Negative:
    """Where this label must stay silent."""
    excused = excuses(heard.played.stream, rule.name, rule.kind)
    return Negative(heard, np.array([a for a, _ in excused]), np.array([b for _, b in excused]))

"""Scores in, events out: a keyword is one hit, a sound has a start and always an end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ, check_rows
from streamer.decoding.rules import LabelRule
from streamer.kernel import address

Phase = Literal["hit", "start", "end"]


@dataclass(frozen=True, slots=True)
class Detection:
    """Something was heard; times are sample indices on the stream's 16 kHz clock."""

    kind: Literal["keyword", "sound"]
    label: str
    phase: Phase
    onset_sample: int
    offset_sample: int | None
    """None at a sound's start: nobody knows yet."""
    detected_sample: int
    """All the sound that the decision needed lies before this sample."""
    score: float
    """Smoothed score at a hit or start; the highest one so far at an end."""
    reason: str = ""
    """Why an end came although the sound had not ended: gap, max-duration, muted, reload, stop."""


class _Tuning:
    """What rules mean for rows of one length; streams with the same rules share it."""

    def __init__(self, rules: tuple[LabelRule, ...], row_samples: int) -> None:
        self.rules = rules
        row_ms = 1000 * row_samples / SAMPLE_RATE_HZ
        self.weights = smoothing_weights([rule.smoothing_ms for rule in rules], row_ms)
        never = np.inf  # a label that is switched off is never above its threshold
        self.thresholds = np.array([rule.threshold if rule.enabled else never for rule in rules], np.float32)
        self.reach = len(self.weights) - 1
        """Past rows that the present one is averaged with."""
        # What no score reaches no average does, but for the rounding of a sum.
        self.near_thresholds: F32 = self.thresholds * np.float32(1 - 1e-4)
        self.near_place = address(self.near_thresholds)


_tuning = lru_cache(maxsize=64)(_Tuning)


class Decoder:
    """Watches every label of one stream; rows may come in pieces of any length."""

    latency_samples = 0

    def __init__(self, rules: Sequence[LabelRule], row_samples: int, lookahead_samples: int = 0) -> None:
        self._row_samples = row_samples
        self._lookahead_samples = lookahead_samples
        self._tuning = _tuning(tuple(rules), row_samples)
        self.reset()

    def reset(self) -> None:
        """Begin a new stream; nothing that was open is told."""
        self._silence()
        self._watches: dict[int, _Watch] = {}  # by column, from the first time that there is something to see
        self._busy: list[int] = []  # columns of the watches that low scores would change, too

    def _silence(self) -> None:
        """As if the past had been silent."""
        tuning = self._tuning
        self._past = [np.zeros((tuning.reach, len(tuning.rules)), np.float32)]  # the newest rows, and more
        self._past_rows = self._quiet_rows = tuning.reach  # all of them, and those at the end that are low

    def retune(self, rules: Sequence[LabelRule]) -> None:
        """Go on with other rules for the same labels; what is open stays open."""
        if [rule.name for rule in rules] != [rule.name for rule in self._tuning.rules]:
            raise ValueError("other rules must be for the same labels, in the same order")
        former = self._former_rows()
        self._tuning = _tuning(tuple(rules), self._row_samples)
        missing = np.zeros((max(0, self._tuning.reach - len(former)), len(rules)), np.float32)
        self._past = [np.concatenate((missing, former))]
        self._past_rows, self._quiet_rows = len(self._past[0]), 0  # what is low may be so no longer
        for column, watch in self._watches.items():
            watch.retune(rules[column])

    def process(self, scores: F32, first_sample: int) -> list[Detection]:
        """(T, L) scores, the first row beginning at `first_sample`, to what they decide, in order of time."""
        check_rows(scores, len(self._tuning.rules))
        (found,) = decode([self], scores[np.newaxis], [first_sample])
        return found

    @property
    def is_calm(self) -> bool:
        """Rows that are not near a threshold would decide nothing."""
        return not self._busy and self._quiet_rows >= self._tuning.reach

    @property
    def near_thresholds(self) -> F32:
        """(L,): what is below is not near."""
        return self._tuning.near_thresholds

    @property
    def near_place(self) -> int:
        """Where they lie in memory, for C."""
        return self._tuning.near_place

    def passed(self, scores: F32) -> None:
        """(T, L) rows that are not near a threshold, come while it was calm."""
        if len(scores):
            self._remember(scores, near=False)

    def _may_decide(self, near: bool) -> bool:
        """Nearly always nothing is going on: rows that are not near a threshold need not be averaged."""
        return near or not self.is_calm

    def _remember(self, scores: F32, near: bool) -> None:
        """What the next rows are averaged with."""
        reach = self._tuning.reach
        self._quiet_rows = 0 if near else self._quiet_rows + len(scores)
        self._past.append(scores.copy())
        self._past_rows += len(scores)
        while len(self._past) > 1 and self._past_rows - len(self._past[0]) >= reach:
            self._past_rows -= len(self._past.pop(0))

    def _former_rows(self) -> F32:
        """The rows before the present one that it is averaged with."""
        past = np.concatenate(self._past)
        return past[len(past) - self._tuning.reach :]

    def _decide(self, smoothed: F32, above: list[int], first_sample: int) -> list[Detection]:
        """Walk the labels that are above their threshold somewhere, or were lately, row by row."""
        found: list[tuple[int, int, Detection]] = []
        busy = []
        for column in sorted({*above, *self._busy}):
            watch = self._watch(column)
            for row, score in enumerate(smoothed[:, column].tolist()):
                detection = watch.advance(score, first_sample + row * self._row_samples)
                if detection is not None:
                    found.append((row, column, self._told(detection)))
            if not watch.idle:
                busy.append(column)
        self._busy = busy
        return [detection for _, _, detection in sorted(found, key=lambda item: item[:2])]

    def _watch(self, column: int) -> _Watch:
        if column not in self._watches:
            self._watches[column] = _Watch(self._tuning.rules[column], self._row_samples)
        return self._watches[column]

    def flush(self, end_sample: int, reason: str = "stop") -> list[Detection]:
        """The stream stops or breaks here: whatever is open ends."""
        ends = [watch.close(end_sample, reason) for _, watch in sorted(self._watches.items())]
        self._note_busy()
        self._silence()
        return [self._told(end) for end in ends if end is not None]

    def stay_quiet_after(self, former: Decoder) -> None:
        """What another decoder has told keeps its label quiet here, too."""
        columns = {rule.name: column for column, rule in enumerate(self._tuning.rules)}
        for other in former._watches.values():
            if other.label in columns:
                watch = self._watch(columns[other.label])
                watch.quiet_until_sample = max(watch.quiet_until_sample, other.quiet_until_sample)

    def forget_open(self) -> None:
        """Nobody has been told of what is on: it is to begin anew."""
        for watch in self._watches.values():
            watch.forget_open()
        self._note_busy()

    def _note_busy(self) -> None:
        self._busy = [column for column, watch in self._watches.items() if not watch.idle]

    def _told(self, detection: Detection) -> Detection:
        return replace(detection, detected_sample=detection.detected_sample + self._lookahead_samples)


def decode(decoders: Sequence[Decoder], scores: F32, first_samples: Sequence[int]) -> list[list[Detection]]:
    """The next rows of several streams, (N, T, L), to what each stream's decoder makes of its own."""
    found: list[list[Detection]] = [[] for _ in decoders]
    if scores.shape[1] == 0:
        return found
    peaks = np.maximum.reduce(scores, axis=1)
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for place, decoder in enumerate(decoders):
        alike[id(decoder._tuning)].append(place)
    for places in alike.values():
        tuning = decoders[places[0]]._tuning
        near = (peaks[places] >= tuning.near_thresholds).any(axis=1).tolist()
        worth = [
            place for place, is_near in zip(places, near, strict=True) if decoders[place]._may_decide(is_near)
        ]
        if worth:
            rows = [np.concatenate((decoders[place]._former_rows(), scores[place])) for place in worth]
            smoothed = _smooth(np.stack(rows), tuning.weights)
            above = np.any(smoothed >= tuning.thresholds, axis=1)
            for place, own, columns in zip(worth, smoothed, above, strict=True):
                found[place] = decoders[place]._decide(
                    own, np.flatnonzero(columns).tolist(), first_samples[place]
                )
        for place, is_near in zip(places, near, strict=True):
            decoders[place]._remember(scores[place], is_near)
    return found


def _smooth(padded: F32, weights: F32) -> F32:
    """Scores averaged over the past: (N, reach + T, L) to (N, T, L)."""
    rows = padded.shape[1] - len(weights) + 1
    smoothed = np.zeros((len(padded), rows, padded.shape[2]), np.float32)
    # Summed in one fixed order, so that the pieces in which rows arrive cannot change a bit.
    for back, weight in enumerate(weights):
        begin = len(weights) - 1 - back
        smoothed += weight * padded[:, begin : begin + rows]
    return smoothed


def smoothing_weights(smoothing_ms: Sequence[float], row_ms: float) -> F32:
    """Weight of each past row for each label: (longest window in rows, L)."""
    rows = [max(1, round(ms / row_ms)) for ms in smoothing_ms]
    weights = np.zeros((max(rows), len(rows)), np.float32)
    for column, count in enumerate(rows):
        weights[:count, column] = 1.0 / count
    return weights


class _Watch:
    """One label's memory between rows."""

    def __init__(self, rule: LabelRule, row_samples: int) -> None:
        self._row_samples = row_samples
        self.quiet_until_sample = 0
        """Until then nothing is heard after an event."""
        self.retune(rule)
        self._forget()

    def retune(self, rule: LabelRule) -> None:
        """Go on with another rule."""
        self._rule = rule
        self._threshold = rule.threshold if rule.enabled else math.inf
        self._min_rows = max(1, self._rows(rule.min_ms))
        self._release_rows = max(1, self._rows(rule.release_ms))
        self._max_samples = _samples(rule.max_ms) or None
        self._refractory_samples = _samples(rule.refractory_ms)
        self._end_level = rule.end_level if rule.enabled else math.inf  # switched off: what is open ends

    def _rows(self, ms: float) -> int:
        return math.ceil(_samples(ms) / self._row_samples)

    def _forget(self) -> None:
        self._armed = True  # False: told already, and the score has not fallen since
        self._active = False
        self._above_rows = 0
        self._below_rows = 0
        self._onset_sample = 0
        self._peak = 0.0

    @property
    def label(self) -> str:
        """What it listens for."""
        return self._rule.name

    def forget_open(self) -> None:
        """As if what is on had not begun."""
        if self._active:
            self._forget()

    @property
    def idle(self) -> bool:
        """Low scores would change nothing."""
        return self._armed and not self._active and self._above_rows == 0

    def advance(self, score: float, row_sample: int) -> Detection | None:
        """Take one row's smoothed score."""
        if self._active:
            return self._while_active(score, row_sample)
        if score < self._end_level:
            self._armed = True
        if not self._armed or row_sample < self.quiet_until_sample or score < self._threshold:
            self._above_rows = 0
            return None
        return self._while_rising(score, row_sample)

    def _while_rising(self, score: float, row_sample: int) -> Detection | None:
        if self._above_rows == 0:
            self._onset_sample = row_sample
        self._above_rows += 1
        if self._above_rows < self._min_rows:
            return None
        self._above_rows = 0
        self._peak = score
        end_sample = row_sample + self._row_samples
        if self._rule.kind == "keyword":
            self._armed = False
            self.quiet_until_sample = end_sample + self._refractory_samples
            return self._detection("hit", end_sample, end_sample)
        self._active = True
        self._below_rows = 0
        return self._detection("start", None, end_sample)

    def _while_active(self, score: float, row_sample: int) -> Detection | None:
        self._peak = max(self._peak, score)
        self._below_rows = self._below_rows + 1 if score < self._end_level else 0
        end_sample = row_sample + self._row_samples
        if self._below_rows >= self._release_rows:
            return self._end(end_sample - self._below_rows * self._row_samples, end_sample, "")
        if self._max_samples is not None and end_sample - self._onset_sample >= self._max_samples:
            detection = self._end(end_sample, end_sample, "max-duration")
            self._armed = False
            return detection
        return None

    def _end(self, offset_sample: int, detected_sample: int, reason: str) -> Detection:
        detection = self._detection("end", offset_sample, detected_sample, reason)
        self._forget()
        self.quiet_until_sample = detected_sample + self._refractory_samples
        return detection

    def close(self, end_sample: int, reason: str) -> Detection | None:
        """The sound breaks off; an open event ends, the refractory time goes on."""
        if self._active:
            return self._end(end_sample, end_sample, reason)
        self._forget()
        return None

    def _detection(self, phase: Phase, offset: int | None, detected: int, reason: str = "") -> Detection:
        rule = self._rule
        return Detection(
            rule.kind, rule.name, phase, self._onset_sample, offset, detected, round(self._peak, 6), reason
        )


def _samples(ms: float) -> int:
    return round(ms * SAMPLE_RATE_HZ / 1000)

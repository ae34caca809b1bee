"""Scores in, events out: a keyword is one hit, a sound has a start and always an end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ, check_rows
from streamer.decoding.rules import LabelRule

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


class Decoder:
    """Watches every label of one stream; rows may come in pieces of any length."""

    latency_samples = 0

    def __init__(self, rules: Sequence[LabelRule], row_samples: int, lookahead_samples: int = 0) -> None:
        self._row_samples = row_samples
        self._lookahead_samples = lookahead_samples
        self._apply(rules)
        self.reset()

    def _apply(self, rules: Sequence[LabelRule]) -> None:
        self._rules = tuple(rules)
        row_ms = 1000 * self._row_samples / SAMPLE_RATE_HZ
        self._weights = smoothing_weights([rule.smoothing_ms for rule in rules], row_ms)
        never = np.inf  # a label that is switched off is never above its threshold
        self._thresholds = np.array([rule.threshold if rule.enabled else never for rule in rules], np.float32)

    def reset(self) -> None:
        """Begin a new stream; nothing that was open is told."""
        self._history = np.zeros((len(self._weights) - 1, len(self._rules)), np.float32)
        self._watches = [_Watch(rule, self._row_samples) for rule in self._rules]

    def retune(self, rules: Sequence[LabelRule]) -> None:
        """Go on with other rules for the same labels; what is open stays open."""
        if [rule.name for rule in rules] != [rule.name for rule in self._rules]:
            raise ValueError("other rules must be for the same labels, in the same order")
        reach = len(self._history)
        self._apply(rules)
        wanted = len(self._weights) - 1
        older = np.zeros((max(0, wanted - reach), len(self._rules)), np.float32)
        self._history = np.concatenate((older, self._history[max(0, reach - wanted) :]))
        for watch, rule in zip(self._watches, self._rules, strict=True):
            watch.retune(rule)

    def process(self, scores: F32, first_sample: int) -> list[Detection]:
        """(T, L) scores, the first row beginning at `first_sample`, to what they decide, in order of time."""
        check_rows(scores, len(self._rules))
        smoothed = self._smooth(scores)
        above = np.any(smoothed >= self._thresholds, axis=0).tolist()
        found: list[tuple[int, int, Detection]] = []
        # Nearly always nothing is going on: only labels with something to decide are walked row by row.
        for column, watch in enumerate(self._watches):
            if above[column] or not watch.idle:
                for row, score in enumerate(smoothed[:, column].tolist()):
                    detection = watch.advance(score, first_sample + row * self._row_samples)
                    if detection is not None:
                        found.append((row, column, self._told(detection)))
        return [detection for _, _, detection in sorted(found, key=lambda item: item[:2])]

    def flush(self, end_sample: int, reason: str = "stop") -> list[Detection]:
        """The stream stops or breaks here: whatever is open ends."""
        ends = [watch.close(end_sample, reason) for watch in self._watches]
        self._history[:] = 0
        return [self._told(end) for end in ends if end is not None]

    def stay_quiet_after(self, former: Decoder) -> None:
        """What another decoder has told keeps its label quiet here, too."""
        quiet_until = {watch.label: watch.quiet_until_sample for watch in former._watches}
        for watch in self._watches:
            watch.quiet_until_sample = max(watch.quiet_until_sample, quiet_until.get(watch.label, 0))

    def forget_open(self) -> None:
        """Nobody has been told of what is on: it is to begin anew."""
        for watch in self._watches:
            watch.forget_open()

    def _smooth(self, scores: F32) -> F32:
        reach = len(self._history)
        padded = np.concatenate((self._history, scores))
        smoothed = np.zeros_like(scores)
        # Summed in one fixed order, so that the pieces in which rows arrive cannot change a bit.
        for back, weight in enumerate(self._weights):
            smoothed += weight * padded[reach - back : len(padded) - back]
        self._history = padded[len(padded) - reach :].copy()
        return smoothed

    def _told(self, detection: Detection) -> Detection:
        return replace(detection, detected_sample=detection.detected_sample + self._lookahead_samples)


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

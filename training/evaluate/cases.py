"""Single cases to look at: the words and sounds that were missed, and what was told falsely."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.decoding.rules import LabelRule
from training.evaluate.condition import Condition, Heard, is_heard, negative, own_truths
from training.evaluate.metrics import AFTER_CLIP_S
from training.evaluate.streams import Truth

EXCERPT_S = 3.0
OTHER_TRACES = 2
"""Besides its own label's score, those of so many others that rose highest."""


@dataclass(slots=True)
class Case:
    """Something that went wrong, and where."""

    what: str
    """`miss` or `false alarm`."""
    label: str
    condition: str
    stream: str
    second: float
    score: float
    """Of a miss the highest there was, of a false alarm the one that it was told with."""
    threshold: float
    playing: str
    """What was to be heard there."""
    path: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For the table."""
        return {
            name: round(value, 3) if isinstance(value := getattr(self, name), float) else value
            for name in self.__slots__
        }


def misses(condition: Condition) -> list[Case]:
    """Clips of which no event told, the clearest failures first."""
    found: list[Case] = []
    for rule in (rule for rule in condition.rules if rule.enabled):
        for heard in condition.homes(rule):
            events = heard.events(rule)
            found += [
                _miss(condition, heard, rule, truth)
                for truth in own_truths(heard, rule.name)
                if not any(is_heard(event, truth, rule.kind) for event in events)
            ]
    return sorted(found, key=lambda case: case.score)


def _miss(condition: Condition, heard: Heard, rule: LabelRule, truth: Truth) -> Case:
    column = heard.smoothed[:, heard.played.labels.index(rule.name)]
    rows = slice(heard.row(truth.start_s), heard.row(truth.end_s + AFTER_CLIP_S) + 1)
    best = float(column[rows].max(initial=0.0))
    return _case("miss", condition, heard, rule, truth.spans[-1][1] if truth.spans else truth.end_s, best)


def false_alarms(condition: Condition) -> list[Case]:
    """Events where the label is not heard, as curves count them; the most convinced first."""
    found: list[Case] = []
    for rule in (rule for rule in condition.rules if rule.enabled):
        for heard in condition.negatives(rule):
            told = negative(heard, rule).alarms(heard.events(rule))
            found += [
                _case("false alarm", condition, heard, rule, event.detected_s, event.score) for event in told
            ]
    return sorted(found, key=lambda case: -case.score)


def _case(
    what: str, condition: Condition, heard: Heard, rule: LabelRule, second: float, score: float
) -> Case:
    name, path = _playing(heard, second)
    stream = heard.played.stream.name
    return Case(what, rule.name, condition.name, stream, second, score, rule.threshold, name, path)


def _playing(heard: Heard, second: float) -> tuple[str, str]:
    truths = heard.played.stream.truths
    starts = [truth.start_s for truth in truths]
    at = int(np.searchsorted(starts, second, side="right")) - 1
    if at < 0 or second > truths[at].end_s + AFTER_CLIP_S:
        return "a pause", ""
    truth = truths[at]
    return f"{truth.label or 'none of the labels'} ({truth.group})", truth.path


def spread(cases: Iterable[Case], each: int) -> list[Case]:
    """The first few of each label, so that one bad label does not fill the page."""
    chosen, seen = [], Counter[str]()
    for case in cases:
        seen[case.label] += 1
        if seen[case.label] <= each:
            chosen.append(case)
    return chosen


def excerpt(case: Case, heard: Heard, samples: NDArray[np.int16]) -> dict[str, Any]:
    """Sound and scores around a case, to draw: a spectrogram in whole dB and traces by label."""
    first_s = max(0.0, case.second - EXCERPT_S * 0.7)
    part = samples[int(first_s * SAMPLE_RATE_HZ) : int((first_s + EXCERPT_S) * SAMPLE_RATE_HZ)]
    part_f32 = part.astype(np.float32) / np.float32(32768)
    rows = slice(heard.row(first_s), heard.row(first_s + EXCERPT_S))
    scores = heard.smoothed[rows]
    labels = heard.played.labels
    order = [labels[column] for column in np.argsort(-scores.max(axis=0, initial=0.0))]
    shown = [case.label, *[label for label in order if label != case.label][:OTHER_TRACES]]
    return {
        "first_s": round(first_s, 3),
        "length_s": EXCERPT_S,
        "row_s": heard.played.row_samples / SAMPLE_RATE_HZ,
        "traces": {label: np.round(scores[:, labels.index(label)], 3).tolist() for label in shown},
        "spectrum_db": [base64.b85encode(line.tobytes()).decode() for line in spectrum_db(part_f32)],
    }


def spectrum_db(samples: F32, window: int = 400, hop: int = 240, bands: int = 80) -> NDArray[np.int8]:
    """(bands, columns) levels from 0 down, lowest band first, on a mel-like scale."""
    count = max(1, 1 + (len(samples) - window) // hop)
    padded = np.pad(samples, (0, max(0, window - len(samples))))
    frames = np.stack([padded[i * hop : i * hop + window] for i in range(count)]) * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, 512, axis=1)) ** 2
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700), bands + 1)
    edges = 700 * (10 ** (mel / 2595) - 1) / (SAMPLE_RATE_HZ / 2) * 256
    picked = [power[:, int(a) : max(int(a) + 1, int(b))].mean(axis=1) for a, b in pairwise(edges)]
    level = 10 * np.log10(np.stack(picked) + 1e-10)
    return np.asarray(np.clip(np.round(level - level.max()), -80, 0), np.int8)

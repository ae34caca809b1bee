"""Streams made by hand for evaluation: scores are written down, so the answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.audio import SAMPLE_RATE_HZ
from streamer.decoding.rules import LabelRule
from training.evaluate.play import Played
from training.evaluate.streams import LongStream, Truth

ROW = 480
RULES = [
    LabelRule(name="yes", kind="keyword", threshold=0.5, smoothing_ms=0, refractory_ms=700),
    LabelRule(name="no", kind="keyword", threshold=0.5, smoothing_ms=0, refractory_ms=700),
    LabelRule(name="rain", kind="sound", threshold=0.5, smoothing_ms=0, release_ms=300, refractory_ms=300),
    LabelRule(name="cough", kind="sound", threshold=0.5, smoothing_ms=0, release_ms=300, refractory_ms=300),
]
LABELS = [rule.name for rule in RULES]

Spike = tuple[str, float, float, float]
"""(label, from_s, to_s, score)"""


def truth(label: str, start_s: float, length_s: float = 1.0, **changes: object) -> Truth:
    """A clip that is heard from 0.2 s after its start to 0.3 s before its end."""
    span = (start_s + 0.2, start_s + length_s - 0.3)
    return Truth(label, "toy", start_s, start_s + length_s, (span,), f"{label or 'other'}.wav", **changes)  # type: ignore[arg-type]


def played(name: str, seconds: float, truths: Sequence[Truth] = (), spikes: Sequence[Spike] = ()) -> Played:
    """A stream whose scores are 0 but for the spikes."""
    scores = np.zeros((int(seconds * SAMPLE_RATE_HZ) // ROW, len(LABELS)), np.float32)
    for label, from_s, to_s, score in spikes:
        first, last = (round(second * SAMPLE_RATE_HZ / ROW) for second in (from_s, to_s))
        scores[first:last, LABELS.index(label)] = score
    silence = np.broadcast_to(np.float32(0), (int(seconds * SAMPLE_RATE_HZ),))
    return Played(LongStream(name, silence, list(truths)), LABELS, scores, 0, ROW, 0)

"""The whole way from samples to the rows a model sees: the one feature code, for daemon and training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.audio import F32, check_samples
from streamer.features.deltas import Delta
from streamer.features.framing import Framer
from streamer.features.settings import HOP_SAMPLES, FeatureSettings
from streamer.features.static import static_rows

STREAMS_AT_ONCE = 64
"""Of equal features; more would no longer fit the processor's cache."""


class Extractor:
    """Samples at 16 kHz in, feature rows out; the same rows, bit for bit, for any chunking.

    Either at once (`process`), or held until rows are wanted (`hold`, and `extract` for several streams).
    """

    def __init__(self, settings: FeatureSettings) -> None:
        self.settings = settings
        self.size = settings.size
        self.framer = Framer()
        self._static = static_rows(settings)
        width = settings.static_size
        self._deltas = [Delta(width * order, width) for order in range(1, settings.delta_order + 1)]
        self.hold = self.framer.hold
        self.take = self.framer.take
        self.reset()

    @property
    def latency_samples(self) -> int:
        """Sound needed beyond the hop that a row stands for."""
        return latency_samples(self.settings)

    @property
    def ready_frames(self) -> int:
        """Windows that the sound held would fill."""
        return self.framer.ready_frames

    def missing_samples(self, frames: int) -> int:
        """Sound until so many windows more are filled."""
        return frames * HOP_SAMPLES + Framer.latency_samples - self.framer.held_samples

    def reset(self) -> None:
        """Begin a new stream."""
        self.framer.reset()
        for delta in self._deltas:
            delta.reset()

    def process(self, samples: F32) -> F32:
        """(n,) samples to the (T, size) rows that they and what was held complete."""
        check_samples(samples)
        self.framer.hold(samples.copy())
        frames = self.framer.ready_frames
        if frames == 0:
            return np.empty((0, self.size), np.float32)
        return self.derive(self._static.rows(self.framer.take(frames)[np.newaxis]))

    def derive(self, rows: F32) -> F32:
        """Static rows to those that a model sees, some later than they came where derivatives follow."""
        for delta in self._deltas:
            rows = delta.process(rows)
        return rows

    def flush(self) -> F32:
        """The rows still held back; the extractor is then as new."""
        rows = self.process(np.empty(0, np.float32))
        self.framer.reset()
        last = np.empty((0, self.settings.static_size), np.float32)
        for delta in self._deltas:
            last = np.concatenate((delta.process(last), delta.flush()))
        return np.concatenate((rows, last)) if len(last) else rows


def extract(extractors: Sequence[Extractor], frames: int) -> list[F32]:
    """The rows of each one's next `frames` windows, all of equal settings, in a few large steps."""
    found: list[F32] = []
    for start in range(0, len(extractors), STREAMS_AT_ONCE):
        some = extractors[start : start + STREAMS_AT_ONCE]
        taken = [one.take(frames) for one in some]
        sounds = np.stack(taken) if len(taken) > 1 else taken[0][np.newaxis]
        rows = static_rows(some[0].settings).rows(sounds)
        found += map(Extractor.derive, some, rows.reshape(len(some), frames, -1))
    return found


def latency_samples(settings: FeatureSettings) -> int:
    """Sound that such features need beyond the hop that a row stands for."""
    return Framer.latency_samples + settings.delta_order * Delta.latency_frames * HOP_SAMPLES

"""The whole way from samples to the rows a model sees: the one feature code, for daemon and training."""

from __future__ import annotations

import numpy as np

from streamer.audio import F32
from streamer.features.deltas import Delta
from streamer.features.framing import Framer
from streamer.features.mel import LogMel
from streamer.features.mfcc import Mfcc
from streamer.features.settings import HOP_SAMPLES, FeatureSettings


class Extractor:
    """Samples at 16 kHz in, feature rows out; the same rows, bit for bit, for any chunking."""

    def __init__(self, settings: FeatureSettings) -> None:
        self.settings = settings
        self.size = settings.size
        self._framer = Framer()
        self._static = Mfcc(settings) if settings.kind == "mfcc" else LogMel(settings)
        width = settings.static_size
        self._deltas = [Delta(width * order, width) for order in range(1, settings.delta_order + 1)]
        self.reset()

    @property
    def latency_samples(self) -> int:
        """Sound needed beyond the hop that a row stands for."""
        return latency_samples(self.settings)

    def reset(self) -> None:
        """Begin a new stream."""
        self._framer.reset()
        for delta in self._deltas:
            delta.reset()

    def process(self, samples: F32) -> F32:
        """(n,) samples to the (T, size) rows that they complete."""
        rows = self._static.rows(self._framer.process(samples))
        for delta in self._deltas:
            rows = delta.process(rows)
        return rows

    def flush(self) -> F32:
        """The rows still held back; the extractor is then as new."""
        rows = self._static.rows(self._framer.flush())
        for delta in self._deltas:
            rows = np.concatenate((delta.process(rows), delta.flush()))
        return rows


def latency_samples(settings: FeatureSettings) -> int:
    """Sound that such features need beyond the hop that a row stands for."""
    return Framer.latency_samples + settings.delta_order * Delta.latency_frames * HOP_SAMPLES

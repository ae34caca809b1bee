"""Samples in, overlapping windows out, whatever the size of the pieces they come in."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from streamer.audio import F32, check_samples
from streamer.features.settings import HOP_SAMPLES, WINDOW_SAMPLES, frame_count


class Framer:
    """Cuts a stream into windows; the unfinished rest waits for more samples."""

    latency_samples = WINDOW_SAMPLES - HOP_SAMPLES
    """A frame stands for its hop, and needs this much sound beyond it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self._rest = np.empty(0, np.float32)

    def process(self, samples: F32) -> F32:
        """The windows completed by these samples: (T, WINDOW_SAMPLES)."""
        check_samples(samples)
        heard = np.concatenate((self._rest, samples))
        frames = frame_count(len(heard))
        self._rest = heard[frames * HOP_SAMPLES :].copy()
        if frames == 0:
            return np.empty((0, WINDOW_SAMPLES), np.float32)
        return sliding_window_view(heard, WINDOW_SAMPLES)[::HOP_SAMPLES].copy()

    def flush(self) -> F32:
        """End of the stream: a window that was never filled is not made up."""
        self.reset()
        return np.empty((0, WINDOW_SAMPLES), np.float32)

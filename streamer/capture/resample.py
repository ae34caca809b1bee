"""Any sample rate to the one that features work at."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ, check_samples

QUALITY = "HQ"


class Resampler:
    """Streaming change of rate with soxr: the output is bit-equal for any chunking of the same input."""

    def __init__(self, from_hz: int, to_hz: int = SAMPLE_RATE_HZ) -> None:
        if from_hz < 1 or to_hz < 1:
            raise ValueError(f"rates must be at least 1 Hz, not {from_hz} and {to_hz}")
        self.from_hz = from_hz
        self.to_hz = to_hz
        self.reset()

    def reset(self) -> None:
        """Forget all sound, as if new."""
        self._taken_samples = 0
        self._given_samples = 0
        self._flushed = False
        self._stream = self._new_stream()

    def _new_stream(self) -> Any:
        if self.from_hz == self.to_hz:
            return None
        soxr = importlib.import_module("soxr")  # here, because sound at 16 kHz never needs it
        return soxr.ResampleStream(self.from_hz, self.to_hz, 1, dtype="float32", quality=QUALITY)

    def process(self, samples: F32) -> F32:
        """Take (n,) float32 at `from_hz`, give what is ready at `to_hz`; soxr gives it in bursts."""
        check_samples(samples)
        if self._flushed:
            raise ValueError("sound after flush(): call reset() first")
        return self._feed(samples, last=False)

    def flush(self) -> F32:
        """What is still held back, (n,) float32; empty when called again."""
        if self._flushed:
            return np.empty(0, np.float32)
        self._flushed = True
        return self._feed(np.empty(0, np.float32), last=True)

    @property
    def latency_samples(self) -> int:
        """Input samples taken whose output is held back just now: it rises and falls with soxr's bursts."""
        if self._flushed:
            return 0
        return max(0, self._taken_samples - self._given_samples * self.from_hz // self.to_hz)

    def missing_for(self, samples: int) -> int | None:
        """Input samples that must come before so many more are given; None where soxr alone knows."""
        return samples if self._stream is None else None

    def _feed(self, samples: F32, last: bool) -> F32:
        self._taken_samples += len(samples)
        if self._stream is None:
            given: F32 = samples.copy()
        else:
            given = self._stream.resample_chunk(np.ascontiguousarray(samples), last=last)
        self._given_samples += len(given)
        return given

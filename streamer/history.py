"""The last seconds of a stream at 16 kHz, for a model that is to go on where another one stops."""

from __future__ import annotations

import numpy as np

from streamer.audio import F32


class History:
    """Keeps at least so many samples of sound without a gap, and not much more."""

    def __init__(self, length_samples: int) -> None:
        self._length_samples = length_samples
        # The room beyond that is what may come before everything is moved to the front again.
        self._samples = np.empty(length_samples + length_samples // 4, np.float32)
        self.begin(0)

    def begin(self, first_sample: int) -> None:
        """Sound begins here; what was before does not belong to it."""
        self._end_sample = first_sample
        self._filled = 0

    def append(self, samples: F32) -> None:
        """Sound that follows what came before."""
        self._end_sample += len(samples)
        if len(samples) > self._length_samples:
            samples, self._filled = samples[-self._length_samples :], 0
        if self._filled + len(samples) > len(self._samples):
            kept = min(self._filled, self._length_samples - len(samples))
            self._samples[:kept] = self._samples[self._filled - kept : self._filled].copy()
            self._filled = kept
        self._samples[self._filled : self._filled + len(samples)] = samples
        self._filled += len(samples)

    @property
    def first_sample(self) -> int:
        """The oldest that is kept."""
        return self._end_sample - self._filled

    def since(self, first_sample: int) -> F32:
        """All from this sample on, which must be kept still."""
        return self._samples[first_sample - self.first_sample : self._filled].copy()

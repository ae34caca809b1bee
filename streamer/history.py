"""The last seconds of a stream at 16 kHz, for a model that is to go on where another one stops."""

from __future__ import annotations

from collections import deque

import numpy as np

from streamer.audio import F32


class History:
    """Keeps at least so many samples of sound without a gap, and not much more: the pieces as they came."""

    def __init__(self, length_samples: int) -> None:
        self._length_samples = length_samples
        self._pieces: deque[F32] = deque()
        self.begin(0)

    def begin(self, first_sample: int) -> None:
        """Sound begins here; what was before does not belong to it."""
        self._pieces.clear()
        self.first_sample = self._end_sample = first_sample
        """The oldest that is kept."""

    def append(self, samples: F32) -> None:
        """Sound that follows what came before; nobody may write to the array any more."""
        if len(samples) == 0:
            return
        self._end_sample += len(samples)
        if len(samples) > self._length_samples:
            samples = samples[len(samples) - self._length_samples :].copy()
            self._pieces.clear()
            self.first_sample = self._end_sample - len(samples)
        self._pieces.append(samples)
        while self._end_sample - self.first_sample - len(self._pieces[0]) >= self._length_samples:
            self.first_sample += len(self._pieces.popleft())

    def since(self, first_sample: int) -> F32:
        """All from this sample on, which must be kept still."""
        if first_sample == self._end_sample:
            return np.empty(0, np.float32)
        return np.concatenate(self._pieces)[first_sample - self.first_sample :]

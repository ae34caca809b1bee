"""Sound as it travels: samples with their place on the stream's clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
"""The one rate that features and models work at."""

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Mono sound at its source's rate, with its place on the source's sample clock."""

    samples: F32
    """(n,), nominally -1..1; may hold NaN or Inf, which the pipeline cleans and counts."""
    first_sample: int
    """Index of samples[0] since the source was opened; beyond the previous end where sound was lost."""
    captured_utc_s: float
    """Wall clock when the last sample was captured."""

    @property
    def end_sample(self) -> int:
        """Index just after the last sample."""
        return self.first_sample + len(self.samples)

"""Sound as it travels: samples with their place on the stream's clock."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

SAMPLE_RATE_HZ = 16_000
"""The one rate that features and models work at."""

F32 = np.ndarray[tuple[Any, ...], np.dtype[np.float32]]
"""What `numpy.typing` calls NDArray[np.float32]; its import would take the daemon 5 ms."""

_FLOAT32 = np.dtype(np.float32)

_KEPT_NAMES = [sys.intern(name) for name in np.empty(0).__array_interface__]
"""Kept for Python's sake: it makes its table of names anew, 0.9 MB at a time, once names that nobody keeps
have gone through it some ten thousand times, and numpy puts these there to say where an array lies."""


class Chunk(NamedTuple):
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


def check_samples(samples: F32) -> None:
    """Refuse anything but (n,) float32: a silent conversion would hide a caller's mistake."""
    if type(samples) is np.ndarray and samples.dtype is _FLOAT32 and samples.ndim == 1:
        return  # as it always is
    _check_float32(samples, "samples")
    if samples.ndim != 1:
        raise ValueError(f"samples must have the shape (n,), not {samples.shape}")


def check_rows(rows: F32, width: int) -> None:
    """Refuse anything but (T, width) float32."""
    _check_float32(rows, "rows")
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"rows must have the shape (T, {width}), not {rows.shape}")


def _check_float32(array: F32, what: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{what} must be a numpy array of float32, not {found}")

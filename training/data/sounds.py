"""Any sound file as the trainer hears it: mono int16 at 16 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from streamer.audio import SAMPLE_RATE_HZ

I16 = NDArray[np.int16]


def decode(path: Path) -> I16:
    """A file as mono int16 at 16 kHz, whatever it was; raises ValueError with the reason."""
    if not path.is_file():
        raise ValueError("no such file")
    if not path.stat().st_size:
        raise ValueError("an empty file")
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError, TypeError) as error:  # TypeError: raw sound without a header
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise ValueError(f"not a sound file that can be read ({reason})") from error
    mono = samples.mean(axis=1)
    if len(mono) == 0:
        raise ValueError("no samples")
    if not np.isfinite(mono).all():
        raise ValueError("holds samples that are not numbers")
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ)
    if len(mono) == 0:
        raise ValueError("no samples")
    return np.asarray(np.round(np.clip(mono, -1.0, 1.0) * 32767), np.int16)

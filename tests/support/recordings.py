"""Small recordings in the layouts that people have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

SILENT = 0.0


def write_sound(
    path: Path,
    tone_hz: float = 440.0,
    *,
    length_s: float = 0.4,
    rate_hz: int = 16_000,
    channels: int = 1,
    at: Sequence[tuple[float, float]] = ((0.1, 0.3),),
    level: float = 0.5,
) -> Path:
    """Faint noise with a tone from and to these seconds; another tone is another sound."""
    seconds = np.arange(int(length_s * rate_hz)) / rate_hz
    sound = 1e-4 * np.random.default_rng(int(tone_hz)).standard_normal(len(seconds))
    for onset_s, offset_s in at:
        heard = (seconds >= onset_s) & (seconds < offset_s)
        sound[heard] += level * np.sin(2 * np.pi * tone_hz * seconds[heard])
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.repeat(sound[:, None], channels, axis=1), rate_hz)
    return path


def write_text(path: Path, *lines: str) -> Path:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def told(pairs: Sequence[tuple[str, str]], where: str) -> str:
    """The one reason given for this place."""
    found = [reason for place, reason in pairs if place == where]
    assert len(found) == 1, f"{where}: {found} in {pairs}"
    return found[0]

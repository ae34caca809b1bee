"""Where a recording begins in the sound that was played: where the scores of that sound fit those it got."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.contestants import PLAIN, replay_command
from benchmarks.daemon import Message
from benchmarks.processes import run_to_end
from streamer.audio import SAMPLE_RATE_HZ

ROWS = 120
"""Compared."""
SETTLED_S = 2.5
"""What was heard before the sound, and not before the recording, is forgotten by then."""
LATEST_S = 12.0
"""The recording has begun by then."""
GOOD = 0.01
"""Mean difference of scores at the right place, at most."""
STEPS = (80, 16, 4)
"""Rows are cut from every so many samples around the best place, finer each time."""


def find_start(path: Path, frames: Sequence[Message], folder: Path) -> int:
    """The sample of the file with which the stream begins, to a quarter of a millisecond.

    RuntimeError where nothing fits.
    """
    row_samples = round(float(frames[0].record["row_s"]) * SAMPLE_RATE_HZ)
    first_sample = round(float(frames[0].record["first_s"]) * SAMPLE_RATE_HZ)
    skipped = round(SETTLED_S * SAMPLE_RATE_HZ) // row_samples
    heard = np.concatenate([message.scores() for message in frames])[skipped : skipped + ROWS]
    samples = soundfile.read(path, dtype="int16", stop=round(LATEST_S * SAMPLE_RATE_HZ))[0]
    tried: dict[int, tuple[float, int]] = {}
    best, reach = 0, row_samples // 2
    for step in STEPS:
        for shift in range(best - reach, best + reach + 1, step):
            if shift % row_samples not in tried:
                tried[shift % row_samples] = _fit(samples, shift % row_samples, heard, folder)
        best, reach = min(tried, key=lambda shift: tried[shift]), step
    difference, rows = tried[best]
    if difference > GOOD:
        raise RuntimeError(f"the recording does not fit what was played: scores differ by {difference:.3f}")
    return best + _row_start() + (rows - skipped) * row_samples - first_sample


def _row_start() -> int:
    from streamer.pipeline import ROW_START_SAMPLES

    return ROW_START_SAMPLES


def _fit(samples: np.ndarray, shift: int, heard: np.ndarray, folder: Path) -> tuple[float, int]:
    """Of the sound from there on: the least mean difference of scores, and before how many rows that is."""
    path, out = folder / "shifted.wav", folder / "shifted.npz"
    soundfile.write(path, samples[shift:], SAMPLE_RATE_HZ, subtype="PCM_16")
    run_to_end([*replay_command(path), "--scores", str(out)], PLAIN)
    with np.load(out) as found:
        scores = found["scores"]
    places = max(0, len(scores) - len(heard))
    differences = [float(np.abs(scores[at : at + len(heard)] - heard).mean()) for at in range(places)]
    return min(((difference, at) for at, difference in enumerate(differences)), default=(np.inf, 0))

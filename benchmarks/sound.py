"""What all of them listen to: real speech where a path is given, else the bundled demo scene over and over.

A path is a sound file, a folder of them, or a pack of recordings with a `manifest.csv` (columns path, kind),
of which the speech is taken. All are given as 16 kHz, one channel, 16 bits: no peer resamples.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from streamer.audio import SAMPLE_RATE_HZ
from streamer.cli.run import DEMO
from streamer.errors import SoundError

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff"}


class Sound:
    """Samples that are long enough, and files of them."""

    def __init__(self, path: Path | None, longest_s: float, folder: Path) -> None:
        files = _files(path) if path else [DEMO]
        self.told = f"{path.name}: {len(files)} files" if path else "the bundled demo scene, round and round"
        self._folder = folder
        self.samples = _joined(files, round(longest_s * SAMPLE_RATE_HZ))

    def file(self, seconds: float, rate_hz: int = SAMPLE_RATE_HZ) -> Path:
        """The first seconds as a WAV file."""
        path = self._folder / f"sound-{seconds:g}s-{rate_hz}.wav"
        if not path.exists():
            samples = self.samples[: round(seconds * SAMPLE_RATE_HZ)]
            if rate_hz != SAMPLE_RATE_HZ:
                samples = soxr.resample(samples, SAMPLE_RATE_HZ, rate_hz)
            soundfile.write(path, samples, rate_hz, subtype="PCM_16")
        return path


def _files(path: Path) -> list[Path]:
    """In an order that is the same each time, speakers mixed."""
    manifest = path / "manifest.csv"
    if path.is_file():
        return [path]
    if manifest.is_file():
        with manifest.open(encoding="utf-8", newline="") as file:
            found = [path / row["path"] for row in csv.DictReader(file) if row["kind"] == "speech"]
    else:
        found = sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES)
    if not found:
        raise SoundError(f"{path} holds no sound files", "give a file, a folder of files, or a pack")
    random.Random(1).shuffle(found)
    return found


def _joined(files: list[Path], samples: int) -> np.ndarray:
    """So many samples; from the beginning again where the files end."""
    parts: list[np.ndarray] = []
    had = 0
    for part in _rounds(files):
        parts.append(part)
        had += len(part)
        if had >= samples:
            break
    return np.concatenate(parts)[:samples]


def _rounds(files: list[Path]) -> Iterator[np.ndarray]:
    while True:
        heard = 0
        for file in files:
            frames, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
            mono = frames.mean(axis=1)
            if rate_hz != SAMPLE_RATE_HZ:
                mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ)
            heard += len(mono)
            yield mono
        if not heard:
            raise SoundError(f"{files[0]} and what is beside it are empty", "give files with sound in them")

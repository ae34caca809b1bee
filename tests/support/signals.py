"""Sound for the features' tests: made of numbers, spoken by espeak-ng, or from a pack of recordings."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ


def seconds(count: float) -> np.ndarray:
    return np.arange(int(count * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ


def noise(count: float = 1.0, level: float = 0.1, seed: int = 1) -> F32:
    """White: something in every band."""
    return (level * np.random.default_rng(seed).standard_normal(len(seconds(count)))).astype(np.float32)


def vowels(count: float = 1.5) -> F32:
    """A gliding pulse train through three resonances, with a little breath."""
    at = seconds(count)
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.3 * at)) / SAMPLE_RATE_HZ
    sound = np.zeros(len(at))
    for order in range(1, 40):
        pitch = order * (120 + 40 * np.sin(2 * np.pi * 1.3 * at))
        near = sum(np.exp(-(((pitch - formant) / 180) ** 2)) for formant in (700, 1200 + 600 * at, 2800))
        sound += (near + 0.02) * np.cos(order * phase) * (pitch < 7500)
    return (0.1 * sound + 0.001 * np.random.default_rng(2).standard_normal(len(at))).astype(np.float32)


def chirp(count: float = 1.0) -> F32:
    """From 50 Hz to 7.9 kHz, over a noise floor of one step of int16."""
    at = seconds(count)
    sweep = 0.5 * np.sin(2 * np.pi * (50 * at + (7900 - 50) / (2 * count) * at**2))
    return (sweep + np.random.default_rng(3).standard_normal(len(at)) / 32_768).astype(np.float32)


def espeak(text: str = "yes no up down left right on off stop go") -> F32 | None:
    """Synthetic speech at 16 kHz; None where espeak-ng is not installed."""
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    import soundfile
    import soxr

    wav = subprocess.run([program, "--stdout", text], capture_output=True, check=True, timeout=30).stdout
    # Its header does not know the length, so the samples are taken from behind it.
    samples = np.frombuffer(wav[44 : 44 + (len(wav) - 44) // 2 * 2], "<i2").astype(np.float32) / 32_768
    rate_hz = soundfile.info(io.BytesIO(wav)).samplerate
    return np.asarray(soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ), np.float32)


def recorded_speech(clips: int, rng: np.random.Generator) -> list[F32]:
    """Real speech from the folder that STREAMER_DATA names (manifest.csv inside); none without it."""
    folder = os.environ.get("STREAMER_DATA")
    if not folder:
        return []
    import soundfile

    with (Path(folder) / "manifest.csv").open(newline="", encoding="utf-8") as table:
        paths = [row["path"] for row in csv.DictReader(table) if row["kind"] in {"speech", "keyword"}]
    picked = [paths[index] for index in rng.choice(len(paths), clips, replace=False)]
    return [soundfile.read(Path(folder) / path, dtype="float32")[0][: 4 * SAMPLE_RATE_HZ] for path in picked]

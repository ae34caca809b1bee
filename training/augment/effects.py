"""What rooms, microphones and lines do to sound. Each takes samples and a random generator."""

from __future__ import annotations

import numpy as np
import soxr
from scipy.signal import butter, lfilter, oaconvolve

from streamer.audio import F32, SAMPLE_RATE_HZ

Random = np.random.Generator


def change_speed(samples: F32, factor: float) -> F32:
    """Faster and higher for factors above 1."""
    return np.asarray(
        soxr.resample(samples, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ, quality="LQ"), np.float32
    )


def simulated_room(rng: Random) -> F32:
    """An impulse response: the direct sound, a few reflections, exponentially decaying noise."""
    decay_s = float(np.exp(rng.uniform(np.log(0.08), np.log(0.9))))
    length = int(min(decay_s, 0.6) * SAMPLE_RATE_HZ)
    seconds = np.arange(length) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(length) * 10 ** (-3 * seconds / decay_s)
    dull = rng.uniform(0.0, 0.8)
    tail = lfilter([1 - dull], [1, -dull], tail)
    tail[: int(rng.uniform(0.001, 0.01) * SAMPLE_RATE_HZ)] = 0.0
    tail *= 10 ** (rng.uniform(-15, 3) / 20) / np.sqrt(np.sum(tail**2) + 1e-9)
    for _ in range(rng.integers(2, 8)):
        tail[rng.integers(20, min(800, length))] += rng.uniform(-0.4, 0.4)
    tail[0] = 1.0
    return np.asarray(tail, np.float32)


def given_room(samples: F32) -> F32:
    """A recorded impulse response with its direct sound first and of unit energy there."""
    peak = int(np.argmax(np.abs(samples)))
    kept = samples[max(0, peak - 8) : peak + int(0.8 * SAMPLE_RATE_HZ)]
    return np.asarray(kept / (np.sqrt(np.sum(kept[:80] ** 2)) + 1e-9), np.float32)


def in_room(samples: F32, room: F32) -> F32:
    """The same sound heard in a room; as long as before."""
    return np.asarray(oaconvolve(samples, room)[: len(samples)], np.float32)


def low_pass(samples: F32, cut_hz: float) -> F32:
    """Nothing much above this, as after a telephone line or a cheap codec."""
    b, a = butter(6, cut_hz, fs=SAMPLE_RATE_HZ)
    return np.asarray(lfilter(b, a, samples), np.float32)


def telephone(samples: F32, rng: Random) -> F32:
    """A telephone's band."""
    band = (rng.uniform(150, 350), rng.uniform(3200, 3800))
    b, a = butter(3, band, btype="band", fs=SAMPLE_RATE_HZ)
    return np.asarray(lfilter(b, a, samples), np.float32)


def microphone_colour(samples: F32, rng: Random) -> F32:
    """A tilt and a resonance, as cheap microphones have."""
    tilt = rng.uniform(-0.5, 0.5)
    coloured = lfilter([1.0, tilt], [1.0], samples)
    centre, width = rng.uniform(200, 6000), rng.uniform(0.2, 0.5)
    radius = np.exp(-np.pi * centre * width / SAMPLE_RATE_HZ)
    pole = [1.0, -2 * radius * np.cos(2 * np.pi * centre / SAMPLE_RATE_HZ), radius**2]
    zeros = rng.uniform(0.7, 1.0)
    zero = [1.0, pole[1] * zeros, pole[2] * zeros**2]
    coloured = lfilter(zero, pole, coloured) if rng.random() < 0.5 else lfilter(pole, zero, coloured)
    if rng.random() < 0.4:
        b, a = butter(1, rng.uniform(40, 250), btype="high", fs=SAMPLE_RATE_HZ)
        coloured = lfilter(b, a, coloured)
    return np.asarray(coloured, np.float32)


def level_db(samples: F32) -> float:
    """Mean level in dB of full scale."""
    return float(10 * np.log10(np.mean(np.square(samples), dtype=np.float64) + 1e-12))


def to_level(samples: F32, wanted_db: float) -> F32:
    """The same at another mean level."""
    return np.asarray(samples * np.float32(10 ** ((wanted_db - level_db(samples)) / 20)), np.float32)


def as_recorded(samples: F32) -> F32:
    """Clipped and rounded as a 16 bit microphone would."""
    return np.asarray(np.round(np.clip(samples, -1.0, 1.0) * 32767) / 32768, np.float32)

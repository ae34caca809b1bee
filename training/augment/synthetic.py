"""Sound made by code: beds of noise to hear words in, and simple everyday sounds for variety and the demo."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter

from streamer.audio import F32, SAMPLE_RATE_HZ

Random = np.random.Generator


def coloured_noise(samples: int, rng: Random) -> F32:
    """Noise with a random slope of -9..+1 dB an octave, a random band and slow swells."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    slope = rng.uniform(-1.5, 0.2)
    shape = (np.maximum(hz, 30.0) / 1000) ** slope
    for _ in range(rng.integers(0, 4)):
        centre, width = np.exp(rng.uniform(np.log(80), np.log(7000))), rng.uniform(0.1, 1.0)
        shape = shape * (
            1 + rng.uniform(-0.8, 3.0) * np.exp(-((np.log(np.maximum(hz, 1) / centre) / width) ** 2))
        )
    noise = np.fft.irfft(spectrum * shape, samples)
    return _unit(noise * _swell(samples, rng))


def hum(samples: int, rng: Random) -> F32:
    """Mains hum or a fan: harmonics of a low tone over faint noise."""
    seconds = np.arange(samples) / SAMPLE_RATE_HZ
    base = rng.choice([50.0, 60.0, 100.0, 120.0, rng.uniform(60, 300)])
    tones = sum(
        rng.uniform(0, 1) / n * np.sin(2 * np.pi * base * n * seconds + rng.uniform(0, 6))
        for n in range(1, 9)
    )
    return _unit(np.asarray(tones) + 0.1 * rng.standard_normal(samples))


def _swell(samples: int, rng: Random) -> F32:
    depth = rng.choice([0.0, rng.uniform(0, 0.7)])
    knots = 1 + depth * rng.uniform(-1, 1, max(2, samples // int(SAMPLE_RATE_HZ * rng.uniform(0.5, 4))))
    return np.asarray(
        np.interp(np.linspace(0, len(knots) - 1, samples), np.arange(len(knots)), knots), np.float32
    )


def _unit(samples: NDArray[np.floating]) -> F32:
    return np.asarray(samples / (np.sqrt(np.mean(samples**2)) + 1e-9), np.float32)


def _click(rng: Random, hz: float, decay_s: float, bright: float) -> F32:
    """A short knock: a few damped resonances and a burst of noise."""
    seconds = np.arange(int(6 * decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    sound = bright * rng.standard_normal(len(seconds)) * np.exp(-seconds / (0.3 * decay_s))
    for factor in (1.0, rng.uniform(1.4, 1.9), rng.uniform(2.1, 3.2)):
        sound += np.sin(2 * np.pi * hz * factor * seconds + rng.uniform(0, 6)) * np.exp(-seconds / decay_s)
    return np.asarray(sound, np.float32)


def clock_tick(samples: int, rng: Random) -> F32:
    """Tick, tock: two knocks in turn at an even pace."""
    out = np.zeros(samples, np.float32)
    pace_s = rng.choice([0.25, 0.5, 1.0, rng.uniform(0.3, 1.1)])
    hz, decay_s, bright = rng.uniform(1500, 4500), rng.uniform(0.002, 0.01), rng.uniform(0.3, 2.0)
    knocks = [_click(rng, hz * factor, decay_s, bright) for factor in (1.0, rng.uniform(0.75, 1.0))]
    swing = rng.uniform(0.0, 0.06)
    for number, second in enumerate(np.arange(0.02, samples / SAMPLE_RATE_HZ, pace_s)):
        _place(out, int((second + swing * pace_s * (number % 2)) * SAMPLE_RATE_HZ), knocks[number % 2])
    return _unit(out)


def helicopter(samples: int, rng: Random) -> F32:
    """Blades: low noise in even pulses over an engine's whine."""
    seconds = np.arange(samples) / SAMPLE_RATE_HZ
    rate_hz = rng.uniform(9, 22)
    pulse = np.maximum(0, np.sin(2 * np.pi * rate_hz * seconds)) ** rng.uniform(2, 8)
    b, a = butter(2, [rng.uniform(40, 90), rng.uniform(300, 1200)], btype="band", fs=SAMPLE_RATE_HZ)
    blades = lfilter(b, a, rng.standard_normal(samples)) * (0.15 + pulse)
    whine = np.sin(2 * np.pi * rng.uniform(300, 1500) * seconds) * rng.uniform(0, 0.05)
    hiss = lfilter([1.0], [1.0, -0.6], rng.standard_normal(samples)) * rng.uniform(0.01, 0.06)
    return _unit(blades / (np.std(blades) + 1e-9) + whine + hiss * (0.5 + pulse))


def chainsaw(samples: int, rng: Random) -> F32:
    """A two-stroke engine: a rough sawtooth that idles and revs."""
    seconds = np.arange(samples) / SAMPLE_RATE_HZ
    knots = rng.uniform(0.6, 1.4, max(3, int(seconds[-1] * rng.uniform(0.5, 1.5))))
    revs = np.interp(seconds, np.linspace(0, seconds[-1], len(knots)), knots) * rng.uniform(70, 130)
    revs *= 1 + 0.02 * lfilter([0.05], [1, -0.95], rng.standard_normal(samples))
    phase = np.cumsum(revs) / SAMPLE_RATE_HZ
    engine = 2 * (phase % 1) - 1 + 0.5 * (2 * ((phase / 2) % 1) - 1)
    b, a = butter(1, [rng.uniform(100, 300), rng.uniform(3000, 6500)], btype="band", fs=SAMPLE_RATE_HZ)
    rough = engine * (1 + 0.4 * rng.standard_normal(samples)) + 0.3 * rng.standard_normal(samples)
    return _unit(lfilter(b, a, rough) * (0.5 + revs / 150))


def music(samples: int, rng: Random) -> F32:
    """Chords, a melody and a beat from a few harmonics."""
    out = np.zeros(samples)
    beat_s = 60 / rng.uniform(70, 160)
    scale = np.array([0, 2, 4, 5, 7, 9, 11] if rng.random() < 0.5 else [0, 2, 3, 5, 7, 8, 10])
    root, harmonics, fall_s = rng.uniform(90, 260), int(rng.integers(2, 9)), rng.uniform(0.15, 1.5)
    drums = rng.random() < 0.5
    for number, second in enumerate(np.arange(0, samples / SAMPLE_RATE_HZ, beat_s / 2)):
        first = int(second * SAMPLE_RATE_HZ)
        notes = [rng.choice(scale) + 12] if rng.random() < 0.7 else []
        if number % 8 == 0:
            degree = rng.integers(0, 7)
            notes += [scale[(degree + step) % 7] + 12 * ((degree + step) // 7) for step in (0, 2, 4)]
        for note in notes:
            _place(out, first, _note(root * 2 ** (note / 12), harmonics, fall_s, rng))
        if drums and number % 2 == 0:
            _place(out, first, _click(rng, rng.choice([80.0, 200.0]), 0.04, rng.choice([0.1, 1.0])) * 0.6)
    return _unit(out)


def _note(hz: float, harmonics: int, fall_s: float, rng: Random) -> F32:
    seconds = np.arange(int(min(2.0, 3 * fall_s) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    parts = [np.sin(2 * np.pi * hz * n * seconds) / n for n in range(1, harmonics + 1) if hz * n < 7000]
    shape = np.minimum(1, seconds / 0.01) * np.exp(-seconds / fall_s)
    return np.asarray(sum(parts, np.zeros(len(seconds))) * shape * rng.uniform(0.4, 1.0), np.float32)


def dog_bark(samples: int, rng: Random) -> F32:
    """Barks: a rough falling tone with formants, two or three in a row."""
    out = np.zeros(samples, np.float32)
    base, mouth = rng.uniform(250, 700), rng.uniform(700, 1600)
    at_s = 0.02
    while at_s < samples / SAMPLE_RATE_HZ - 0.3:
        length_s = rng.uniform(0.12, 0.28)
        seconds = np.arange(int(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        hz = base * (0.7 + 0.6 * np.sin(np.pi * seconds / length_s))
        voice = 2 * ((np.cumsum(hz) / SAMPLE_RATE_HZ) % 1) - 1 + 0.5 * rng.standard_normal(len(seconds))
        shape = np.minimum(1, seconds / 0.015) * np.exp(-seconds / (0.4 * length_s))
        b, a = butter(1, [mouth * 0.5, mouth * 1.8], btype="band", fs=SAMPLE_RATE_HZ)
        _place(out, int(at_s * SAMPLE_RATE_HZ), np.asarray(lfilter(b, a, voice) * shape, np.float32))
        at_s += length_s + rng.choice([rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.9)])
    return _unit(out)


def _place(out: NDArray[np.floating], first: int, sound: F32) -> None:
    kept = sound[: max(0, len(out) - first)]
    out[first : first + len(kept)] += kept


SYNTHETIC: dict[str, Callable[[int, Random], F32]] = {
    "clock_tick": clock_tick,
    "helicopter": helicopter,
    "chainsaw": chainsaw,
    "music": music,
    "dog_bark": dog_bark,
}
"""Labels that are also trained on made sound; the model card says so."""

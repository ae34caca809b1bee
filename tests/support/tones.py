"""Sound made of tones that the tiny bundle knows, over a noise floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.audio import F32
from tests.support.tiny_bundle import TONES_HZ

TONES = (("low", 1.0, 1.3), ("mid", 2.0, 2.3), ("high", 3.0, 4.2), ("low", 5.0, 5.2))
"""Label, onset and offset in seconds."""


@dataclass(frozen=True)
class ToneScene:
    """A signal and what there is to hear in it."""

    samples: F32
    """(n,), read-only."""
    rate_hz: int
    tones: tuple[tuple[str, float, float], ...]
    """Label, onset and offset in seconds."""

    @property
    def expected(self) -> list[tuple[str, str, float]]:
        """Label, phase and time in seconds of every event, in order: a sound has two, a keyword one."""
        events = []
        for label, onset_s, offset_s in self.tones:
            if label == "high":
                events += [(label, "start", onset_s), (label, "end", offset_s)]
            else:
                events.append((label, "hit", onset_s))
        return sorted(events, key=lambda event: event[2])


def make_tone_scene(
    rate_hz: int = 16_000,
    seconds: float = 6.0,
    tones: tuple[tuple[str, float, float], ...] = TONES,
    seed: int = 1,
) -> ToneScene:
    """Tones at -14 dB of full scale over noise at -50 dB; at any rate the same to the ear."""
    at_s = np.arange(round(seconds * rate_hz)) / rate_hz
    signal = np.random.default_rng(seed).standard_normal(len(at_s)) * 0.003
    for label, onset_s, offset_s in tones:
        on = (at_s >= onset_s) & (at_s < offset_s)
        signal[on] += 0.2 * np.sin(2 * np.pi * TONES_HZ[label] * at_s[on])
    samples = signal.astype(np.float32)
    samples.flags.writeable = False
    return ToneScene(samples, rate_hz, tones)


def random_tones(rng: np.random.Generator, samples: int, rate_hz: int = 16_000) -> F32:
    """(samples,) of noise with short random tones in it, dense enough that every second has events."""
    tones, at_s, end_s = [], 0.0, samples / rate_hz
    while at_s < end_s:
        length_s = float(rng.uniform(0.05, 0.6))
        tones.append((str(rng.choice(list(TONES_HZ))), at_s, at_s + length_s))
        at_s += length_s + float(rng.uniform(0.0, 0.4))
    seed = int(rng.integers(2**32))
    return make_tone_scene(rate_hz, end_s, tuple(tones), seed).samples[:samples]

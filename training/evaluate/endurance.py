"""Hours in which nothing is said: what a daemon has heard before somebody speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ
from training.augment import effects, synthetic

BLOCK_SAMPLES = 60 * SAMPLE_RATE_HZ
SEED = 21
KINDS: tuple[tuple[Callable[[int, np.random.Generator], F32] | None, float], ...] = (
    (None, 0.0),
    (synthetic.coloured_noise, -70.0),
    (synthetic.music, -30.0),
    (synthetic.coloured_noise, -32.0),
    (synthetic.hum, -40.0),
    (None, 0.0),
    (synthetic.coloured_noise, -20.0),
    (synthetic.music, -18.0),
)
"""What is heard, minute by minute, and how loud in dB; None: digital silence."""


def idle_minutes(hours: float) -> Iterator[F32]:
    """So many hours of noise, music-like sound and silence in blocks of a minute; the same every time."""
    rng = np.random.default_rng(SEED)
    for minute in range(round(hours * 60)):
        make, level_db = KINDS[minute % len(KINDS)]
        block = np.zeros(BLOCK_SAMPLES, np.float32)
        if make is not None:
            block = effects.as_recorded(effects.to_level(make(BLOCK_SAMPLES, rng), level_db))
        yield block

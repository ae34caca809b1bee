"""Rooms that nobody recorded: impulse responses by the image-source method, made once and kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.errors import StreamerError
from training.augment.effects import Random

SEED = 5
SMALLEST_M, LARGEST_M = (2.0, 2.0, 2.2), (8.0, 7.0, 3.5)
DECAY_S = (0.12, 0.9)
"""Time until a sound has fallen by 60 dB."""
REFLECTIONS = 17
SOURCES = 3
"""Heard at one microphone in one room."""
FROM_WALL_M, APART_M = 0.3, 0.25
LONGEST_SAMPLES = int(0.8 * SAMPLE_RATE_HZ)


def simulated_rooms(cache: Path, count: int) -> list[F32]:
    """So many impulse responses, from the cache if they have been made before."""
    if not count:
        return []
    path = cache / f"rooms-{count}.npz"
    if not path.exists():
        fresh = path.with_name(f"{path.stem}.{os.getpid()}.new.npz")
        np.savez(fresh, *make_rooms(count))
        os.replace(fresh, path)  # whoever is last wins; all have made the same
    with np.load(path) as kept:
        return [kept[name] for name in kept.files]


def make_rooms(count: int) -> list[F32]:
    """The same every time: small and large, dead and live, from an arm's length to the other corner."""
    rng, responses = np.random.default_rng(SEED), list[F32]()
    while len(responses) < count:
        responses += _one_room(rng)
    return responses[:count]


def _one_room(rng: Random) -> list[F32]:
    try:
        import pyroomacoustics as pra
    except ImportError:
        raise StreamerError(
            "simulated rooms need pyroomacoustics", "pip install 'streamer[train]', or train with --rooms 0"
        ) from None
    size_m = rng.uniform(SMALLEST_M, LARGEST_M)
    decay_s = float(np.exp(rng.uniform(*np.log(DECAY_S))))
    try:
        absorption, _ = pra.inverse_sabine(decay_s, size_m)
    except ValueError:
        return []  # no wall is so soft that so large a room is so dead
    room = pra.ShoeBox(
        size_m,
        fs=SAMPLE_RATE_HZ,
        materials=pra.Material(absorption),
        max_order=REFLECTIONS,
        air_absorption=True,
    )
    microphone_m = rng.uniform(FROM_WALL_M, size_m - FROM_WALL_M)
    for place_m in rng.uniform(FROM_WALL_M, size_m - FROM_WALL_M, (SOURCES, 3)):
        if np.linalg.norm(place_m - microphone_m) >= APART_M:
            room.add_source(place_m)
    if not room.sources:
        return []
    room.add_microphone(microphone_m)
    room.compute_rir()
    return [np.asarray(response[:LONGEST_SAMPLES], np.float32) for response in room.rir[0]]

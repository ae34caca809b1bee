"""The device's clock against ours, on made-up times."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.capture.device_clock import DeviceClock

RATE_HZ = 48_000
BLOCK = 960


def listen(
    clock: DeviceClock,
    rng: np.random.Generator,
    seconds: float,
    *,
    ppm: float = 0.0,
    begin: int = 0,
    away_s: float = 0.0,
) -> tuple[int, int]:
    """Blocks that come late by a random time, now and then by a long one: the last frame, and all missing."""
    missing, frames = 0, begin
    for _ in range(round(seconds * RATE_HZ / BLOCK)):
        frames += BLOCK
        late_s = rng.exponential(0.01) + (rng.random() < 0.02) * rng.uniform(0, 0.8)
        captured_s = 1e6 + away_s + frames / RATE_HZ / (1 + ppm / 1e6) + late_s
        missing += clock.take(captured_s, frames)
    return frames, missing


@pytest.mark.parametrize("ppm", [-200.0, -20.0, 0.0, 50.0, 1000.0])
def test_drift_is_found_under_jitter(rng: np.random.Generator, ppm: float) -> None:
    clock = DeviceClock(RATE_HZ)
    _, missing = listen(clock, rng, 600, ppm=ppm)
    assert missing == 0
    assert clock.drift_ppm is not None
    assert abs(clock.drift_ppm - ppm) < 5


def test_a_server_that_holds_back_more_from_now_on_is_no_drift(rng: np.random.Generator) -> None:
    clock = DeviceClock(RATE_HZ)
    frames, _ = listen(clock, rng, 400, ppm=20)
    _, missing = listen(clock, rng, 100, ppm=20, begin=frames, away_s=0.05)
    assert missing == 0
    assert clock.drift_ppm is not None
    assert abs(clock.drift_ppm - 20) < 10


def test_drift_is_not_told_before_it_is_known(rng: np.random.Generator) -> None:
    clock = DeviceClock(RATE_HZ)
    listen(clock, rng, 110)
    assert clock.drift_ppm is None


def test_a_small_loss_begins_the_drift_anew(rng: np.random.Generator) -> None:
    clock = DeviceClock(RATE_HZ)
    frames, _ = listen(clock, rng, 300, ppm=30)
    clock.break_drift()
    assert clock.drift_ppm is None
    listen(clock, rng, 300, ppm=30, begin=frames, away_s=0.3)
    assert clock.drift_ppm is not None
    assert abs(clock.drift_ppm - 30) < 10


@pytest.mark.parametrize("away_s", [1.5, 60.0, 8 * 3600.0])
def test_sound_that_went_missing_without_a_word(rng: np.random.Generator, away_s: float) -> None:
    """A machine that slept: found once, within three seconds of sound, to within a tenth of a second."""
    clock = DeviceClock(RATE_HZ)
    frames, missing = listen(clock, rng, 30)
    assert missing == 0
    frames, missing = listen(clock, rng, 4, begin=frames, away_s=away_s)
    assert abs(missing / RATE_HZ - away_s) < 0.1
    _, missing = listen(clock, rng, 60, begin=frames, away_s=away_s)
    assert missing == 0


def test_sound_that_is_late_is_not_missing(rng: np.random.Generator) -> None:
    """A busy machine: nothing for four seconds, then all of it at once."""
    clock = DeviceClock(RATE_HZ)
    frames, _ = listen(clock, rng, 20)
    now_s = 1e6 + frames / RATE_HZ + 4
    missing = sum(clock.take(now_s, frames + (n + 1) * BLOCK) for n in range(4 * RATE_HZ // BLOCK))
    assert missing == 0
    assert listen(clock, rng, 30, begin=frames + 4 * RATE_HZ)[1] == 0

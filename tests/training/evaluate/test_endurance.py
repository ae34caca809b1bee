"""Words after hours of something else are the same words at the same times."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamer.inference.bundle import load_bundle
from training.evaluate.endurance import idle_minutes
from training.evaluate.play import play
from training.evaluate.streams import LongStream


def test_it_is_noise_music_and_silence_and_the_same_every_time() -> None:
    minutes = list(idle_minutes(0.15))
    assert [len(block) for block in minutes] == [60 * 16_000] * 9
    levels = [float(np.sqrt(np.mean(block.astype(np.float64) ** 2))) for block in minutes]
    assert levels[0] == 0.0
    assert max(levels) > 0.05
    assert all(np.array_equal(a, b) for a, b in zip(minutes, idle_minutes(0.15), strict=True))


def test_what_comes_before_moves_nothing_and_is_heard(tiny_bundle: Path) -> None:
    seed = int(np.random.SeedSequence().entropy) % 2**32
    print("seed", seed)
    rng = np.random.default_rng(seed)
    bundle = load_bundle(tiny_bundle)
    sound = rng.normal(0, 0.1, 16_000 * 5).astype(np.float32)
    fresh = play(bundle, LongStream("keywords-x", sound))
    silence = np.zeros(48_000, np.float32)
    worn = play(bundle, LongStream("keywords-x", sound), before=[silence, sound[:48_000]])
    assert (worn.first_sample, worn.scores.shape) == (fresh.first_sample, fresh.scores.shape)
    assert worn.lookahead_samples == fresh.lookahead_samples
    assert not np.array_equal(worn.scores[0], fresh.scores[0]), "the state must be carried over"
    assert np.abs(worn.scores[-20:] - fresh.scores[-20:]).max() < 0.2, "and be forgotten after a while"

"""Sound that no microphone should give, and some do: no fault, sane scores, and no event lost after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from streamer.audio import F32, Chunk
from streamer.capture.source import mix_to_mono
from streamer.inference.model import Model, open_model
from streamer.pipeline import StreamPipeline, advance
from tests.support.daemon import ROOT
from tests.support.tones import make_tone_scene

LENGTH_S = 6.0
RATE = 16_000
Random = np.random.Generator


def full_scale_square(count: int, _: Random) -> F32:
    return np.where(np.arange(count) // 40 % 2, 1.0, -1.0).astype(np.float32)


def one_bit_noise(count: int, rng: Random) -> F32:
    return rng.choice(np.array([-1.0, 1.0], np.float32), count)


def denormals(count: int, rng: Random) -> F32:
    return (rng.normal(0, 1, count) * 1e-40).astype(np.float32)


def constant(count: int, _: Random) -> F32:
    return np.full(count, 0.9, np.float32)


def holes(count: int, rng: Random) -> F32:
    """NaN and Inf among noise."""
    sound = rng.normal(0, 0.1, count).astype(np.float32)
    sound[rng.integers(0, count, count // 50)] = np.nan
    sound[rng.integers(0, count, count // 50)] = np.inf
    return sound


def absurdly_loud(count: int, rng: Random) -> F32:
    return (rng.normal(0, 1, count) * 1e30).astype(np.float32)


def one_impulse(count: int, _: Random) -> F32:
    sound = np.zeros(count, np.float32)
    sound[count // 2] = 1.0
    return sound


ODD: list[Callable[[int, Random], F32]] = [
    *(full_scale_square, one_bit_noise, denormals, constant, holes, absurdly_loud, one_impulse),
]


def pipeline_of(model: Model, rate_hz: int = RATE) -> StreamPipeline:
    manifest = model.bundle.manifest
    return StreamPipeline(model.classifier, manifest.features, manifest.labels, rate_hz, 80)


def listen(pipeline: StreamPipeline, model: Model, sound: F32, at: int = 0, step: int = 4_000) -> int:
    for first in range(0, len(sound), step):
        pipeline.feed(Chunk(sound[first : first + step], at + first, 0.0))
        advance(model.classifier, [pipeline])
    return at + len(sound)


@pytest.fixture(scope="module")
def default_model() -> Model:
    return open_model(str(ROOT / "models/default"))


@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_the_default_model_stays_sane(
    default_model: Model, make: Callable[[int, Random], F32], rng: Random
) -> None:
    pipeline = pipeline_of(default_model)
    at = listen(pipeline, default_model, make(round(LENGTH_S * RATE), rng))
    after = rng.normal(0, 0.01, RATE).astype(np.float32)
    listen(pipeline, default_model, after, at)
    scores = np.concatenate([block.scores for block in pipeline.take_output().scores])
    assert np.isfinite(scores).all()
    assert scores.min() >= 0.0
    assert scores.max() <= 1.0
    assert all(np.isfinite(part).all() for part in pipeline.state)


@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_what_comes_after_it_is_heard(
    tiny_model: Model, make: Callable[[int, Random], F32], rng: Random
) -> None:
    scene = make_tone_scene(RATE, 4.0, (("low", 1.0, 1.3), ("mid", 2.2, 2.5)))
    pipeline = pipeline_of(tiny_model)
    at = listen(pipeline, tiny_model, make(2 * RATE, rng))
    pipeline.take_output()
    listen(pipeline, tiny_model, scene.samples, at)
    told = [found for found in pipeline.take_output().detections if found.onset_sample > at + RATE // 2]
    assert [found.label for found in told if found.phase == "hit"] == ["low", "mid"]


@pytest.mark.parametrize("step", [1, 2 * RATE], ids=["a sample at a time", "two seconds at a time"])
def test_devices_that_dribble_and_devices_that_gush(tiny_model: Model, step: int) -> None:
    scene = make_tone_scene(RATE, 2.0, (("low", 0.5, 0.8), ("mid", 1.3, 1.6)))
    usual, odd = pipeline_of(tiny_model), pipeline_of(tiny_model)
    listen(usual, tiny_model, scene.samples)
    listen(odd, tiny_model, scene.samples, step=step)
    expected, found = usual.take_output(), odd.take_output()
    assert found.detections == expected.detections
    np.testing.assert_array_equal(
        np.concatenate([block.scores for block in found.scores]),
        np.concatenate([block.scores for block in expected.scores]),
    )


def test_eight_channels_at_192_khz(tiny_model: Model) -> None:
    scene = make_tone_scene(192_000, 2.0, (("low", 0.5, 0.8), ("mid", 1.3, 1.6)))
    frames = np.repeat(scene.samples[:, np.newaxis], 8, axis=1)
    mono = mix_to_mono(frames, np.empty(len(frames), np.float32))
    pipeline = pipeline_of(tiny_model, 192_000)
    listen(pipeline, tiny_model, mono, step=48_000)
    assert [found.label for found in pipeline.take_output().detections] == ["low", "mid"]


def test_ten_minutes_of_silence_and_then_a_word(tiny_model: Model) -> None:
    pipeline = pipeline_of(tiny_model)
    at = listen(pipeline, tiny_model, np.zeros(600 * RATE, np.float32), step=60 * RATE)
    assert not pipeline.take_output().detections
    scene = make_tone_scene(RATE, 2.0, (("low", 0.5, 0.8),))
    listen(pipeline, tiny_model, scene.samples, at)
    assert [found.label for found in pipeline.take_output().detections] == ["low"]

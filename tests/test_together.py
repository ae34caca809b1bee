"""Many streams at once, on several threads: whatever comes of it is what comes of each stream alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from streamer import together
from streamer.audio import Chunk
from streamer.inference.model import Model
from streamer.pipeline import Output, StreamPipeline, advance
from streamer.together import STREAMS_AT_ONCE, Beside, in_groups
from tests.support.tones import random_tones

WAIT_S = 20.0


@pytest.fixture
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_processors", lambda: 2)


def test_groups_are_all_of_them_in_order() -> None:
    numbers = list(range(3 * STREAMS_AT_ONCE + 5))
    groups = list(in_groups(numbers))
    assert [number for group in groups for number in group] == numbers
    assert [len(group) for group in groups] == [*3 * [STREAMS_AT_ONCE], 5]
    assert list(in_groups([])) == []


def make_pipelines(model: Model, count: int) -> list[StreamPipeline]:
    manifest = model.bundle.manifest
    return [
        StreamPipeline(model.classifier, manifest.features, manifest.labels, 16_000, 80) for _ in range(count)
    ]


def test_streams_in_groups_equal_each_alone(
    tiny_model: Model, rng: np.random.Generator, two_processors: None
) -> None:
    """While one group is listened to, the next is fed."""
    count, seconds = 2 * STREAMS_AT_ONCE + 7, 2
    sounds = [random_tones(rng, seconds * 16_000) for _ in range(5)]
    streams = make_pipelines(tiny_model, count)
    threads = set()

    def hear(group: Sequence[int]) -> None:
        threads.add(threading.get_ident())
        advance(tiny_model.classifier, [streams[number] for number in group])

    for start in range(0, seconds * 16_000, 3_000):
        with Beside(hear) as beside:
            for group in in_groups(range(count)):
                for number in group:
                    piece = sounds[number % len(sounds)][start : start + 3_000]
                    streams[number].feed(Chunk(piece, start, 0.0))
                beside.add(group)
    outputs = [stream.take_output() for stream in streams]
    assert len(threads) == 2
    for number, sound in enumerate(sounds):
        expected = alone(tiny_model, sound)
        assert expected.detections
        for output in outputs[number :: len(sounds)]:
            assert output.detections == expected.detections
            scores = [np.concatenate([block.scores for block in one.scores]) for one in (output, expected)]
            np.testing.assert_allclose(*scores, atol=1e-5)


def alone(model: Model, sound: np.ndarray) -> Output:
    (stream,) = make_pipelines(model, 1)
    stream.feed(Chunk(sound, 0, 0.0))
    advance(model.classifier, [stream])
    return stream.take_output()


def test_full_groups_are_seen_to_meanwhile(two_processors: None) -> None:
    begun = threading.Event()
    group = list(range(STREAMS_AT_ONCE))
    with Beside(lambda _: begun.set()) as beside:
        beside.add(group)
        assert begun.wait(WAIT_S)


def test_small_groups_wake_nobody(two_processors: None) -> None:
    seen: list[int] = []
    with Beside(lambda _: seen.append(threading.get_ident())) as beside:
        beside.add([1, 2, 3])
        assert seen == []
    assert seen == [threading.get_ident()]


def test_a_failure_is_told_when_nobody_works_any_more(two_processors: None) -> None:
    """Who closes the streams next must not do so under somebody's hands."""
    working: list[int] = []
    ended: list[int] = []

    def work(group: Sequence[int]) -> None:
        working.append(group[0])
        if group[0] % 2:
            raise ValueError(f"group {group[0]}")
        ended.append(group[0])

    def all_of_them() -> None:
        with Beside(work) as beside:
            for number in range(6):
                beside.add([number] * STREAMS_AT_ONCE)

    with pytest.raises(ValueError, match="group"):
        all_of_them()
    before = list(working)
    assert set(ended) | {number for number in working if number % 2} == set(working)
    assert working == before

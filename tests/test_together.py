"""Many streams at once, on several threads: what comes of it is what comes of each stream alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from streamer import compiled, together
from streamer.audio import F32, Chunk
from streamer.decoding.decoder import Detection
from streamer.ears import Ears
from streamer.inference.model import Model, open_model
from streamer.kernel import library
from streamer.pipeline import Intake, advance, hear, listen
from streamer.together import WAVE, WORTH_SHARING, Turn, in_waves
from streamer.tuned import TunedModel
from tests.support.chunks import cut, random_chunks, told
from tests.support.tones import random_tones

needs_kernel = pytest.mark.skipif(library() is None, reason="the kernel was not built")


@pytest.fixture(params=[1, 2])
def processors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(together, "_processors", lambda: request.param)
    count: int = request.param
    return count


def test_waves_are_all_of_them_in_order() -> None:
    numbers = list(range(3 * WAVE + 5))
    waves = list(in_waves(numbers))
    assert [number for wave in waves for number in wave] == numbers
    assert [len(wave) for wave in waves] == [*3 * [WAVE], 5]
    assert list(in_waves([])) == []


class Stream:
    """One stream's intake and what has come out."""

    def __init__(self, model: Model, hop_ms: int = 80, rate_hz: int = 16_000) -> None:
        self.model = model
        self.ears = Ears([TunedModel(model, list(model.bundle.manifest.labels))], hop_ms)
        self.intake: Intake = self.ears.open(rate_hz, 1.0)
        self.detections: list[Detection] = []
        self.scores: list[F32] = []
        self.places: list[tuple[int, int]] = []
        self.at = 0

    def feed(self, samples: F32) -> None:
        self.intake.feed(Chunk(samples, self.at, 0.0))
        self.at += len(samples)

    def take(self) -> None:
        for _, output in self.ears.take_outputs():
            self.detections += output.detections
            self.scores += [block.scores for block in output.scores]
            for block in output.scores:
                self.places += [(block.first_row, block.first_sample)]

    def stage_by_stage(self) -> None:
        listen([self.intake])
        advance(self.model.classifier, self.ears.listeners)
        self.take()


def hear_all(streams: Sequence[Stream]) -> None:
    """As a daemon does."""
    left = [streams[place] for place in hear([stream.intake for stream in streams])]
    listen([stream.intake for stream in left])
    advance(streams[0].model.classifier, [stream.ears.listeners[0] for stream in left])
    for stream in streams:
        stream.take()


def assert_same(one: Stream, other: Stream, what: str) -> None:
    assert one.detections == other.detections, what
    assert one.places == other.places, what
    assert np.array_equal(np.concatenate(one.scores), np.concatenate(other.scores)), what
    for part, expected in zip(one.ears.listeners[0].state, other.ears.listeners[0].state, strict=True):
        assert np.array_equal(part, expected), what


@needs_kernel
def test_all_at_once_equal_each_stage_by_stage(
    tiny_model: Model, rng: np.random.Generator, processors: int
) -> None:
    """In pieces of any size, with gaps and ends, blocks of two lengths, another rate: bit for bit."""
    count = 2 * WAVE + 9
    hops = [int(hop) for hop in rng.choice([80, 80, 80, 30], count)]
    rates = [int(rate) for rate in rng.choice([16_000, 16_000, 16_000, 48_000], count)]
    sounds = {rate: [random_tones(rng, 2 * rate, rate) for _ in range(4)] for rate in set(rates)}
    many, each = ([Stream(tiny_model, *both) for both in zip(hops, rates, strict=True)] for _ in range(2))
    plans = [random_chunks(rng, 2 * rate, rate // 5) for rate in rates]
    pieces = [
        list(cut(sounds[rate][number % 4], plan))
        for number, (rate, plan) in enumerate(zip(rates, plans, strict=True))
    ]
    gaps = rng.integers(0, 40, count)
    turns = max(map(len, pieces))
    for turn in range(turns):
        for number, own in enumerate(pieces):
            for stream in (many[number], each[number]):
                if turn < len(own):
                    stream.at += 777 * (turn == gaps[number])
                    stream.feed(own[turn])
                elif turn == len(own):
                    stream.intake.end()
            each[number].stage_by_stage()
        hear_all(many)
    for stream in (*many, *each):
        stream.intake.end()
    hear_all(many)
    for number, stream in enumerate(each):
        stream.stage_by_stage()
        assert_same(many[number], stream, f"stream {number}, hop {hops[number]}, {told(plans[number])}")
    assert sum(len(stream.detections) for stream in many) > count


@needs_kernel
def test_most_of_it_goes_the_compiled_way(
    tiny_model: Model, rng: np.random.Generator, processors: int
) -> None:
    """And a turn gives away what it can."""
    streams = [Stream(tiny_model) for _ in range(WAVE + WORTH_SHARING)]
    turn = Turn()
    for wave in in_waves(streams):
        for stream in wave:
            stream.feed(random_tones(rng, 4_000))
        assert turn.add([stream.intake for stream in wave]) == []
    assert len(turn._given) == processors - 1
    turn.end()
    for stream in streams:
        stream.take()
        assert len(stream.scores) == 2  # two blocks of 80 ms in a quarter of a second


def test_streams_that_share_no_call(
    tiny_model: Model, tiny_bundle: str, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Another way to run the model, or a block that is not whole: stage by stage."""
    stream = Stream(open_model(tiny_bundle, "onnx"))
    stream.feed(random_tones(rng, 4_000))
    assert hear([stream.intake]) == [0]
    stream.stage_by_stage()
    assert stream.scores


@needs_kernel
def test_a_failure_is_told_when_nobody_works_any_more(
    tiny_model: Model, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes the streams next must not do so under somebody's hands."""
    monkeypatch.setattr(together, "_processors", lambda: 2)
    streams = [Stream(tiny_model) for _ in range(2 * WAVE)]
    working: list[int] = []

    def fail(kind: compiled.Kind, blocks: compiled.Blocks) -> None:
        working.append(1)
        working.pop()
        raise MemoryError

    monkeypatch.setattr(compiled.Kind, "hear", fail)
    turn = Turn()
    for wave in in_waves(streams):
        for stream in wave:
            stream.feed(random_tones(rng, 4_000))
        turn.add([stream.intake for stream in wave])
    with pytest.raises(MemoryError):
        turn.end()
    assert working == []

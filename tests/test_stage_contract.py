"""The contract of every stage, in one suite: sound (or rows) in, and the same out however it was cut.

Each stage is wrapped to one shape. `process` and `flush` give a list of channels, each a list of the arrays
that the stage handed out: most stages have one channel; the decoder's is a table of detections; the
pipeline has scores, the place of each score row, and detections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import pytest

from streamer.audio import F32, Chunk
from streamer.capture.resample import Resampler
from streamer.decoding.decoder import Decoder, Detection
from streamer.decoding.rules import LabelRule
from streamer.features.deltas import Delta
from streamer.features.extractor import Extractor
from streamer.features.framing import Framer
from streamer.features.settings import FeatureSettings
from streamer.inference.model import Model
from streamer.pipeline import StreamPipeline, advance
from tests.support.chunks import assert_equal, cut, equal_chunks, random_chunks, told
from tests.support.tiny_bundle import FEATURES, RULES
from tests.support.tones import random_tones

Array = np.ndarray[Any, Any]
Channels = list[list[Array]]


class Stage(Protocol):
    """One stage, wrapped."""

    def process(self, data: Array) -> Channels: ...
    def flush(self) -> Channels: ...
    def reset(self) -> None: ...
    @property
    def latency(self) -> float:
        """In items of input."""
        ...


class Plain:
    """A stage that takes an array and gives an array."""

    def __init__(self, stage: Any, latency: str) -> None:
        self._stage, self._latency = stage, latency

    def process(self, data: Array) -> Channels:
        return [[self._stage.process(data)]]

    def flush(self) -> Channels:
        return [[self._stage.flush()]]

    def reset(self) -> None:
        self._stage.reset()

    @property
    def latency(self) -> float:
        return float(getattr(self._stage, self._latency))


def table(detections: Sequence[Detection]) -> Array:
    """(n, 8): every field of every detection as a number."""
    phases, reasons = ("hit", "start", "end"), ("", "gap", "max-duration", "stop")
    rows = [
        (
            [rule.name for rule in DECODER_RULES].index(d.label),
            d.kind == "keyword",
            phases.index(d.phase),
            d.onset_sample,
            -1 if d.offset_sample is None else d.offset_sample,
            d.detected_sample,
            d.score,
            reasons.index(d.reason),
        )
        for d in detections
    ]
    return np.array(rows, np.float64).reshape(-1, 8)


DECODER_RULES = (
    *RULES,
    LabelRule(name="bare", kind="sound", smoothing_ms=0, release_ms=0, refractory_ms=0, max_ms=200),
)


class DecoderStage:
    """(T, L) scores in, a table of detections out; keeps the count of samples that the pipeline keeps."""

    row_samples = 320
    latency = 0.0

    def __init__(self) -> None:
        self._decoder = Decoder(DECODER_RULES, self.row_samples)
        self._rows = 0

    def process(self, data: Array) -> Channels:
        detections = self._decoder.process(data, self._rows * self.row_samples)
        self._rows += len(data)
        return [[table(detections)]]

    def flush(self) -> Channels:
        return [[table(self._decoder.flush(self._rows * self.row_samples))]]

    def reset(self) -> None:
        self._decoder.reset()
        self._rows = 0


class PipelineStage:
    """Samples in; scores, where each row begins, and detections out."""

    def __init__(self, model: Model, rate_hz: int, hop_ms: int) -> None:
        self._model, self._rate_hz = model, rate_hz
        self._pipeline = StreamPipeline(model.classifier, FEATURES, RULES, rate_hz, hop_ms)
        self._fed_samples = 0

    def process(self, data: Array) -> Channels:
        self._pipeline.feed(Chunk(data, self._fed_samples, 0.0))
        self._fed_samples += len(data)
        return self._taken()

    def flush(self) -> Channels:
        self._pipeline.end()
        return self._taken()

    def _taken(self) -> Channels:
        advance(self._model.classifier, [self._pipeline])
        output = self._pipeline.take_output()
        places = [
            block.first_sample + self._pipeline.row_samples * np.arange(len(block.scores))
            for block in output.scores
        ]
        nothing = np.empty((0, len(RULES)), np.float32), np.empty(0, np.int64)
        return [
            [*(block.scores for block in output.scores), nothing[0]],
            [*places, nothing[1]],
            [table(output.detections)],
        ]

    def reset(self) -> None:
        self._pipeline.reset()
        self._fed_samples = 0

    @property
    def latency(self) -> float:
        return self._pipeline.latency_samples * self._rate_hz / 16_000


def feature_rows(rng: np.random.Generator, count: int, width: int = 5) -> F32:
    """(count, width) of anything."""
    return rng.standard_normal((count, width)).astype(np.float32)


def score_rows(rng: np.random.Generator, count: int) -> F32:
    """(count, L) of scores that swing slowly between 0 and 1, each label on its own."""
    steps = rng.standard_normal((count, len(DECODER_RULES))).cumsum(axis=0)
    return (0.5 - 0.5 * np.cos(steps * 0.7)).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """A stage under test and what to feed it."""

    name: str
    make: Callable[[Model], Stage]
    data: Callable[[np.random.Generator, int], F32]
    length: int
    """Items of input (samples or rows) in an ordinary test."""
    short: int
    """Items that may be fed one by one."""
    minutes: int
    """Items of a long recording."""
    typical: int
    """An ordinary chunk."""
    items_a_row: float
    """Items of input for one row of the first channel's output; 0 where it has no rows."""
    latency: Literal["exact", "bound"] = "exact"
    """Whether the latency says just when a row is due, or by when at the latest."""
    after_flush: Literal["new", "refused", "goes on"] = "new"


def sound_case(name: str, make: Callable[[Model], Stage], rate_hz: int = 16_000, **more: Any) -> Case:
    return Case(
        name,
        make,
        partial(random_tones, rate_hz=rate_hz),
        length=int(2.2 * rate_hz) + 77,
        short=int(0.12 * rate_hz) + 11,
        minutes=int(70.1 * rate_hz),
        typical=rate_hz // 50,
        **more,
    )


def row_case(name: str, make: Callable[[Model], Stage], data: Any, **more: Any) -> Case:
    return Case(name, make, data, length=613, short=613, minutes=8_000, typical=5, **more)


def extractor(settings: FeatureSettings, _: Model) -> Stage:
    return Plain(Extractor(settings), "latency_samples")


FEATURE_SETTINGS = {
    "mfcc-13-of-23": FeatureSettings(mel_bins=23, coefficients=13),
    "mfcc-40-of-40": FeatureSettings(mel_bins=40, coefficients=40),
    "mfcc-13-of-23-2-deltas": FeatureSettings(mel_bins=23, coefficients=13, delta_order=2),
    "log-mel-40": FeatureSettings(kind="log-mel", mel_bins=40, coefficients=None),
    "log-mel-40-1-delta": FeatureSettings(kind="log-mel", mel_bins=40, coefficients=None, delta_order=1),
}

CASES = [
    sound_case("framer", lambda _: Plain(Framer(), "latency_samples"), items_a_row=160),
    *(
        sound_case(f"extractor-{name}", partial(extractor, settings), items_a_row=160)
        for name, settings in FEATURE_SETTINGS.items()
    ),
    row_case("delta", lambda _: Plain(Delta(5, 3), "latency_frames"), feature_rows, items_a_row=1),
    *(
        sound_case(
            f"resampler-{rate_hz}",
            lambda _, rate_hz=rate_hz: Plain(Resampler(rate_hz), "latency_samples"),
            rate_hz,
            items_a_row=rate_hz / 16_000,
            latency="bound",
            after_flush="refused",
        )
        for rate_hz in (8_000, 16_000, 44_100, 48_000)
    ),
    row_case("decoder", lambda _: DecoderStage(), score_rows, items_a_row=0, after_flush="goes on"),
    *(
        sound_case(
            f"pipeline-{rate_hz}-hop-{hop_ms}",
            lambda model, rate_hz=rate_hz, hop_ms=hop_ms: PipelineStage(model, rate_hz, hop_ms),
            rate_hz,
            items_a_row=320 * rate_hz / 16_000,
            latency="bound",
            after_flush="goes on",
        )
        for rate_hz, hop_ms in ((16_000, 80), (44_100, 20))
    ),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


def read_only(data: F32) -> F32:
    data = data.copy()
    data.flags.writeable = False
    return data


def joined(calls: Sequence[Channels]) -> list[Array]:
    """Each channel in one array."""
    return [np.concatenate([array for part in parts for array in part]) for parts in zip(*calls, strict=True)]


def fed(stage: Stage, data: Array, lengths: Sequence[int] | None = None) -> list[Array]:
    """What comes out without the flush, read-only pieces being fed."""
    pieces = [data] if lengths is None else list(cut(data, lengths))
    return joined([stage.process(read_only(piece)) for piece in pieces])


def run(stage: Stage, data: Array, lengths: Sequence[int] | None = None) -> list[Array]:
    """All that comes out."""
    return [
        np.concatenate(parts)
        for parts in zip(fed(stage, data, lengths), joined([stage.flush()]), strict=True)
    ]


def assert_same(got: list[Array], expected: list[Array], what: str) -> None:
    for channel, (one, other) in enumerate(zip(got, expected, strict=True)):
        assert_equal(one, other, f"{what}, channel {channel}")


def assert_begins(whole: list[Array], begin: list[Array], what: str) -> None:
    assert_same([channel[: len(part)] for channel, part in zip(whole, begin, strict=True)], begin, what)


@pytest.fixture
def stage(case: Case, tiny_model: Model) -> Stage:
    return case.make(tiny_model)


def test_the_signal_makes_something_come_out(case: Case, stage: Stage, rng: np.random.Generator) -> None:
    """Or the other tests would compare nothing with nothing."""
    for channel, out in enumerate(run(stage, case.data(rng, 2 * case.length))):
        assert len(out) >= 5, f"channel {channel} has only {len(out)} rows"


@pytest.mark.parametrize("size", [2, 3, 7, 97, 160, 161, 997, 16_001])
def test_equal_chunks_give_what_one_shot_gives(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator, size: int
) -> None:
    data = case.data(rng, case.length if size > 50 else case.short)
    lengths = equal_chunks(len(data), size)
    assert_same(run(stage, data, lengths), run(case.make(tiny_model), data), told(lengths))


def test_single_items_give_what_one_shot_gives(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator
) -> None:
    data = case.data(rng, case.short)
    assert_same(run(stage, data, [1] * len(data)), run(case.make(tiny_model), data), "chunks of 1")


@pytest.mark.parametrize("attempt", range(6))
def test_random_chunks_give_what_one_shot_gives(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator, attempt: int
) -> None:
    data = case.data(rng, int(rng.integers(0, case.length)))
    lengths = random_chunks(rng, len(data), case.typical)
    assert_same(run(stage, data, lengths), run(case.make(tiny_model), data), told(lengths))


def test_minutes_at_once_give_what_ordinary_chunks_give(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator
) -> None:
    data = case.data(rng, case.minutes)
    expected = run(case.make(tiny_model), data)
    lengths = equal_chunks(len(data), 4 * case.typical)
    assert_same(run(stage, data, lengths), expected, told(lengths))
    lengths = [case.minutes - 1001, 0, 1001]
    stage.reset()
    assert_same(run(stage, data, lengths), expected, told(lengths))


def test_empty_chunks_change_nothing(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator
) -> None:
    data = case.data(rng, case.length)
    lengths = [0, 0]
    for length in equal_chunks(len(data), 7 * case.typical + 1):
        lengths += [length, 0, 0]
    assert_same(run(stage, data, lengths), run(case.make(tiny_model), data), told(lengths))


def test_an_empty_chunk_gives_nothing(case: Case, stage: Stage, rng: np.random.Generator) -> None:
    stage.process(case.data(rng, case.length))
    assert all(len(channel) == 0 for channel in fed(stage, case.data(rng, 0)))


def test_no_input_gives_empty_output_of_the_right_shape(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator
) -> None:
    something = run(case.make(tiny_model), case.data(rng, case.length))
    for out in (joined([stage.flush()]), fed(case.make(tiny_model), case.data(rng, 0))):
        assert_same(out, [channel[:0] for channel in something], "no input")


def test_second_flush_is_empty(case: Case, stage: Stage, rng: np.random.Generator) -> None:
    run(stage, case.data(rng, case.length))
    for _ in range(2):
        assert [len(channel) for channel in joined([stage.flush()])] == [0] * len(joined([stage.flush()]))


@pytest.mark.parametrize("flushed", [False, True])
def test_reset_then_replay_is_identical(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator, flushed: bool
) -> None:
    data, other = case.data(rng, case.length), case.data(rng, case.length // 2 + 13)
    lengths = random_chunks(rng, len(data), 4 * case.typical)
    expected = run(case.make(tiny_model), data, lengths)
    for _ in range(2):
        (run if flushed else fed)(stage, other)
        stage.reset()
        assert_same(run(stage, data, lengths), expected, f"after reset, {told(lengths)}")
        stage.reset()
        assert [len(channel) for channel in joined([stage.flush()])] == [0] * len(expected), (
            "flush after reset"
        )
        stage.reset()


def test_after_flush(case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator) -> None:
    """A stage is as new, or refuses to go on; those that know the stream's clock go on."""
    data = case.data(rng, case.length)
    run(stage, data)
    if case.after_flush == "refused":
        with pytest.raises(ValueError, match="reset"):
            stage.process(data)
    else:
        again = run(stage, data)
        if case.after_flush == "new":
            assert_same(again, run(case.make(tiny_model), data), "second stream without reset")


def test_later_input_never_alters_earlier_output(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator
) -> None:
    data = case.data(rng, case.length)
    for _ in range(4):
        heard = int(rng.integers(1, len(data)))
        stage.reset()
        before = fed(stage, data[:heard])
        for after in (data[heard:], case.data(rng, len(data) - heard), 0 * data[heard:]):
            whole = run(case.make(tiny_model), np.concatenate((data[:heard], after)))
            assert_begins(whole, before, f"{heard} of {len(data)} items heard before")


# The decoder gives no rows; test_the_decoder_tells_at_once says it for it.
@pytest.mark.parametrize("case", [c for c in CASES if c.items_a_row], ids=lambda case: case.name)
def test_latency_is_honest(case: Case, stage: Stage, rng: np.random.Generator) -> None:
    """What `latency` items lie behind has come out; where latency is a constant, nothing came out sooner."""
    data = case.data(rng, case.length)
    heard = rows = 0
    for piece in cut(data, random_chunks(rng, len(data), case.typical)):
        heard += len(piece)
        rows += len(fed(stage, piece)[0])
        due = max(0, int((heard - stage.latency) // case.items_a_row))
        assert rows >= due, f"{rows} rows after {heard} items, {due} are due at a latency of {stage.latency}"
        if case.latency == "exact":
            assert rows == due, f"{rows} rows after {heard} items: a latency of {stage.latency} is too much"


def test_the_decoder_tells_at_once(rng: np.random.Generator) -> None:
    scores = score_rows(rng, 500)
    everything = fed(DecoderStage(), scores)[0]
    for rows in rng.integers(0, 500, 20):
        detected = everything[:, 5]
        expected = everything[detected <= rows * DecoderStage.row_samples]
        assert_equal(fed(DecoderStage(), scores[:rows])[0], expected, f"{rows} rows of 500")


def test_input_is_left_alone_and_may_be_reused(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator
) -> None:
    """A capture thread writes its next block over the last one: nothing may be kept by reference."""
    data = case.data(rng, case.length)
    lengths = random_chunks(rng, len(data), case.typical)
    buffer, calls = np.empty_like(data), []
    for piece in cut(data, lengths):
        block = buffer[: len(piece)]
        block[:] = piece
        calls.append([[array.copy() for array in channel] for channel in stage.process(block)])
        np.testing.assert_array_equal(block, piece, "the stage wrote into its input")
        block[:] = 1e3
    calls.append(stage.flush())
    assert_same(joined(calls), run(case.make(tiny_model), data), told(lengths))


def test_output_belongs_to_the_caller(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator
) -> None:
    """Scribbling over what came out changes nothing that is to come, nor what came out before."""
    data = case.data(rng, case.length)
    lengths = random_chunks(rng, len(data), case.typical)
    calls: list[Channels] = []
    given: list[Array] = []
    for piece in map(read_only, cut(data, lengths)):
        out = stage.process(piece)
        calls.append([[array.copy() for array in channel] for channel in out])
        for array in [array for channel in out for array in channel]:
            given.append(array)
            assert not np.shares_memory(array, piece), "the output is the input's memory"
            array[...] = 77
    calls.append([[array.copy() for array in channel] for channel in stage.flush()])
    assert_same(joined(calls), run(case.make(tiny_model), data), told(lengths))
    assert all((array == 77).all() for array in given), "an array changed after it had been handed out"


def test_a_view_is_read_as_it_stands(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator
) -> None:
    data = case.data(rng, case.length)
    for view in (data[::2], data[::-1], np.asfortranarray(np.stack((data, data), axis=1))[:, 0]):
        stage.reset()
        pieces = [view[: len(view) // 2], view[len(view) // 2 :]]
        out = joined([*(stage.process(piece) for piece in pieces), stage.flush()])
        assert_same(out, run(case.make(tiny_model), view.copy()), f"strides {view.strides}")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.astype(np.float64),
        lambda data: data.astype(np.float16),
        lambda data: (data * 1000).astype(np.int16),
        lambda data: data.astype(np.complex64),
        lambda data: data.astype(">f4"),
        lambda data: data.tolist(),
        lambda data: data[..., None],
        lambda data: data.reshape(-1)[:1].reshape(()),
        lambda data: data[:0].astype(np.float64),
        lambda data: None,
    ],
    ids=[
        "float64",
        "float16",
        "int16",
        "complex",
        "big-endian",
        "list",
        "axis-too-many",
        "no-axis",
        "empty-float64",
        "none",
    ],
)
def test_wrong_input_is_refused_and_forgotten(
    case: Case, stage: Stage, tiny_model: Model, rng: np.random.Generator, spoil: Callable[[F32], Any]
) -> None:
    """Never converted in silence; and the stage goes on as if the call had not been made."""
    data = case.data(rng, case.length)
    half = len(data) // 2
    begin = fed(stage, data[:half])
    with pytest.raises((TypeError, ValueError)):
        stage.process(spoil(data[:160]))
    rest = run(stage, data[half:])
    got = [np.concatenate(parts) for parts in zip(begin, rest, strict=True)]
    assert_same(got, run(case.make(tiny_model), data), f"after a refusal at {half}")


@pytest.mark.parametrize("width", [1, 2, 7])
@pytest.mark.parametrize("name", ["delta", "decoder"])
def test_rows_of_the_wrong_width_are_refused(name: str, width: int, tiny_model: Model) -> None:
    stage = next(case for case in CASES if case.name == name).make(tiny_model)
    with pytest.raises(ValueError, match="shape"):
        stage.process(np.zeros((3, width), np.float32))

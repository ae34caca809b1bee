"""Dozing: nothing that it passes may differ from what the stages do by themselves, and it ends in time."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import numpy as np
import pytest

from streamer.audio import F32
from streamer.config import load_config
from streamer.decoding.decoder import Detection
from streamer.doze import AT_ONCE_S, PATIENCE_S, Doze, Passed
from streamer.inference.model import Model
from streamer.kernel import library
from streamer.live_stream import LiveStream
from streamer.pipeline import ScoreBlock
from streamer.streams import Streams
from streamer.tuned import TunedModel
from tests.support.hand_recorder import HandRecorder
from tests.support.tones import random_tones

pytestmark = pytest.mark.skipif(library() is None, reason="the kernel was not built")

Step = Callable[[HandRecorder], None]


class Ear:
    """Where a daemon's teller would be."""

    def __init__(self) -> None:
        self.detections: list[Detection] = []
        self.blocks: list[ScoreBlock] = []
        self.wants = False

    def wants_scores(self, _stream: LiveStream) -> bool:
        return self.wants

    def heard(self, _stream: LiveStream, _chunk: object) -> None:
        pass

    def publish(self, stream: LiveStream) -> None:
        for _, output in stream.take_outputs():
            self.detections += output.detections
            self.blocks += output.scores


class NotingDoze(Doze):
    """Says what became of it."""

    def __init__(self, selector: int) -> None:
        super().__init__(selector)
        self.passed: list[Passed | None] = []

    def sleep(self, *given: Any) -> Passed | None:
        self.passed.append(super().sleep(*given))
        return self.passed[-1]

    @property
    def samples(self) -> int:
        return sum(passed.samples for passed in self.passed if passed is not None)


class Bench:
    """A daemon's streams on a microphone of the test's own, without the daemon."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        model: Model,
        rate_hz: int = 16_000,
        channels: int = 1,
        ring_s: float = 10.0,
    ) -> None:
        self.recorder = HandRecorder(monkeypatch, rate_hz, channels, ring_s)
        self.ear = Ear()
        self.selector = selectors.EpollSelector()
        self.call = os.eventfd(0, os.EFD_NONBLOCK)
        self.selector.register(self.call, selectors.EVENT_READ)
        tuned = TunedModel(model, list(model.bundle.manifest.labels))
        config = load_config(environment={})
        self.streams = Streams(config, [tuned], self.ear, self.selector)  # type: ignore[arg-type]
        self.streams.open()
        self.doze = NotingDoze(self.selector.fileno())
        self.streams._doze = self.doze
        self.wants_reading = False
        self.wanted = 0
        """Of the recorder, when it last woke from dozing."""

    @property
    def stream(self) -> LiveStream:
        return self.streams.all[0]

    def awake(self, steps: Sequence[Step]) -> None:
        """The usual way."""
        for step in steps:
            step(self.recorder)
            self.look()

    def look(self) -> None:
        for _ in range(3):  # sound before a loss and sound after it are two pieces
            self.streams.listen()
        self.stream.check_state()  # as the heartbeat does
        self.stream.take_loss()

    def dozing(self, steps: Sequence[Step]) -> None:
        """All this while it dozes, as long as it does."""
        woken = threading.Event()

        def feed() -> None:
            for step in steps:
                step(self.recorder)
                while not (self.recorder.is_heard or woken.is_set()):
                    time.sleep(0.0002)
            os.eventfd_write(self.call, 1)

        feeder = threading.Thread(target=feed)
        feeder.start()
        self.wants_reading = self.streams.doze(time.monotonic() + 20.0)
        self.wanted = self.recorder.ring.wanted
        woken.set()
        feeder.join()
        os.eventfd_read(self.call)
        self.look()

    def close(self) -> None:
        self.streams.close()
        self.recorder.close()
        self.selector.close()
        os.close(self.call)

    def knows(self) -> dict[str, Any]:
        """All that the stages remember of the stream, in numbers."""
        intake = self.stream.pipeline
        listener, meter = self.stream.listeners[0], intake.meter
        history = intake._history
        assert history is not None
        counts = [
            meter.heard_samples,
            meter.lost_samples,
            meter.gaps,
            meter.bad_samples,
            meter.clipped_samples,
        ]
        counts += [intake.next_sample, listener._rows, listener.row_sample, history._end_sample]
        counts += [self.stream._anchor[0], self.stream.source.lost_samples, self.stream.source.overruns]
        last_s = min(history._end_sample - history.first_sample, 5 * 16_000)
        known = {
            "counts": np.array(counts),
            "peak": np.array(meter.peak),
            "held": intake.shared[0].extractor.framer.held,
            "history": history.since(history.first_sample)[-last_s:],
            "scores": listener.decoder._former_rows(),
            "detections": np.array(
                [[found.label, found.phase, found.detected_sample] for found in self.ear.detections]
            ),
        }
        known |= {f"state {place}": part for place, part in enumerate(listener.state)}
        if hasattr(intake.resampler, "place"):
            known |= {name: np.array(part) for name, part in intake.resampler.place._asdict().items()}
        return known


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tiny_model: Model) -> Iterator[Callable[..., Bench]]:
    """Makes one after another."""
    with contextlib.ExitStack() as stack:

        def make(*arguments: Any, **options: Any) -> Bench:
            made = Bench(monkeypatch, tiny_model, *arguments, **options)
            stack.callback(made.close)
            return made

        yield make


def hear(frames: F32) -> Step:
    return lambda recorder: recorder.hear(frames)


def overflow(recorder: HandRecorder) -> None:
    """Some sound was lost before what is told next."""
    recorder.overflows += 1


def move(recorder: HandRecorder) -> None:
    recorder.move()


def noise(rng: np.random.Generator, frames: int, channels: int) -> F32:
    shape = (frames, channels) if channels > 1 else (frames,)
    return (0.003 * rng.standard_normal(shape)).astype(np.float32)


def a_course(rng: np.random.Generator, rate_hz: int, channels: int) -> list[Step]:
    """Mostly little, in pieces as they come; tones, and whatever else may be the matter."""
    steps: list[Step] = []
    for _ in range(120):
        frames = noise(rng, int(rng.integers(1, rate_hz // 5)), channels)
        match int(rng.integers(30)):
            case 0 | 1:
                frames = noise(rng, rate_hz // 2, channels)
                frames = (frames.T + random_tones(rng, len(frames), rate_hz)).T.astype(np.float32)
                steps += [hear(piece) for piece in np.array_split(frames, 6)]
                continue
            case 2:
                frames[rng.integers(len(frames))] = rng.choice([np.nan, np.inf, 50.0, -40.0])
            case 3:
                frames *= np.float32(400.0)  # clipped, and beyond
            case 4:
                steps.append(overflow)
            case 5:
                steps.append(move)
            case 6:
                frames = noise(rng, round(1.2 * AT_ONCE_S * rate_hz), channels)
        steps.append(hear(frames))
    return steps


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (16_000, 3), (44_100, 1), (48_000, 2)])
def test_what_it_passes_is_as_if_the_stages_had_done_it(
    bench: Callable[..., Bench], rng: np.random.Generator, rate_hz: int, channels: int
) -> None:
    first = hear(noise(rng, rate_hz // 10, channels))
    steps = a_course(rng, rate_hz, channels)
    awake = bench(rate_hz, channels)
    awake.awake([first, *steps])
    dozing = bench(rate_hz, channels)
    dozing.awake([first])
    at = 0
    while at < len(steps):
        count = int(rng.integers(1, 9))
        dozing.dozing(steps[at : at + count])
        at += count
    expected, known = awake.knows(), dozing.knows()
    assert len(expected["detections"]) > 0
    for name, value in expected.items():
        assert np.array_equal(value, known[name]), name
    own = {block.first_row: block for block in awake.ear.blocks}
    for block in dozing.ear.blocks:
        assert np.array_equal(block.scores, own[block.first_row].scores)
    share = dozing.doze.samples / dozing.stream.pipeline.meter.heard_samples
    assert 0.1 < share < 0.95, share
    levels = [one.stream.pipeline.meter.take_levels()[0] for one in (awake, dozing)]
    assert levels[0] == pytest.approx(levels[1], abs=0.11)


def quiet(
    rng: np.random.Generator, seconds: float, rate_hz: int = 16_000, piece_s: float = 0.09
) -> list[Step]:
    return [hear(noise(rng, round(piece_s * rate_hz), 1)) for _ in range(round(seconds / piece_s))]


def test_all_of_a_quiet_time_is_passed(bench: Callable[..., Bench], rng: np.random.Generator) -> None:
    one = bench()
    one.awake(quiet(rng, 0.2))
    before = one.stream.pipeline.meter.heard_samples
    one.dozing(quiet(rng, 1.5))
    assert one.doze.samples == one.stream.pipeline.meter.heard_samples - before > 20_000
    assert not one.wants_reading
    (passed,) = one.doze.passed
    assert passed is not None
    assert passed.lag_s is not None
    assert 0 <= passed.lag_s < 1
    assert abs(time.time() - passed.captured_utc_s) < 5


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_it_wants_what_completes_the_next_block(
    bench: Callable[..., Bench], rng: np.random.Generator, rate_hz: int
) -> None:
    """The recorder wakes nobody before."""
    steps = quiet(rng, 0.6, rate_hz, 0.034)
    awake = bench(rate_hz)
    expected = []
    for step in steps:
        awake.awake([step])
        expected.append(awake.recorder.ring.wanted)

    dozing = bench(rate_hz)
    dozing.awake(steps[:2])
    for step, wanted in zip(steps[2:], expected[2:], strict=True):
        dozing.dozing([step])
        assert dozing.wanted == wanted
    assert dozing.doze.samples > 0.4 * rate_hz


def test_a_tone_ends_it_at_once(bench: Callable[..., Bench], rng: np.random.Generator) -> None:
    """And is told of as early as ever."""
    one = bench()
    one.awake(quiet(rng, 0.2))
    tone = 0.3 * np.sin(2 * np.pi * 1_000 * np.arange(4_800) / 16_000)
    steps = [*quiet(rng, 0.5), *(hear(piece.astype(np.float32)) for piece in np.split(tone, 3))]
    one.dozing(steps)
    assert one.wants_reading  # the recorder has been heard out: it wakes nobody
    assert [found.label for found in one.ear.detections] == ["mid"]
    assert one.doze.samples < one.stream.pipeline.meter.heard_samples


def test_long_times_end_where_there_is_no_more_room(
    bench: Callable[..., Bench], rng: np.random.Generator
) -> None:
    one = bench(rate_hz=48_000)
    one.awake(quiet(rng, 0.2, 48_000))
    one.dozing(quiet(rng, 8.0, 48_000))
    assert 1.5 < one.doze.samples / 48_000 < 7.0
    for _ in range(4):
        one.dozing([])
    assert one.stream.pipeline.meter.lost_samples == 0


def test_silence_ends_it(bench: Callable[..., Bench], rng: np.random.Generator) -> None:
    """Somebody has to see what is the matter with the microphone."""
    one = bench()
    one.awake(quiet(rng, 0.2))
    began_s = time.monotonic()
    one.streams.doze(began_s + 20.0)
    assert PATIENCE_S - 0.01 <= time.monotonic() - began_s < PATIENCE_S + 5.0


def test_it_ends_in_time(bench: Callable[..., Bench], rng: np.random.Generator) -> None:
    one = bench()
    one.awake(quiet(rng, 0.2))
    began_s = time.monotonic()
    one.streams.doze(began_s + 0.1)
    assert 0.09 <= time.monotonic() - began_s < PATIENCE_S


def test_a_recorder_that_ends_is_left_to_others(
    bench: Callable[..., Bench], rng: np.random.Generator
) -> None:
    one = bench()
    one.awake(quiet(rng, 0.2))
    one.dozing([*quiet(rng, 0.3), HandRecorder.close])
    assert one.stream.source.trouble is not None  # type: ignore[attr-defined]
    assert one.doze.samples > 4_000
    one.streams.doze(time.monotonic() + 20.0)
    assert len(one.doze.passed) == 1


def test_a_signal_ends_it(bench: Callable[..., Bench], rng: np.random.Generator) -> None:
    one = bench()
    one.awake(quiet(rng, 0.2))
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    former = signal.signal(signal.SIGUSR2, note)
    try:
        timer = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR2))
        timer.start()
        began_s = time.monotonic()
        one.streams.doze(began_s + 20.0)
        assert time.monotonic() - began_s < PATIENCE_S
    finally:
        signal.signal(signal.SIGUSR2, former)
    assert came == [signal.SIGUSR2]


def test_sound_that_is_overwritten_is_not_passed(
    bench: Callable[..., Bench], rng: np.random.Generator
) -> None:
    """It is lost, and counted."""
    one = bench(ring_s=0.4)
    one.awake(quiet(rng, 0.2))

    def lap(recorder: HandRecorder) -> None:
        for _ in range(6):
            recorder.write(noise(rng, 1_440, 1))
        recorder.tell()

    one.dozing([lap])
    assert one.stream.source.lost_samples == one.stream.pipeline.meter.lost_samples == 6 * 1_440 - 6_400
    assert one.stream.pipeline.meter.gaps == 1


@pytest.mark.parametrize(
    "why", ["its state is news", "scores are wanted", "muted", "a sound is on", "another stream"]
)
def test_when_it_does_not(bench: Callable[..., Bench], rng: np.random.Generator, why: str) -> None:
    one = bench()
    one.awake(quiet(rng, 0.3))
    match why:
        case "its state is news":
            one.stream.state = "starting"
        case "scores are wanted":
            one.ear.wants = True
        case "muted":
            one.stream.mute()
        case "a sound is on":
            tone = 0.3 * np.sin(2 * np.pi * 3_000 * np.arange(8_000) / 16_000)
            one.awake([hear(tone.astype(np.float32))])
            assert [found.phase for found in one.ear.detections] == ["start"]
        case "another stream":
            one.streams.all.append(one.stream)
    began_s = time.monotonic()
    one.streams.doze(began_s + 20.0)
    assert time.monotonic() - began_s < PATIENCE_S / 2
    assert not any(one.doze.passed)
    if why == "another stream":
        one.streams.all.pop()

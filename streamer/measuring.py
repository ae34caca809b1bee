"""What listening costs on this machine: the daemon's own pipeline on the demo scene, without ends.

Three measurements: one stream as fast as it goes, one in real time (where cold caches and waking up cost more
than arithmetic), and more and more streams at once, all of them in each call of the model.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ, Chunk
from streamer.capture.files import SoundFileSource
from streamer.ears import Ears
from streamer.pipeline import advance, block_frames, listen
from streamer.together import Turn, in_waves
from streamer.tuned import TunedModel

FULL_PERCENT = 80.0
"""A machine that is busier than this with listening alone has no room for the rest of a daemon."""
TURNS = 5
"""Measured, at least, with each number of streams."""
MOST_STREAMS = 20_000

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Calls:
    """One stream: what it takes to deal with a block of sound."""

    cpu_ms: float
    """Processor time, mean."""
    features_ms: float
    """Of it: cleaning, resampling, features; the rest is model, decoding and what joins them."""
    p50_ms: float
    """By the clock, as the others do their work on the machine."""
    p99_ms: float
    times_real_time: float
    """On a core of its own."""
    cpu_percent: float
    """Of a core, of the time that passed: 100 where nobody waits for sound."""


@dataclass(frozen=True, slots=True)
class Batch:
    """So many streams at once, each with a block of sound at the same time."""

    streams: int
    busy_percent: float
    """Of the time that the sound lasts, until all of it has been listened to; on all processors."""
    core_percent: float
    """Processor time, of that time: more than 100 where more than one core is at work."""

    @property
    def fits(self) -> bool:
        """With room for the rest of a daemon."""
        return self.busy_percent <= FULL_PERCENT


@dataclass(slots=True)
class Report:
    """What is known so far."""

    block_ms: int
    """Sound for one call of the model."""
    unpaced: Calls | None = None
    paced: Calls | None = None
    batches: list[Batch] = field(default_factory=list)
    memory_mb: float | None = None
    """Of this process, with one stream."""
    stream_kb: float | None = None
    """For each further stream."""

    @property
    def most(self) -> Batch | None:
        """The largest batch that fits."""
        return max((one for one in self.batches if one.fits), key=lambda one: one.streams, default=None)

    @property
    def too_many(self) -> Batch | None:
        """The smallest one that does not."""
        return min((one for one in self.batches if not one.fits), key=lambda one: one.streams, default=None)


class _Stream:
    """One stream's ears and the way to them."""

    def __init__(self, models: Sequence[TunedModel], hop_ms: int) -> None:
        self.ears = Ears(models, hop_ms)
        self.intake = self.ears.open(SAMPLE_RATE_HZ)
        self._sample = 0

    def feed(self, samples: F32) -> None:
        """Sound that goes on."""
        self.intake.feed(Chunk(samples, self._sample, 0.0))
        self._sample += len(samples)


class _Turn(NamedTuple):
    """A block for each of some streams."""

    wall_s: float
    cpu_s: float
    features_s: float
    """Nought for many, which do all of it in one call."""


class Measuring:
    """Fills a report, as long as it is let: what has been measured stays when it is interrupted."""

    def __init__(self, models: Sequence[TunedModel], hop_ms: int, sound: Path, progress: Progress) -> None:
        stride = models[0].model.classifier.stride
        self.report = Report(block_ms=10 * block_frames(hop_ms, stride))
        self._models = models
        self._hop_ms = hop_ms
        self._progress = progress
        self._block_s = self.report.block_ms / 1000
        self._blocks = _blocks_of(sound, round(self._block_s * SAMPLE_RATE_HZ))

    def run(self, seconds: float) -> None:
        """All three, in so much time together."""
        self._progress("one stream, as fast as it goes")
        self.report.unpaced = self._one_stream(0.2 * seconds, paced=False)
        self.report.memory_mb = _resident_kb() / 1024
        self._progress("one stream, in real time")
        self.report.paced = self._one_stream(0.4 * seconds, paced=True)
        self._many(0.4 * seconds)

    def _one_stream(self, seconds: float, *, paced: bool) -> Calls:
        stream = _Stream(self._models, self._hop_ms)
        self._turn(stream, next(self._rounds()))  # the first one sets things up
        turns = []
        begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
        for number, block in enumerate(self._rounds(), start=1):
            if paced:
                time.sleep(max(0.0, begun_s + number * self._block_s - time.perf_counter()))
            turns.append(self._turn(stream, block))
            if time.perf_counter() - begun_s >= seconds:
                break
        passed_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - begun_cpu_s
        walls_s = sorted(turn.wall_s for turn in turns)
        mean_s = statistics.fmean(turn.cpu_s for turn in turns)
        return Calls(
            cpu_ms=1000 * mean_s,
            features_ms=1000 * statistics.fmean(turn.features_s for turn in turns),
            p50_ms=1000 * statistics.median(walls_s),
            p99_ms=1000 * walls_s[int(0.99 * (len(walls_s) - 1))],
            times_real_time=self._block_s / mean_s,
            cpu_percent=100 * cpu_s / passed_s,
        )

    def _turn(self, stream: _Stream, block: F32) -> _Turn:
        """A block of sound, stage by stage."""
        begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
        stream.feed(block)
        listen([stream.intake])
        fed_cpu_s = time.process_time()
        self._advance([stream])
        stream.ears.take_outputs()
        cpu_s = time.process_time() - begun_cpu_s
        return _Turn(time.perf_counter() - begun_s, cpu_s, fed_cpu_s - begun_cpu_s)

    def _turn_of_many(self, streams: Sequence[_Stream], block: F32) -> _Turn:
        """A block for each of them, as a daemon deals with many."""
        begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
        turn, left = Turn(), []
        for wave in in_waves(streams):
            for stream in wave:
                stream.feed(block)
            left += [wave[place] for place in turn.add([stream.intake for stream in wave])]
        turn.end()
        listen([stream.intake for stream in left])
        self._advance(left)
        for stream in streams:
            stream.ears.take_outputs()
        return _Turn(time.perf_counter() - begun_s, time.process_time() - begun_cpu_s, 0.0)

    def _advance(self, streams: Sequence[_Stream]) -> None:
        for place, tuned in enumerate(self._models):
            advance(tuned.model.classifier, [stream.ears.listeners[place] for stream in streams])

    def _rounds(self) -> Iterator[F32]:
        while True:
            yield from self._blocks

    # -- many at once ------------------------------------------------------------------------------------

    def _many(self, seconds: float) -> None:
        """Twice as many each time until a core is full, then between what fits and what does not."""
        end_s = time.monotonic() + seconds
        streams: list[_Stream] = []
        before_kb = _resident_kb()
        while (count := self._next_count()) and time.monotonic() < end_s:
            self._progress(f"{count} streams at once")
            streams += [_Stream(self._models, self._hop_ms) for _ in range(count - len(streams))]
            self.report.batches.append(self._batch(streams[:count], end_s))
            self.report.stream_kb = max(0.0, (_resident_kb() - before_kb) / len(streams))

    def _next_count(self) -> int:
        """0: known well enough."""
        most, too_many = self.report.most, self.report.too_many
        if not too_many:
            return 1 if not most else 2 * most.streams if most.streams < MOST_STREAMS else 0
        least = most.streams if most else 0
        return (least + too_many.streams) // 2 if too_many.streams - least > max(1, least // 16) else 0

    def _batch(self, streams: Sequence[_Stream], end_s: float) -> Batch:
        turns: list[_Turn] = []
        for block in self._rounds():
            turns.append(self._turn_of_many(streams, block))
            if len(turns) > TURNS and (sum(turn.wall_s for turn in turns) > 0.25 or time.monotonic() > end_s):
                break
        wall_s = statistics.median(turn.wall_s for turn in turns[1:])
        cpu_s = statistics.median(turn.cpu_s for turn in turns[1:])
        return Batch(len(streams), *(round(100 * taken_s / self._block_s, 1) for taken_s in (wall_s, cpu_s)))


def _blocks_of(path: Path, samples: int) -> list[F32]:
    """A sound file at 16 kHz in pieces of so many samples; the rest is left out."""
    source = SoundFileSource(path, realtime=False, block_s=600.0)
    source.open()
    try:
        chunk = source.read()
    finally:
        source.close()
    assert chunk is not None
    assert source.rate_hz == SAMPLE_RATE_HZ
    whole = len(chunk.samples) // samples * samples
    return list(np.ascontiguousarray(chunk.samples[:whole]).reshape(-1, samples))


def _resident_kb() -> int:
    """Memory of this process at the moment; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024

"""Listening while nothing is going on: one call into the kernel (doze.c), which sleeps, wakes with each block
of a microphone's sound and takes it to its scores, until one is worth a look or somebody wants something.

What it did is put into the books of every stage afterwards, as if they had done it, and to the bit what they
would have. Where anything is out of the ordinary nothing is done here, and the sound goes its usual way.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any, NamedTuple

import numpy as np

from streamer.audio import SAMPLE_RATE_HZ
from streamer.capture.device_clock import HOLE_S
from streamer.capture.microphone import Microphone
from streamer.capture.prompt_resample import FilterPlace, PromptResampler
from streamer.capture.recorder_wire import CLOCK
from streamer.capture.recording import Lent
from streamer.compiled import CompiledWay
from streamer.features.settings import HOP_SAMPLES
from streamer.intake import Intake, Levels
from streamer.kernel import address, library

LONGEST_S = 2.0
"""Then there is something for the books."""
PATIENCE_S = 0.35
"""A recorder that has said nothing for so long is looked at."""
AT_ONCE_S = 0.5
"""More sound than that at a time is no ordinary thing."""
RECORDS_BYTES = 16_384

_POINTER = ctypes.c_void_p


class _Task(ctypes.Structure):
    """As `doze` in doze.c."""

    _fields_ = (
        *[
            (name, _POINTER)
            for name in (
                "claimed", "wanted", "storage", "records", "weights", "starts", "heard", "sound", "features",
                "rows", "network", "h", "c", "next_h", "next_c", "scores", "near",
            )
        ],
        *[
            (name, ctypes.c_double)
            for name in (
                "until_s", "patience_s", "hole_s", "heard_s", "captured_s", "captured_utc_s", "lag_s",
                "square_sum", "peak",
            )
        ],
        *[
            (name, ctypes.c_int64)
            for name in (
                "capacity_frames", "channels", "most_frames", "records_size", "records_used", "overflows",
                "frames", "rounds", "period", "width", "reach", "heard_used", "taken", "groups",
                "group_begin", "sound_size", "sound_used", "window_begin", "block_frames", "block_rows",
                "labels", "state_size", "scores_size", "scores_used", "clipped",
            )
        ],
        *[(name, ctypes.c_int32) for name in ("selector", "bell", "pipe", "clock")],
    )  # fmt: skip


class Passed(NamedTuple):
    """What became of the sound meanwhile."""

    samples: int
    """At the source's rate."""
    heard_s: float
    """When the last of it came, on the monotonic clock."""
    captured_utc_s: float
    lag_s: float | None
    """Of the newest scores, if there are any."""


class Doze:
    """For a daemon that has one stream, and sleeps on an epoll."""

    def __init__(self, selector: int) -> None:
        kernel = library()
        self._call: Any = kernel.streamer_doze if kernel is not None else None
        if self._call is not None:
            self._call.argtypes = [ctypes.POINTER(_Task)]
            self._call.restype = None
        self._selector = selector
        self._room: _Room | None = None

    def sleep(self, source: Microphone, intake: Intake, until_s: float) -> Passed | None:
        """Until then at the longest; None where no sound was dealt with."""
        way = intake.way
        if self._call is None or way is None or way.is_ready or not way.listener.is_calm:
            return None
        resampler = intake.resampler if intake.rate_hz != SAMPLE_RATE_HZ else None
        if resampler is not None and not (isinstance(resampler, PromptResampler) and resampler.is_compiled):
            return None
        lent = source.lend()
        if lent is None:
            return None
        if self._room is None or not self._room.fits(intake.rate_hz, way, resampler):
            self._room = _Room(intake.rate_hz, way, resampler)
        room = self._room
        room.fill(way, resampler, lent, self._selector, until_s)
        self._call(room.task)
        return room.empty(way, resampler, source, intake)


class _Room:
    """The memory that the kernel works in."""

    def __init__(self, rate_hz: int, way: CompiledWay, resampler: PromptResampler | None) -> None:
        classifier = way.classifier
        self._rate_hz, self._kind = rate_hz, way.kind
        self._classifier = classifier  # kept as long as its place is used
        block_frames, stride = way.listener.block_frames, classifier.stride
        most_frames = round(AT_ONCE_S * rate_hz)
        rows = round((LONGEST_S + 2 * AT_ONCE_S) * SAMPLE_RATE_HZ) // HOP_SAMPLES + 2 * block_frames
        tables = self._tables = resampler.tables if resampler else None
        held = tables.reach + tables.width + tables.period if tables else 0
        self._records = ctypes.create_string_buffer(RECORDS_BYTES)
        self._heard = np.empty(held + most_frames, np.float32)
        self._sound = np.empty(rows * HOP_SAMPLES + most_frames, np.float32)
        self._rows = np.empty((block_frames, classifier.n_features), np.float32)
        self._states = [np.empty(shape, np.float32) for shape in 2 * classifier.state_shapes]
        self._scores = np.empty((rows // stride, classifier.n_labels), np.float32)
        self._near = np.empty(classifier.n_labels, np.float32)
        self._held_samples = 0
        h, c, next_h, next_c = map(address, self._states)
        self.task = _Task(
            records=ctypes.addressof(self._records),
            weights=tables.places[0] if tables else None,
            starts=tables.places[1] if tables else None,
            heard=address(self._heard),
            sound=address(self._sound),
            features=way.rows.place,
            rows=address(self._rows),
            network=classifier.place,
            h=h,
            c=c,
            next_h=next_h,
            next_c=next_c,
            scores=address(self._scores),
            near=address(self._near),
            patience_s=PATIENCE_S,
            hole_s=HOLE_S,
            most_frames=most_frames,
            records_size=RECORDS_BYTES,
            rounds=len(tables.starts) if tables else 0,
            period=tables.period if tables else 0,
            width=tables.width if tables else 0,
            reach=tables.reach if tables else 0,
            sound_size=len(self._sound),
            block_frames=block_frames,
            block_rows=block_frames // stride,
            labels=classifier.n_labels,
            state_size=self._states[0].size,
            scores_size=len(self._scores),
            clock=CLOCK,
        )

    def fits(self, rate_hz: int, way: CompiledWay, resampler: PromptResampler | None) -> bool:
        """It was made for such a way."""
        tables = resampler.tables if resampler else None
        return self._rate_hz == rate_hz and self._kind is way.kind and self._tables is tables

    def fill(
        self,
        way: CompiledWay,
        resampler: PromptResampler | None,
        lent: Lent,
        selector: int,
        until_s: float,
    ) -> None:
        """How everything is before."""
        task, held = self.task, way.framer.held
        for name, value in lent._asdict().items():
            setattr(task, name, value)
        task.selector, task.until_s, task.heard_s = selector, until_s, time.monotonic()
        task.square_sum = task.peak = 0.0
        task.records_used = task.clipped = task.scores_used = task.window_begin = 0
        if resampler:
            place = resampler.place
            task.taken, task.groups, task.group_begin = place.taken, place.groups, place.begin
            task.heard_used = len(place.heard)
            self._heard[: len(place.heard)] = place.heard
        self._sound[: len(held)] = held
        self._held_samples = task.sound_used = len(held)
        for room, state in zip(self._states, way.listener.state, strict=False):
            room[...] = state[0]
        self._near[:] = way.listener.decoder.near_thresholds
        self._frames = task.frames

    def empty(
        self, way: CompiledWay, resampler: PromptResampler | None, source: Microphone, intake: Intake
    ) -> Passed | None:
        """How everything is after it, told to those whose work it was."""
        task = self.task
        samples = task.frames - self._frames
        records = ctypes.string_at(self._records, task.records_used)
        source.passed(records, samples, task.captured_utc_s)
        if samples == 0:
            return None
        if resampler:
            heard = self._heard[: task.heard_used].copy()
            resampler.passed(FilterPlace(heard, task.taken, task.groups, task.group_begin))
        sound = self._sound[: task.sound_used].copy()
        intake.passed(samples, sound[self._held_samples :], Levels(task.square_sum, task.peak, task.clipped))
        way.framer.keep(sound[task.window_begin :].copy())
        scores = self._scores[: task.scores_used].copy()
        way.listener.passed(scores, tuple(state[np.newaxis].copy() for state in self._states[:2]))
        return Passed(samples, task.heard_s, task.captured_utc_s, task.lag_s if task.scores_used else None)

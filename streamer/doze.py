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
from streamer.features.framing import Framer
from streamer.features.kernel import KernelRows
from streamer.features.settings import HOP_SAMPLES
from streamer.features.static import static_rows
from streamer.inference.kernel_backend import KernelClassifier
from streamer.intake import Intake, Levels
from streamer.kernel import address, library
from streamer.listener import Listener

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
        if self._call is None or (way := _find_way(intake)) is None or (lent := source.lend()) is None:
            return None
        if self._room is None or not self._room.fits(source.rate_hz, way):
            self._room = _Room(source.rate_hz, way)
        room = self._room
        room.fill(way, lent, self._selector, until_s)
        self._call(room.task)
        return room.empty(way, source, intake)


class _Way(NamedTuple):
    """The stages that the sound goes through, each with a form in C, and nothing waiting between them."""

    resampler: PromptResampler | None
    framer: Framer
    rows: KernelRows
    listener: Listener
    classifier: KernelClassifier


def _find_way(intake: Intake) -> _Way | None:
    """None where there is no such way, or something is going on."""
    if len(intake.shared) != 1 or len(intake.shared[0].listeners) != 1:
        return None
    (listener,), extractor, resampler = (
        intake.shared[0].listeners,
        intake.shared[0].extractor,
        intake.resampler,
    )
    rows = static_rows(extractor.settings)
    if isinstance(resampler, PromptResampler):
        direct = resampler.is_compiled
    else:
        direct = resampler.from_hz == resampler.to_hz
    if (
        not direct
        or extractor.settings.delta_order
        or not isinstance(rows, KernelRows)
        or not isinstance(listener.classifier, KernelClassifier)
        or not listener.is_calm
    ):
        return None
    own = resampler if isinstance(resampler, PromptResampler) else None
    return _Way(own, extractor.framer, rows, listener, listener.classifier)


class _Room:
    """The memory that the kernel works in."""

    def __init__(self, rate_hz: int, way: _Way) -> None:
        classifier = way.classifier
        self._rate_hz, self._way = rate_hz, way
        block_frames, stride = way.listener.block_frames, classifier.stride
        most_frames = round(AT_ONCE_S * rate_hz)
        rows = round((LONGEST_S + 2 * AT_ONCE_S) * SAMPLE_RATE_HZ) // HOP_SAMPLES + 2 * block_frames
        tables = way.resampler.tables if way.resampler else None
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

    def fits(self, rate_hz: int, way: _Way) -> bool:
        """It was made for such a way."""
        made_for = self._way
        return (
            self._rate_hz == rate_hz
            and made_for.rows is way.rows
            and made_for.classifier is way.classifier
            and made_for.listener.block_frames == way.listener.block_frames
        )

    def fill(self, way: _Way, lent: Lent, selector: int, until_s: float) -> None:
        """How everything is before."""
        task, held = self.task, way.framer.held
        for name, value in lent._asdict().items():
            setattr(task, name, value)
        task.selector, task.until_s, task.heard_s = selector, until_s, time.monotonic()
        task.square_sum = task.peak = 0.0
        task.records_used = task.clipped = task.scores_used = task.window_begin = 0
        if way.resampler:
            place = way.resampler.place
            task.taken, task.groups, task.group_begin = place.taken, place.groups, place.begin
            task.heard_used = len(place.heard)
            self._heard[: len(place.heard)] = place.heard
        self._sound[: len(held)] = held
        self._held_samples = task.sound_used = len(held)
        for room, state in zip(self._states, way.listener.state, strict=False):
            room[...] = state[0]
        self._near[:] = way.listener.decoder.near_thresholds
        self._frames = task.frames

    def empty(self, way: _Way, source: Microphone, intake: Intake) -> Passed | None:
        """How everything is after it, told to those whose work it was."""
        task = self.task
        samples = task.frames - self._frames
        source.passed(self._records.raw[: task.records_used], samples, task.captured_utc_s)
        if samples == 0:
            return None
        if way.resampler:
            heard = self._heard[: task.heard_used].copy()
            way.resampler.passed(FilterPlace(heard, task.taken, task.groups, task.group_begin))
        sound = self._sound[: task.sound_used].copy()
        intake.passed(samples, sound[self._held_samples :], Levels(task.square_sum, task.peak, task.clipped))
        way.framer.keep(sound[task.window_begin :].copy())
        scores = self._scores[: task.scores_used].copy()
        way.listener.passed(scores, tuple(state[np.newaxis].copy() for state in self._states[:2]))
        return Passed(samples, task.heard_s, task.captured_utc_s, task.lag_s if task.scores_used else None)

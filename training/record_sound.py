"""What a microphone or a file gives, as recordings are cut: 16 kHz, with losses told."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Iterator

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ, Chunk
from streamer.capture.resample import Resampler
from streamer.capture.source import EndOfSound, Source
from streamer.errors import DeviceError

SETTLE_S = 0.3
"""Of a microphone's first sound, in which many of them click."""
STALL_S = 5.0
WAIT_S = 0.2


def heard(
    source: Source, longest_s: float = math.inf, is_over: Callable[[], bool] = lambda: False
) -> Iterator[F32 | None]:
    """Sound of an open source, at most so long; None where some of it was lost."""
    resampler, next_sample, given = Resampler(source.rate_hz), 0, 0
    skipped = int(SETTLE_S * source.rate_hz) if source.live else 0
    for chunk in _chunks(source, is_over):
        if chunk.first_sample > next_sample:
            resampler.reset()
            yield None
        next_sample = chunk.end_sample
        fresh = chunk.samples[max(0, skipped - chunk.first_sample) :]
        samples = resampler.process(np.nan_to_num(fresh, posinf=1.0, neginf=-1.0))
        given += len(samples)
        yield samples
        if given >= longest_s * SAMPLE_RATE_HZ:
            return
    yield resampler.flush()


def _chunks(source: Source, is_over: Callable[[], bool]) -> Iterator[Chunk]:
    last_s = time.monotonic()
    while not is_over():
        try:
            chunk = source.read()
        except EndOfSound:
            return
        if chunk is not None:
            last_s = time.monotonic()
            yield chunk
        elif time.monotonic() - last_s > STALL_S:
            raise DeviceError(
                f"{source.description} has given no sound for {STALL_S:g} s",
                "is it still plugged in? `streamer devices` lists what there is",
            )
        else:
            _wait(source)


def _wait(source: Source) -> None:
    descriptor = source.fileno()
    if descriptor is None:
        time.sleep(min(WAIT_S, max(0.001, source.next_due_s())))
    else:
        select.select([descriptor], [], [], WAIT_S)

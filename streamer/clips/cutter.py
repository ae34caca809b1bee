"""Which sound belongs to which event: cut out of a stream's memory as soon as all of it has come."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from streamer.audio import F32

WAITING_MAX = 32
"""Clips of one stream that wait for their end."""


class Memory(Protocol):
    """The last seconds of a stream at 16 kHz."""

    @property
    def first_sample(self) -> int:
        """The oldest that is kept."""

    @property
    def end_sample(self) -> int:
        """One past the newest."""

    def since(self, first_sample: int) -> F32:
        """All from this sample on, a copy."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Sound to be kept under a name."""

    name: str
    samples: F32


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    first_sample: int
    end_sample: int


class Cutter:
    """The clips of one stream."""

    def __init__(self, before_samples: int, after_samples: int) -> None:
        self._before_samples, self._after_samples = before_samples, after_samples
        self._wanted: deque[_Wanted] = deque()

    def want(self, name: str, onset_sample: int, detected_sample: int) -> bool:
        """Keep what is around this event; False: too many wait already."""
        if len(self._wanted) >= WAITING_MAX:
            return False
        first, end = onset_sample - self._before_samples, detected_sample + self._after_samples
        self._wanted.append(_Wanted(name, max(0, first), end))
        return True

    def cut(self, memory: Memory, *, at_end: bool = False) -> list[Clip]:
        """What is complete; at the end of the sound, all that is there of the others as well."""
        clips = []
        while self._wanted and (at_end or self._wanted[0].end_sample <= memory.end_sample):
            wanted = self._wanted.popleft()
            first = max(wanted.first_sample, memory.first_sample)
            samples = memory.since(first)[: max(0, wanted.end_sample - first)]
            if len(samples):
                clips.append(Clip(wanted.name, samples))
        return clips

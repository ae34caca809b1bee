"""What a recorder process tells its daemon through a pipe: records of one size, some with JSON after them.

The order of the records is the kernel's, so they alone say what has been written into the shared memory. No
import here may cost anything: the recorder is started again and again while a microphone is away.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

_RECORD = struct.Struct("=cxxxIQddd")  # recorder.c writes those of sound, too
_SOUND, _OPENED, _MOVED, _REFUSED = b"S", b"O", b"M", b"R"

# A suspended machine's time counts as well, where the system can tell it.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Sound(NamedTuple):
    """So much sound has been written, from the beginning of the recording on."""

    frames: int
    overflows: int
    """Times that the device lost sound, somewhere before the newest block."""
    captured_s: float
    """When the newest frame came, on the clock of `now_s`."""
    captured_utc_s: float
    cpu_s: float
    """Processor time that the recorder has used."""


class Opened(NamedTuple):
    """The device captures."""

    facts: dict[str, Any]


class ServerSource(NamedTuple):
    """A source of the sound server."""

    name: str
    description: str
    """For people."""
    is_monitor: bool
    """It is what the server plays, and no microphone."""


class Moved(NamedTuple):
    """The sound server takes it from another source from now on."""

    facts: dict[str, Any]
    """Of a ServerSource."""


class Refused(NamedTuple):
    """It does not, or no longer: the recorder ends."""

    facts: dict[str, Any]


Message = Sound | Opened | Moved | Refused
_TOLD: dict[bytes, type[Opened | Moved | Refused]] = {_OPENED: Opened, _MOVED: Moved, _REFUSED: Refused}


def now_s() -> float:
    """Seconds on a clock that only goes forward, and goes on while the machine is suspended."""
    return time.clock_gettime(CLOCK)


def sound_record(frames: int, overflows: int) -> bytes:
    """Sound, written just now."""
    return _RECORD.pack(_SOUND, overflows, frames, now_s(), time.time(), time.process_time())


def opened_record(**facts: Any) -> bytes:
    """The device captures, as the facts say."""
    return _with_json(_OPENED, facts)


def moved_record(**facts: Any) -> bytes:
    """The sound server has moved the recording."""
    return _with_json(_MOVED, facts)


def refused_record(**facts: Any) -> bytes:
    """It does not."""
    return _with_json(_REFUSED, facts)


def _with_json(kind: bytes, facts: dict[str, Any]) -> bytes:
    text = json.dumps(facts).encode()
    return _RECORD.pack(kind, len(text), 0, 0.0, 0.0, 0.0) + text


class RecordReader:
    """Makes messages of what comes out of the pipe, in whatever pieces it comes."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def is_even(self) -> bool:
        """No message waits for its end."""
        return not self._rest

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete now."""
        self._rest += data
        at = 0
        while len(self._rest) - at >= _RECORD.size:
            kind, number, frames, captured_s, utc_s, cpu_s = _RECORD.unpack_from(self._rest, at)
            end = at + _RECORD.size
            if kind == _SOUND:
                yield Sound(frames, number, captured_s, utc_s, cpu_s)
            elif len(self._rest) - end < number:
                break
            else:
                facts = json.loads(self._rest[end : end + number])
                end += number
                yield _TOLD[kind](facts)
            at = end
        self._rest = self._rest[at:]

"""What recorder.c is told, and what it leaves behind."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from streamer.kernel import library

GONE = -1
"""What a call ends with where the daemon listens no more; else it is PortAudio's error."""
Call = Callable[["Task"], int]


class Task(ctypes.Structure):
    """As `recorder` in recorder.c."""

    _fields_ = (
        *[(name, ctypes.c_void_p) for name in ("available", "read", "stream", "header", "storage")],
        *[
            (name, ctypes.c_int64)
            for name in (
                "capacity_frames", "frame_bytes", "rate_hz", "block_frames", "longest_frames", "most_frames",
                "look_us", "looks_max", "hang_us", "frames", "told", "step", "overflows",
            )
        ],
        ("pipe", ctypes.c_int32),
        ("clock", ctypes.c_int32),
    )  # fmt: skip


def find_call() -> Call | None:
    """Records as a task says, until something is wrong; None where there is no kernel."""
    found = library()
    if found is None:
        return None
    call = found.streamer_record
    call.argtypes = [ctypes.POINTER(Task)]
    call.restype = ctypes.c_int
    return lambda task: int(call(ctypes.byref(task)))


def portaudio(sounddevice: Any, stream: Any) -> dict[str, int | None] | None:
    """The calls that a task needs, and the stream they are about; None where this sounddevice is another."""
    try:
        calls, _ = ctypes.CDLL(sounddevice._libname), sounddevice._check
        return {
            "available": ctypes.cast(calls.Pa_GetStreamReadAvailable, ctypes.c_void_p).value,
            "read": ctypes.cast(calls.Pa_ReadStream, ctypes.c_void_p).value,
            "stream": int(sounddevice._ffi.cast("intptr_t", stream._ptr)),
        }
    except (AttributeError, OSError):  # these names are its own affair
        return None


def place(memory: memoryview) -> int:
    """Where memory that can be written to lies."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))

"""The compiled parts, where they were built; without them Python, numpy and onnxruntime do the same."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

LIBRARY = os.path.join(os.path.dirname(__file__), "libkernel.so")
"""Made of each room's C by hatch_build.py."""
SWITCH = "STREAMER_KERNEL"
"""In the environment: with one of these values it is not used although it is there."""
SWITCHED_OFF = ("0", "no", "off", "false")


VERSION = 4
"""As in features/kernel.c: a library of another one is not called."""


@cache
def library() -> ctypes.CDLL | None:
    """The kernel; None where there is none, and `why_none` knows why."""
    return _look()[0]


def why_none() -> str:
    """What stands in the way of the kernel, and the remedy; "" where it is there."""
    return _look()[1]


@cache
def _look() -> tuple[ctypes.CDLL | None, str]:
    if os.environ.get(SWITCH, "").lower() in SWITCHED_OFF:
        return None, f"switched off by {SWITCH}={os.environ[SWITCH]}"
    again = "install streamer again where there is a C compiler (apt-get install gcc)"
    if not os.path.exists(LIBRARY):
        return None, f"not built: {again}"
    try:
        found = ctypes.CDLL(LIBRARY)
        version = ctypes.c_int32.in_dll(found, "streamer_kernel_version").value
    except (OSError, ValueError) as error:
        return None, f"{LIBRARY} does not load ({error}): {again}"
    if version != VERSION:
        return None, f"{LIBRARY} is of another version: {again}"
    return found, ""


def address(array: Any) -> int:
    """Where a numpy array's numbers lie. `array.ctypes` says so too, through a good deal of Python."""
    place: int = array.__array_interface__["data"][0]
    return place

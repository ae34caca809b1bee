"""The compiled parts, where they were built; without them numpy and onnxruntime do the same work."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).with_name("libkernel.so")
"""Made of each room's kernel.c by hatch_build.py."""
SWITCH = "STREAMER_KERNEL"
"""Set to 0 in the environment, it is not used although it is there."""


@cache
def library() -> ctypes.CDLL | None:
    """The kernel; None where it was not built, does not load, or is switched off."""
    if os.environ.get(SWITCH, "1") == "0":
        return None
    try:
        return ctypes.CDLL(str(LIBRARY))
    except OSError:
        return None


def address(array: Any) -> int:
    """Where a numpy array's numbers lie. `array.ctypes` says so too, through a good deal of Python."""
    place: int = array.__array_interface__["data"][0]
    return place

"""What a process held only while it started is given back: it is to run for months.

Of the daemon that is about 1.7 MB of heap, and 13 MB of pages of libraries, most of them code with which
onnxruntime tells itself of all that it could do. Such pages stay in the system's cache of files, and those
that are needed after all come back from there by themselves: some hundred, within a millisecond.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

DONTNEED = 4  # MADV_DONTNEED
UNCHANGEABLE = ("r-xp", "r--p")


def give_back() -> None:
    """To be called once, when everything is loaded; it takes some milliseconds."""
    with contextlib.suppress(OSError, AttributeError):  # another system, another C library: nothing is lost
        library = ctypes.CDLL(None)
        library.malloc_trim(0)
        for begin, end in list(_pages_as_on_disk()):
            library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), DONTNEED)


def _pages_as_on_disk() -> Iterator[tuple[int, int]]:
    """Where files are mapped and this process neither can change anything nor has, as in relocating it."""
    place: tuple[int, int] | None = None
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            if line.startswith("Anonymous:"):
                if place and line.split()[1] == "0":
                    yield place
            elif not line[0].isupper():  # the first of a mapping; the others are names and figures
                addresses, access, _, _, inode, *_ = line.split(maxsplit=5)
                begin, _, end = addresses.partition("-")
                place = (int(begin, 16), int(end, 16)) if inode != "0" and access in UNCHANGEABLE else None

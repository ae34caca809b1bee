"""The highest number given out, in a small file that can be written when the journal cannot.

It is overwritten in place: that needs no space, so it works on a full disk. After a start it tells what the
journal's own file may not know: that numbers were used and their events never arrived there, or were cut off.
"""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path

NOTE_BYTES = 64
"""Far less than a sector, so that no power cut leaves half of it."""

_NOTE = re.compile(rb"([0-9a-f]{16}) ([0-9]{20}) ([0-9a-f]{8})\n *")


class NumberNote:
    """The file and what it says; to be used by one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def read(self) -> tuple[str, int] | None:
        """The journal's name and the highest number; None where there is no legible note."""
        try:
            text = self.path.read_bytes()
        except OSError:
            return None
        match = _NOTE.fullmatch(text)
        if not match or int(match[3], 16) != zlib.crc32(b"%s %s" % match.group(1, 2)):
            return None
        return match[1].decode(), int(match[2])

    def write(self, journal: str, seq: int, *, durable: bool) -> None:
        """Overwrite it; with `durable` it is on the disk when this returns. Raises OSError."""
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o600)
        text = f"{journal} {seq:020d}".encode()
        os.pwrite(self._file, (b"%s %08x\n" % (text, zlib.crc32(text))).ljust(NOTE_BYTES), 0)
        if durable:
            os.fdatasync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

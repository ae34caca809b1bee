"""A subscriber's place on disk: where it goes on after it was stopped, whatever stopped it.

The file has two slots of a block each, written in turn, so that the place of before is still there while the
next one is being written. What is written survives a kill at once, and a power cut when SYNC_S have passed;
the records of that time come again then. The room is taken when the file is made: a full disk does no harm.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from streamer.client.records import Place
from streamer.delivery.messages import VERSION, Count
from streamer.errors import StreamerError

SLOT_BYTES = 4_096
SYNC_S = 0.2
CHOOSE = "choose another file"


class PlaceError(StreamerError):
    """The file of a place cannot be read or written."""


class _Kept(msgspec.Struct):
    v: int
    turn: Count
    journal: str
    seq: Count
    former: dict[str, Count] = {}


class PlaceFile:
    """The file and what it holds; nobody else can use it meanwhile."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.place: Place | None = None
        """What the file holds; None where it is new."""
        self.former: dict[str, int] = {}
        """Journals that were left, and the place in each."""
        self._turn = 0
        self._synced_s = time.monotonic()
        self._file = self._open()
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    def write(self, place: Place, former: Mapping[str, int], *, sync: bool = False) -> None:
        """Keep this place; with `sync` it also survives a power cut when this returns."""
        try:
            if place != self.place:
                self._turn += 1
                kept = _Kept(VERSION, self._turn, place.journal, place.seq, dict(former))
                os.pwrite(self._file, _slot(kept), self._turn % 2 * SLOT_BYTES)
                self.place = place
            now_s = time.monotonic()
            if sync or now_s >= self._synced_s + SYNC_S:
                os.fdatasync(self._file)
                self._synced_s = now_s
        except OSError as error:
            raise self._refusal(f"cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1

    def _refusal(self, why: str, remedy: str = CHOOSE) -> PlaceError:
        return PlaceError(f"the place in {self.path} {why}", remedy)

    def _open(self) -> int:
        try:
            # of a pipe that somebody has put there no end is waited for
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._refusal(f"cannot be kept: {error.strerror}") from None

    def _take(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = os.pread(self._file, 2 * SLOT_BYTES + 1, 0)
            if len(text) < 2 * SLOT_BYTES and not text.strip(b"\0"):
                os.posix_fallocate(self._file, 0, 2 * SLOT_BYTES)
                _sync_directory(self.path.parent)
                return
        except BlockingIOError:
            raise self._refusal("is in use by another subscriber") from None
        except OSError as error:
            raise self._refusal(f"cannot be kept: {error.strerror}") from None
        self._read(text)

    def _read(self, text: bytes) -> None:
        if not text.strip(b"\0"):
            return
        slots = [_kept(text[start : start + SLOT_BYTES]) for start in (0, SLOT_BYTES)]
        kept = max((slot for slot in slots if slot), key=lambda slot: slot.turn, default=None)
        if kept is None or len(text) != 2 * SLOT_BYTES:
            raise self._refusal("is none", f"remove the file to begin anew, or {CHOOSE}")
        if kept.v > VERSION:
            raise self._refusal("was written by a newer streamer", "install that one")
        self.place, self.former, self._turn = Place(kept.journal, kept.seq), kept.former, kept.turn


def _slot(kept: _Kept) -> bytes:
    text = msgspec.json.encode(kept)
    return (b"%08x %s" % (zlib.crc32(text), text)).ljust(SLOT_BYTES - 1) + b"\n"


def _kept(slot: bytes) -> _Kept | None:
    check, _, text = slot.rstrip().partition(b" ")
    try:
        if int(check, 16) != zlib.crc32(text):
            return None
        return msgspec.json.decode(text, type=_Kept)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

"""The journal's database: SQLite in WAL mode, one writer, all errors raised as they are."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streamer.delivery.salvage import PAGE_BYTES
from streamer.errors import JournalError

Sync = Literal["full", "normal"]
APPLICATION_ID = 0x73747265
"""In the file's header: "stre"."""
SCHEMA_VERSION = 1
CACHE_KB = 256
"""Of pages in memory: events are added at the end, and hardly ever read. SQLite's own 2 MB fill over days."""
BUSY_MS = 200
"""How long to wait for somebody who looks into the file with another program."""

_SCHEMA = """
CREATE TABLE meta(name TEXT NOT NULL UNIQUE, value);
CREATE TABLE events(
    seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, time_ms INTEGER NOT NULL, crc INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX events_by_time ON events(time_ms);
CREATE TABLE lost(
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, reason TEXT NOT NULL, time_ms INTEGER NOT NULL
);
"""
_MAGIC = b"SQLite format 3\0"
_OUT_OF_ORDER_MAX = 1_000
"""Events of several streams may be written a little out of the order of their times."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it is kept."""

    seq: int
    topic: str
    time_ms: int
    """When it was detected, milliseconds since 1970 (UTC)."""
    body: bytes
    """Its JSON, exactly as published."""

    @property
    def crc(self) -> int:
        """By which a broken one is recognised: SQLite looks after its pages, not after what is in them."""
        return zlib.crc32(f"{self.seq} {self.topic} {self.time_ms} ".encode() + self.body)


@dataclass(frozen=True, slots=True)
class Lost:
    """Numbers that were given out and whose events are not here."""

    first: int
    last: int
    reason: str


class Damaged(Exception):
    """The database cannot be trusted."""


Refusal = (sqlite3.Error, OSError, UnicodeDecodeError, Damaged)
"""What the disk, or what lies on it, can do to us: even the text of SQLite's own errors may be broken."""


def is_damage(error: Exception) -> bool:
    """Whether an error means that the file is broken, and not just that the disk refuses for now."""
    if isinstance(error, Damaged | UnicodeDecodeError):
        return True
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", 0)
    # SQLITE_ERROR: tables that should be there are not; TOOBIG: a length that cannot be (events are small);
    # SHORT_READ: the file ends before its end
    broken = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG)
    return code & 0xFF in broken or code == sqlite3.SQLITE_IOERR_SHORT_READ


def check_header(path: Path) -> bool:
    """Whether a file begins as a journal does; JournalError if a newer streamer made it."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_MAGIC):
        return False
    version, application = (int.from_bytes(header[place : place + 4]) for place in (60, 68))
    if application != APPLICATION_ID:
        return False
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"{path} was made by a newer streamer: version {version}, this one knows {SCHEMA_VERSION}",
            "install the newer streamer, or choose another file with `--journal PATH`",
        )
    return True


def build_store(path: Path, journal: str, entries: Iterable[Entry] = ()) -> None:
    """Make a database; it has a journal's header only when all of it is on the disk."""
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(
            f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL;PRAGMA journal_mode = MEMORY;"
        )
        database.executescript(f"BEGIN; {_SCHEMA}")
        database.executemany("INSERT INTO meta VALUES (?, ?)", [("journal", journal), ("pruned_through", 0)])
        _insert_events(database, entries)
        database.execute("COMMIT")
        database.executescript(
            f"PRAGMA user_version = {SCHEMA_VERSION}; PRAGMA application_id = {APPLICATION_ID};"
        )


class Store:
    """The open database; to be used by one thread at a time."""

    def __init__(self, path: Path, sync: Sync = "full", *, read_only: bool = False) -> None:
        self.path = path
        self._inode = path.stat().st_ino
        self._database = _connect(path, sync, "ro" if read_only else "rw")
        try:
            self._read_head()
        except BaseException:
            self.close()
            raise

    def _read_head(self) -> None:
        meta = dict(self._all("SELECT name, value FROM meta"))
        journal, pruned = meta.get("journal"), meta.get("pruned_through")
        if not isinstance(journal, str) or not isinstance(pruned, int):
            raise Damaged("its name is missing")
        self.journal = journal
        self.pruned_through = pruned
        """Numbers up to this one are no longer kept."""
        ((last,), (lost,)) = self._all("SELECT max(seq) FROM events UNION ALL SELECT max(last) FROM lost")
        self.head_seq = max(pruned, last or 0, lost or 0)
        """The highest number that was given out, as far as the database knows."""

    def check(self, *, every_event: bool = False) -> None:
        """Raise Damaged if the file's structure is broken; an event is otherwise checked when it is read."""
        found = self._all("PRAGMA quick_check(1)")
        if found != [("ok",)]:
            raise Damaged(" ".join(str(found[0][0]).split())[:120])
        if every_event:
            for *row, crc in self._database.execute("SELECT seq, topic, time_ms, body, crc FROM events"):
                _whole(Entry(*row), crc)

    def check_place(self) -> None:
        """Raise Damaged if somebody has taken the file away: what is written would vanish with it."""
        try:
            found = self.path.stat().st_ino
        except FileNotFoundError:
            found = 0
        if found != self._inode:
            raise Damaged("somebody has removed or replaced the file")

    def append(self, entries: Sequence[Entry], lost: Sequence[Lost] = ()) -> None:
        """Write all of it or nothing; what is there already stays as it is."""
        with self._transaction():
            _insert_events(self._database, entries)
            self._database.executemany(
                "INSERT OR REPLACE INTO lost VALUES (?, ?, ?, ?)",
                ((gap.first, gap.last, gap.reason, int(time.time() * 1_000)) for gap in lost),
            )
        lasts = [*(entry.seq for entry in entries), *(gap.last for gap in lost)]
        self.head_seq = max([self.head_seq, *lasts])

    def entries(self, first: int, size_max: int) -> list[Entry]:
        """The next events with numbers from `first` on."""
        rows = self._all(
            "SELECT seq, topic, time_ms, body, crc FROM events WHERE seq >= ? ORDER BY seq LIMIT ?",
            first,
            size_max,
        )
        return [_whole(Entry(*row), crc) for *row, crc in rows]

    def first_at(self, time_ms: int) -> int | None:
        """The lowest number of an event of that time or later."""
        ((seq,),) = self._all(
            "SELECT min(seq) FROM (SELECT seq FROM events WHERE time_ms >= ? ORDER BY time_ms LIMIT ?)",
            time_ms,
            _OUT_OF_ORDER_MAX,
        )
        return None if seq is None else int(seq)

    def lost(self, first: int, last: int, size_max: int) -> list[Lost]:
        """What is known to be lost between these numbers."""
        rows = self._all(
            "SELECT first, last, reason FROM lost WHERE last >= ? AND first <= ? ORDER BY first LIMIT ?",
            first,
            last,
            size_max,
        )
        return [Lost(*row) for row in rows]

    def holes(self, last: int) -> Iterator[tuple[int, int]]:
        """Ranges of numbers up to `last` with neither an event nor a note that it was lost."""
        known = self._database.execute(
            "SELECT seq, seq FROM events UNION ALL SELECT first, last FROM lost ORDER BY 1"
        )
        after = self.pruned_through
        for first, through in known:
            if first > after + 1:
                yield after + 1, first - 1
            after = max(after, through)
        if after < last:
            yield after + 1, last

    def used_bytes(self) -> int:
        """What the events take in the database."""
        ((pages,),), ((free,),) = self._all("PRAGMA page_count"), self._all("PRAGMA freelist_count")
        return int(pages - free) * PAGE_BYTES

    def prune(self, through: int) -> None:
        """Forget everything up to this number, and give space back to the disk."""
        with self._transaction():
            for statement in ("DELETE FROM events WHERE seq <= ?", "DELETE FROM lost WHERE last <= ?"):
                self._database.execute(statement, (through,))
            self._database.execute("UPDATE meta SET value = ? WHERE name = 'pruned_through'", (through,))
        self.pruned_through = through
        self._all("PRAGMA incremental_vacuum(100)")

    def close(self) -> None:
        """Close the file; errors have been told before."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def _all(self, statement: str, *values: int) -> list[Any]:
        return self._database.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                self._database.execute("ROLLBACK")
            raise


def _whole(entry: Entry, crc: int) -> Entry:
    if entry.crc != crc:
        raise Damaged(f"event {entry.seq} is broken")
    return entry


def _connect(path: Path, sync: Sync, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    try:
        return _open(f"{path.as_uri()}?mode={mode}", sync, mode)
    except sqlite3.OperationalError as error:
        # On a read-only disk SQLite cannot make its files beside a journal that was closed, and need not.
        wal = path.with_name(path.name + "-wal")
        if is_damage(error) or os.access(path.parent, os.W_OK) or (wal.exists() and wal.stat().st_size):
            raise
        return _open(f"{path.as_uri()}?immutable=1", sync, "ro")


def _open(uri: str, sync: Sync, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    database.text_factory = lambda data: str(
        data, errors="replace"
    )  # what is damaged is no reason to give up
    try:
        database.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        if mode == "rw":
            database.execute("PRAGMA journal_mode = WAL").fetchall()
        database.execute(f"PRAGMA synchronous = {sync.upper()}")
        database.execute(f"PRAGMA cache_size = {-CACHE_KB}")
        database.execute("SELECT count(*) FROM meta").fetchall()
    except BaseException:
        database.close()
        raise
    return database


def _insert_events(database: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    database.executemany(
        "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)",
        ((entry.seq, entry.topic, entry.time_ms, entry.crc, entry.body) for entry in entries),
    )

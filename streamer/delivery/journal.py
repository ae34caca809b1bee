"""The journal: every event is written here before it is published, and can be had again from here.

Nothing that a disk does ends the daemon. While the journal cannot be written, events wait in memory, their
highest number is noted beside the journal, and they are written as soon as possible. What no longer fits into
memory is recorded as lost. To be used by one thread at a time.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.delivery.journal_place import JournalPlace
from streamer.delivery.messages import JournalState
from streamer.delivery.numbering import NumberNote
from streamer.delivery.past import LOST_MAX, Past, Query, Unreadable, select, with_lost
from streamer.delivery.recovery import open_store
from streamer.delivery.retention import Retention
from streamer.delivery.store import Entry, Lost, Refusal, Store, Sync, is_damage
from streamer.errors import JournalError

log = logging.getLogger("streamer")

BACKLOG_MAX = 10_000
"""Events that wait in memory while the journal cannot be written."""
WRITE_AT_ONCE = 500
"""Events in one transaction."""
RETRY_MIN_S = 1.0
RETRY_MAX_S = 30.0
TEND_S = 60.0
"""How often to look for events that need not be kept any longer."""
PRUNE_PAUSE_S = 0.05
"""Between two steps of forgetting: events and requests come first."""
NO_ROOM = "the journal could not be written for too long"


@dataclass(frozen=True, slots=True)
class JournalHealth:
    """How the journal is, as health messages tell it."""

    journal: str
    seq: int
    oldest_seq: int
    state: JournalState
    detail: str
    pending: int


class Journal:
    """The events of one daemon, numbered without holes across its runs."""

    def __init__(
        self,
        path: Path,
        *,
        sync: Sync = "full",
        max_age_days: float = 30,
        max_mb: float = 100,
        backlog_max: int = BACKLOG_MAX,
    ) -> None:
        self.place = JournalPlace(path)
        self.name = ""
        """Random name of this journal, in every event."""
        self.head_seq = 0
        """The highest number given out."""
        self.oldest_seq = 1
        """Nothing before this number is kept."""
        self._sync = sync
        self._retention = Retention(max_age_days, max_mb)
        self._backlog_max = backlog_max
        self._backlog: deque[Entry] = deque()
        self._dropped: Lost | None = None  # what stood before the backlog and was not written either
        self._note = NumberNote(self.place.note)
        self._is_noted = True
        self._store: Store | None = None
        self._is_stale = False  # the store is good for reading only: another one is to be opened for writing
        self._is_damaged = False
        self._fault = ""
        self._remark = ""
        self._retry_s = RETRY_MIN_S
        self._due_s = 0.0

    # -- life ------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Find out name and number; raises JournalError where the file must not be touched."""
        noted = None
        try:
            self.place.take()
            noted = self._note.read()
            opening = open_store(self.place, noted, self._sync)
            self._store = opening.store
            self.name, self.head_seq = opening.store.journal, opening.store.head_seq
            self._remark_on(opening.told)
            self._note.write(self.name, self.head_seq, durable=True)
        except Refusal as error:
            if self._store is None:
                # numbers go on where the note says; without it they begin in a journal of another name
                self.name, self.head_seq = noted or (secrets.token_hex(8), 0)
            self._fail(error)
        except BaseException:
            self.close()
            raise
        self._see_oldest()

    def close(self) -> None:
        """Write what is still to be written, if the disk lets us, and let go of the files."""
        if self._backlog:
            self._catch_up()
        if self._backlog:
            log.error("the last %d events could not be written to the journal", len(self._backlog))
        self._close_store()
        self._note.close()
        self.place.release()

    def health(self) -> JournalHealth:
        """How it is."""
        state: JournalState = "failing" if self._fault else "ok"
        detail = self._fault or self._remark
        if self._fault and not self._is_noted:
            detail += "; numbers may be given out twice if the daemon is killed before that is mended"
        return JournalHealth(self.name, self.head_seq, self.oldest_seq, state, detail, len(self._backlog))

    # -- writing ---------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep events with the next numbers; never raises for what the disk does."""
        self.head_seq = entries[-1].seq
        if self._fault or self._store is None:
            self._keep(entries)
            return
        try:
            for start in range(0, len(entries), WRITE_AT_ONCE):
                self._store.append(entries[start : start + WRITE_AT_ONCE])
        except Refusal as error:
            self._fail(error)
            self._keep(entries)
        else:
            with contextlib.suppress(OSError):  # told when it matters: when the journal cannot be written
                self._note.write(self.name, self.head_seq, durable=False)

    def _keep(self, entries: Sequence[Entry]) -> None:
        self._backlog.extend(entries)
        while len(self._backlog) > self._backlog_max:
            gone = self._backlog.popleft().seq
            self._dropped = Lost(self._dropped.first if self._dropped else gone, gone, NO_ROOM)
        try:
            self._note.write(self.name, self.head_seq, durable=True)
            self._is_noted = True
        except OSError:
            self._is_noted = False

    @property
    def _written_seq(self) -> int:
        """The highest number that the database has, or should have."""
        if self._dropped:
            return self._dropped.first - 1
        return self._backlog[0].seq - 1 if self._backlog else self.head_seq

    def _fail(self, error: Exception) -> None:
        words = _words(error)
        if not self._fault:
            self._retry_s = RETRY_MIN_S
            log.error(
                "the journal %s cannot be written: %s; events are published all the same and kept in memory",
                self.place.database,
                words,
            )
        self._fault = f"cannot be written: {words}"
        self._due_s = time.monotonic() + self._retry_s
        if is_damage(error) and self._store:
            self._close_store()
            self._is_damaged = True
            self._due_s = 0.0  # it can be mended at once
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        self._is_stale = code not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)

    # -- now and then ----------------------------------------------------------------------------------

    @property
    def due_s(self) -> float:
        """When `tend` has something to do, on time.monotonic()'s clock."""
        return self._due_s

    def tend(self) -> None:
        """Write what could not be written before, or forget what need not be kept any longer."""
        if time.monotonic() < self._due_s:
            return
        if self._fault:
            self._catch_up()
        else:
            self._prune()

    def _prune(self) -> None:
        assert self._store is not None
        more = False
        try:
            self._store.check_place()
            more = self._retention.step(self._store)
        except Refusal as error:
            self._fail(error)
            return
        self._see_oldest()
        self._due_s = time.monotonic() + (PRUNE_PAUSE_S if more else TEND_S)

    def _catch_up(self) -> None:
        """Try to write again; on failure wait twice as long as before."""
        try:
            if self._store is None or self._is_stale:
                self._reopen()
            self._write_backlog()
        except (*Refusal, JournalError) as error:
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
            self._fail(error)
            return
        self._fault = ""
        self._due_s = 0.0
        self._see_oldest()
        log.info("the journal %s is written again, up to number %d", self.place.database, self.head_seq)

    def _reopen(self) -> None:
        # closed first: SQLite removes a WAL by its name, which may be another file's by then
        self._close_store()
        self.place.take()
        opening = open_store(
            self.place, (self.name, self._written_seq), self._sync, every_event=self._is_damaged
        )
        self._is_damaged = False
        if opening.store.journal != self.name:
            opening.store.close()
            raise JournalError("another journal is there now", "it is used after a restart")
        self._store = opening.store
        self._remark_on(opening.told)

    def _write_backlog(self) -> None:
        assert self._store is not None
        if self._dropped:
            self._store.append([], [self._dropped])
            count = self._dropped.last - self._dropped.first + 1
            self._remark_on(f"{count} events up to number {self._dropped.last} are lost: {NO_ROOM}")
            self._dropped = None
        while self._backlog:
            part = list(itertools.islice(self._backlog, WRITE_AT_ONCE))
            self._store.append(part)
            for _ in part:
                self._backlog.popleft()
        self._note.write(self.name, self.head_seq, durable=False)

    def _remark_on(self, told: str) -> None:
        if told:
            self._remark = told
            log.warning("%s", told)

    def _close_store(self) -> None:
        if self._store:
            self._store.close()
            self._store = None

    def _see_oldest(self) -> None:
        if self._store:
            self.oldest_seq = self._store.pruned_through + 1

    # -- reading ---------------------------------------------------------------------------------------

    def read(self, query: Query) -> Past:
        """A piece of the past; raises Unreadable where the disk refuses."""
        try:
            return self._read(query)
        except Refusal as error:
            if not is_damage(error):
                raise Unreadable(f"the journal cannot be read: {error}", "try again later") from None
            self._fail(error)
            self._catch_up()
        try:
            return self._read(query)
        except Refusal as error:
            raise Unreadable(f"the journal cannot be read: {error}", "try again later") from None

    def _read(self, query: Query) -> Past:
        first = max(query.since_seq + 1, self.oldest_seq)
        if self._store is None and first <= self._written_seq:
            raise Unreadable("the journal cannot be read at present", "try again later")
        if query.since_ms is not None:
            first = max(first, self._first_at(query.since_ms))
        past = select(query, first, self.head_seq, self._entries(first))
        lost = self._store.lost(first, past.through_seq, LOST_MAX + 1) if self._store else []
        return with_lost(past, [*lost, *([self._dropped] if self._dropped else [])])

    def _first_at(self, time_ms: int) -> int:
        seq = self._store.first_at(time_ms) if self._store else None
        if seq is None:
            late = (entry.seq for entry in self._backlog if entry.time_ms >= time_ms)
            seq = next(late, self.head_seq + 1)
        return seq

    def _entries(self, first: int) -> Iterator[Entry]:
        while self._store and (found := self._store.entries(first, WRITE_AT_ONCE)):
            yield from found
            first = found[-1].seq + 1
        yield from (entry for entry in self._backlog if entry.seq >= first)


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)

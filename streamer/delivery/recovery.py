"""Opening the journal's database, in whatever state it was left: whole, cut off, broken, gone, half made."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamer.delivery.journal_place import OTHERWISE, JournalPlace
from streamer.delivery.salvage import Row, salvage_rows
from streamer.delivery.store import (
    Damaged,
    Entry,
    Lost,
    Refusal,
    Store,
    Sync,
    build_store,
    check_header,
    is_damage,
)
from streamer.errors import JournalError

NOT_WRITTEN = "not in the journal's file"
DAMAGED = "the journal was damaged"

Noted = tuple[str, int]
"""A journal's name and the highest number that it gave out."""


class _Named(msgspec.Struct):
    journal: str


_NAMED = msgspec.json.Decoder(_Named)


@dataclass(frozen=True, slots=True)
class Opening:
    """An open store, and what had to be done to it, for people; "" if nothing."""

    store: Store
    told: str = ""


def open_store(place: JournalPlace, noted: Noted | None, sync: Sync, *, every_event: bool = False) -> Opening:
    """Open, repair or make the database; its numbers go on above those noted.

    Raises JournalError for a file that must not be touched, sqlite3.Error and OSError where the disk refuses.
    """
    told, why = _take_in(place, noted)
    if not why:
        try:
            store = _checked(place.database, sync, every_event)
        except Damaged as damage:
            why = str(damage)
    if why:
        told = _repair(place, noted, why)
        store = _checked(place.database, sync)
    try:
        return Opening(store, told or _fill(store, place, noted))
    except BaseException:
        store.close()
        raise


def _take_in(place: JournalPlace, noted: Noted | None) -> tuple[str, str]:
    """Look before SQLite does: what was done about what is there, and why it must be repaired; "" if not."""
    if place.database.exists():
        if place.fresh.exists():  # a repair did not come to its end
            place.fresh.unlink()
        if check_header(place.database):
            return "", ""
        if noted is None and place.database.stat().st_size and not any(_found(place)):
            raise JournalError(f"{place.database} is there and is no journal", OTHERWISE)
        return "", "its beginning is broken"
    if place.fresh.exists() and check_header(place.fresh):
        place.adopt_fresh()
        return "the repair of the damaged journal, which was interrupted, is completed" if noted else "", ""
    if (noted is None or not noted[1]) and not place.wal.exists():
        build_store(place.fresh, noted[0] if noted else secrets.token_hex(8))
        place.adopt_fresh()
        return "", ""
    return "", "the file is gone"


def _checked(path: Path, sync: Sync, every_event: bool = False) -> Store:
    try:
        # for reading first: SQLite would otherwise carry a broken WAL into the database when it closes them
        with contextlib.closing(Store(path, sync, read_only=True)) as store:
            store.check(every_event=every_event)
        return Store(path, sync)
    except Refusal as error:
        if is_damage(error):
            raise Damaged(str(error)) from None
        raise


def _repair(place: JournalPlace, noted: Noted | None, why: str) -> str:
    """Build a new database of all that can be read, and set the old one aside."""
    remains = _Remains(place, noted[0] if noted else next(_names(place), ""))
    build_store(place.fresh, remains.journal, remains.entries())
    if remains.another and not remains.count:  # the note is that of a journal which is not here
        remains = _Remains(place, remains.another)
        build_store(place.fresh, remains.journal, remains.entries())
    noted_seq = noted[1] if noted and noted[0] == remains.journal else 0
    fresh = Store(place.fresh)
    try:
        lost = _record_lost(fresh, remains.pruned_through, noted_seq)
    finally:
        fresh.close()  # which leaves no WAL behind
    was_there = place.database.exists() or place.wal.exists()
    aside = place.set_aside()
    place.adopt_fresh()
    moved = f", set aside as {aside}" if was_there else ""
    return (
        f"the journal {place.database} was damaged ({why}){moved}: {remains.count} events saved, {lost} lost"
    )


def _record_lost(fresh: Store, pruned_through: int, noted_seq: int) -> int:
    head = max(fresh.head_seq, noted_seq)
    if pruned_through <= head:  # else it is damaged itself
        fresh.prune(pruned_through)
    holes = [Lost(first, last, DAMAGED) for first, last in fresh.holes(head)]
    fresh.append([], holes)
    return sum(gap.last - gap.first + 1 for gap in holes)


def _fill(store: Store, place: JournalPlace, noted: Noted | None) -> str:
    """Numbers were given out that the database does not know: look for their events, or call them lost."""
    if noted is None or noted[0] != store.journal or noted[1] <= store.head_seq:
        return ""
    before = store.head_seq
    # Pages may be newer than the WAL that has been laid over them, where that one was cut off.
    found = {
        entry.seq: entry
        for entry, journal in _found(place)
        if journal == store.journal and before < entry.seq <= noted[1]
    }
    store.append(sorted(found.values(), key=lambda entry: entry.seq))
    holes = [Lost(first, last, NOT_WRITTEN) for first, last in store.holes(noted[1]) if last > before]
    store.append([], holes)
    missing = sum(gap.last - gap.first + 1 for gap in holes)
    return f"{missing} events up to number {noted[1]} are {NOT_WRITTEN}" if missing else ""


class _Remains:
    """What a damaged journal still says; read in one go, since that takes time."""

    def __init__(self, place: JournalPlace, journal: str) -> None:
        self.journal = journal or secrets.token_hex(8)
        self.another = ""
        """A name that other events there have."""
        self.pruned_through = 0
        self.count = 0
        self._place = place

    def entries(self) -> Iterator[Entry]:
        """Its events; some may come twice."""
        seen: set[int] = set()
        for row in salvage_rows(self._place.database, self._place.wal):
            found = _event(row)
            if found is None:
                self._note_meta(row)
            elif found[1] != self.journal:
                self.another = found[1]
            else:
                seen.add(found[0].seq)
                self.count = len(seen)
                yield found[0]

    def _note_meta(self, row: Row) -> None:
        match row[1]:
            case ("pruned_through", int(number)):
                self.pruned_through = max(number, self.pruned_through)


def _names(place: JournalPlace) -> Iterator[str]:
    """The journal's name, wherever it stands."""
    for row in salvage_rows(place.database, place.wal):
        match row[1]:
            case ("journal", str(name)):
                yield name
            case _:
                found = _event(row)
                if found:
                    yield found[1]


def _found(place: JournalPlace) -> Iterator[tuple[Entry, str]]:
    """Every legible event and the journal that it names."""
    rows = salvage_rows(place.database, place.wal)
    return (found for found in map(_event, rows) if found is not None)


def _event(row: Row) -> tuple[Entry, str] | None:
    """The event that a row holds, if it does, and the journal that it names."""
    match row:
        case (int(number), (None, str(topic), int(time_ms), int(crc), bytes(body))):
            entry = Entry(number, topic, time_ms, body)
            with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
                return (entry, _NAMED.decode(body).journal) if entry.crc == crc else None
    return None

"""Damaged journals for tests: a sample, the ways to spoil it, and what must hold whatever was spoilt."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.delivery.journal import Journal
from streamer.delivery.salvage import PAGE_BYTES
from streamer.delivery.store import Entry
from tests.delivery.journals import add, covered, everything


@dataclass(frozen=True)
class Sample:
    """The files of a journal, and what it holds."""

    files: dict[str, bytes]
    name: str
    entries: dict[int, Entry]
    in_wal: int
    """So many of them were never carried into the database."""


def make_sample(folder: Path, *, killed: bool, count: int = 90, in_wal: int = 30) -> Sample:
    """A journal that was stopped well, or killed with its last events in the WAL."""
    place = Path(tempfile.mkdtemp(dir=folder)) / "state"
    journal = Journal(place / "journal.db", sync="normal")
    journal.open()
    entries = add(journal, count - in_wal)
    assert journal._store
    journal._store._database.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    entries += add(journal, in_wal)
    if not killed:
        journal.close()
    files = {found.name: found.read_bytes() for found in place.iterdir() if not found.name.endswith("-shm")}
    journal.close()
    return Sample(files, journal.name, {found.seq: found for found in entries}, in_wal)


def survives(folder: Path, sample: Sample, damaged: Mapping[str, bytes | None]) -> int:
    """Open a damaged copy, check every promise; the number of events saved."""
    place = folder / "damaged"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    for name, data in {**sample.files, **damaged}.items():
        if data is not None:
            (place / name).write_bytes(data)
            (place / name).chmod(0o600)
    journal = Journal(place / "journal.db", sync="normal")
    journal.open()
    try:
        assert journal.name == sample.name
        count = len(sample.entries)
        assert journal.head_seq == count, "a number would be given out twice"
        entries, lost = everything(journal)
        for found in entries:
            assert found == sample.entries[found.seq]
        assert covered(entries, lost) == list(range(1, count + 1)), "a loss that nobody is told of"
        aside = list(place.glob("journal.db.corrupt-*"))
        if lost:
            assert re.search("lost|not in the journal's file|is completed", journal.health().detail)
        if aside:
            assert re.search("set aside as|is completed", journal.health().detail)
            if (
                "is broken" not in journal.health().detail
            ):  # which is found only when SQLite has worked with it
                kept = {found.read_bytes() for found in aside}
                assert kept <= {*damaged.values(), *sample.files.values()}, "what is set aside is as it was"
        assert journal.health().state == "ok"
        more = add(journal, 1)
        assert more[0].seq == count + 1
        assert everything(journal)[0][-1] == more[0]
        return len(entries)
    finally:
        journal.close()


def _places(data: bytes, step: int, *, ends: int) -> Sequence[int]:
    """Where to cut: `step` bytes apart, in the last page `ends` bytes apart."""
    last = len(data) - PAGE_BYTES
    return sorted({*range(0, last, step), *range(max(0, last), len(data), ends)})


def cut_everywhere(folder: Path, sample: Sample, step: int, ends: int) -> int:
    """Cut each of its files off at every so many bytes; how many cuts were survived."""
    cuts = 0
    for name in ("journal.db", "journal.db-wal"):
        data = sample.files.get(name, b"")
        for place in _places(data, step, ends=ends):
            saved = survives(folder, sample, {name: data[:place]})
            cuts += 1
            if name == "journal.db" and "journal.db-wal" in sample.files:
                assert saved >= sample.in_wal, "the WAL was whole"
            if name == "journal.db-wal":
                assert saved >= len(sample.entries) - sample.in_wal, "the database was whole"
    return cuts

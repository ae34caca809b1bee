"""A journal that was cut off, overwritten or torn: told, survived, and everything saved that is there."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.delivery.journal import Journal
from streamer.delivery.salvage import PAGE_BYTES, Value, salvage_rows
from tests.delivery.damage import Sample, cut_everywhere, make_sample, survives
from tests.delivery.journals import everything, quick_folder


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A place for many journals."""
    made = quick_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module", params=["stopped well", "killed"])
def sample(request: pytest.FixtureRequest, folder: Path) -> Sample:
    """A journal in one file, and one with its last events in the WAL."""
    return make_sample(folder, killed=request.param == "killed")


def test_cut_at_many_places(folder: Path, sample: Sample) -> None:
    cut_everywhere(folder, sample, step=3_001, ends=601)


def test_overwritten_anywhere(folder: Path, sample: Sample, rng: np.random.Generator) -> None:
    for _ in range(60):
        name = str(rng.choice([name for name in ("journal.db", "journal.db-wal") if name in sample.files]))
        data = bytearray(sample.files[name])
        start, size = int(rng.integers(0, len(data))), int(rng.integers(1, 6_000))
        data[start : start + size] = rng.bytes(len(data[start : start + size]))
        if name == "journal.db" and start < 100:
            data[:100] = sample.files[name][
                :100
            ]  # a header of another kind is somebody else's file: see below
        survives(folder, sample, {name: bytes(data)})


def test_pages_of_zeros(folder: Path, sample: Sample) -> None:
    """As after a power cut on a disk that promised too much."""
    data = sample.files["journal.db"]
    for page in range(len(data) // PAGE_BYTES):
        start = page * PAGE_BYTES
        torn = data[:start] + bytes(PAGE_BYTES) + data[start + PAGE_BYTES :]
        survives(folder, sample, {"journal.db": torn})


@pytest.mark.parametrize("gone", [("journal.db",), ("journal.db-wal",), ("journal.db", "journal.db-wal")])
def test_whole_files_missing(folder: Path, sample: Sample, gone: tuple[str, ...]) -> None:
    saved = survives(folder, sample, dict.fromkeys(gone))
    has_wal = "journal.db-wal" in sample.files
    if "journal.db" not in gone:
        assert saved == len(sample.entries) - (sample.in_wal if has_wal else 0)
    elif "journal.db-wal" not in gone and has_wal:
        assert saved >= sample.in_wal
    else:
        assert saved == 0


def test_without_the_note_nothing_whole_is_touched(folder: Path, sample: Sample) -> None:
    for note in (None, b"", b"nonsense", sample.files["journal.db-seq"][:-30]):
        assert survives(folder, sample, {"journal.db-seq": note}) == len(sample.entries)


def test_a_broken_name_is_found_in_the_events(folder: Path) -> None:
    """The note is gone as well: the events themselves say which journal they are of."""
    sample = make_sample(folder, killed=False)
    data = sample.files["journal.db"].replace(b"journal" + sample.name.encode(), b"jo\xff\xffnal" + bytes(16))
    assert data != sample.files["journal.db"]
    assert survives(folder, sample, {"journal.db": data, "journal.db-seq": None}) == len(sample.entries)


@pytest.mark.parametrize("moment", ["before the old one is set aside", "between", "with the old WAL left"])
def test_a_repair_that_is_killed_is_completed(folder: Path, sample: Sample, moment: str) -> None:
    half = sample.files["journal.db"][: len(sample.files["journal.db"]) // 2]
    place = folder / "killed"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    for name, data in {**sample.files, "journal.db": half}.items():
        (place / name).write_bytes(data)
        (place / name).chmod(0o600)
    repaired = Journal(place / "journal.db", sync="normal")
    repaired.open()
    repaired.close()
    (fresh,) = [(place / "journal.db").read_bytes()]
    damaged: dict[str, bytes | None] = {"journal.db-new": fresh, "journal.db": half}
    if moment == "before the old one is set aside":
        damaged["journal.db-new"] = fresh[: len(fresh) // 2]
    else:
        damaged["journal.db"] = None
        if moment == "between":
            damaged["journal.db-wal"] = None
    survives(folder, sample, damaged)


# -- rows, read from their pages -------------------------------------------------------------------------


def _any_value(rng: np.random.Generator) -> Value:
    bits = int(rng.integers(0, 64))
    whole = int(rng.integers(-(2**62), 2**62)) >> bits
    text = "".join(chr(int(code)) for code in rng.integers(1, 0xD000, size=int(rng.integers(0, 40))))
    data = rng.bytes(int(rng.integers(0, 300)))
    return [None, 0, 1, whole, float(rng.normal()), text, data][int(rng.integers(0, 7))]


def test_rows_are_read_as_sqlite_reads_them(folder: Path, rng: np.random.Generator) -> None:
    for number in range(40):
        path = folder / f"rows{number}.db"
        rows = [
            (int(rng.integers(-5, 2**62)) >> int(rng.integers(0, 62)), *(_any_value(rng) for _ in range(4)))
            for _ in range(int(rng.integers(0, 30)))
        ]
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.executescript(f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL;")
            database.execute("CREATE TABLE t(a, b, c, d)")
            for row in rows:
                database.execute("INSERT OR REPLACE INTO t(rowid, a, b, c, d) VALUES (?, ?, ?, ?, ?)", row)
                if rng.random() < 0.1:
                    database.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
            expected = database.execute("SELECT rowid, a, b, c, d FROM t").fetchall()
            found = set(salvage_rows(path, path.with_name(path.name + "-wal")))
        assert {(row[0], row[1:]) for row in expected} <= found


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=PAGE_BYTES), st.binary(max_size=9_000))
def test_nonsense_is_no_row_and_no_error(folder: Path, page: bytes, wal: bytes) -> None:
    (folder / "nonsense").write_bytes(b"\x0d" + page)
    (folder / "nonsense-wal").write_bytes(b"\x37\x7f\x06\x82" + wal)
    list(salvage_rows(folder / "nonsense", folder / "nonsense-wal"))


def test_a_note_of_another_journal_does_not_hide_what_is_there(folder: Path) -> None:
    """As when somebody has put back a copy, and a broken one."""
    sample, other = (make_sample(folder, killed=False) for _ in range(2))
    half = sample.files["journal.db"][: len(sample.files["journal.db"]) // 2]
    place = Path(tempfile.mkdtemp(dir=folder)) / "state"
    place.mkdir(mode=0o700)
    for name, data in {"journal.db": half, "journal.db-seq": other.files["journal.db-seq"]}.items():
        (place / name).write_bytes(data)
        (place / name).chmod(0o600)
    journal = Journal(place / "journal.db")
    journal.open()
    entries, _ = everything(journal)
    assert journal.name == sample.name
    assert entries
    assert all(sample.entries[found.seq] == found for found in entries)
    journal.close()

"""The journal: what was kept comes back, in order, each once, whatever happened in between."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.delivery import journal as journal_module
from streamer.delivery import retention
from streamer.delivery.journal import Journal
from streamer.delivery.journal_place import default_journal_path, state_directory
from streamer.delivery.messages import utc_ms
from streamer.delivery.past import Query, Unreadable
from streamer.delivery.store import Entry
from streamer.errors import EXIT_JOURNAL, JournalError
from tests.delivery.journals import BEGAN_S, add, covered, entry, everything, quick_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is to be."""
    return tmp_path / "state" / "journal.db"


def opened(path: Path, **settings: Any) -> Journal:
    """A journal, open; not as safe from power cuts, for speed, and of events that are never too old."""
    journal = Journal(path, **{"sync": "normal", "max_age_days": 36_500, **settings})
    journal.open()
    return journal


def due(journal: Journal) -> None:
    """As if the time until its next attempt had passed."""
    journal._due_s = 0.0
    journal.tend()


# -- what it is for --------------------------------------------------------------------------------------


def test_numbers_go_on_after_a_restart(path: Path) -> None:
    first = opened(path)
    assert (first.head_seq, first.oldest_seq) == (0, 1)
    kept = add(first, 5)
    first.close()
    second = opened(path)
    assert (second.name, second.head_seq) == (first.name, 5)
    kept += add(second, 3)
    assert everything(second) == (kept, [])
    assert second.health() == journal_module.JournalHealth(first.name, 8, 1, "ok", "", 0)
    second.close()


def test_journals_have_names_of_their_own(tmp_path: Path) -> None:
    names = set()
    for number in range(5):
        journal = opened(tmp_path / str(number) / "journal.db")
        names.add(journal.name)
        journal.close()
    assert len(names) == 5


def test_bodies_come_back_bit_for_bit(path: Path) -> None:
    journal = opened(path)
    odd = Entry(1, "keyword.a.b", 3, b'{"anything": "\xc3\xa4", "at": 1}')
    journal.append([odd])
    assert everything(journal) == ([odd], [])
    journal.close()


def test_by_topic(path: Path) -> None:
    journal = opened(path)
    labels = ["dog-bark", "dog-bark2", "knock"]
    kept = [entry(journal.name, seq, label=labels[seq % 3]) for seq in range(1, 31)]
    journal.append(kept)
    for topics in (("sound.dog-bark.",), ("sound.dog-bark",), ("sound.knock.", "sound.dog-bark2."), ("x",)):
        fitting = [found for found in kept if found.topic.startswith(topics)]
        assert everything(journal, Query(topics=topics, limit=4)) == (fitting, [])
    journal.close()


def test_since_a_moment(path: Path) -> None:
    journal = opened(path)
    kept = add(journal, 20)
    moment = utc_ms("2026-01-31T12:00:01.050Z")  # between number 10 and 11
    assert everything(journal, Query(since_ms=moment)) == (kept[10:], [])
    assert everything(journal, Query(since_ms=0)) == (kept, [])
    late = journal.read(Query(since_ms=utc_ms("2027-01-01T00:00:00Z")))
    assert (late.first_seq, late.through_seq, late.entries) == (21, 20, [])
    later_of_both = everything(journal, Query(since_seq=15, since_ms=moment))
    assert later_of_both == (kept[15:], [])
    journal.close()


def test_beyond_the_end(path: Path) -> None:
    journal = opened(path)
    add(journal, 3)
    past = journal.read(Query(since_seq=70))
    assert (past.first_seq, past.through_seq, past.entries, past.lost) == (71, 70, [], [])
    journal.close()


def test_a_rare_topic_does_not_keep_the_reader_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.delivery.past.SCAN_MAX", 10)
    journal = opened(path)
    kept = [entry(journal.name, seq, label="rare" if seq == 95 else "often") for seq in range(1, 101)]
    journal.append(kept)
    assert journal.read(Query(topics=("sound.rare.",))).through_seq == 10
    assert everything(journal, Query(topics=("sound.rare.",))) == ([kept[94]], [])
    journal.close()


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 9)),
        st.tuples(st.sampled_from(["restart", "crash", "prune", "fail", "mend"]), st.just(0)),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    operations,
    st.integers(0, 30),
    st.integers(1, 7),
    st.integers(400, 3_000),
    st.integers(3, 12),
)
def test_nothing_is_lost_doubled_or_disordered(
    steps: list[tuple[str, int]], since: int, limit: int, bytes_max: int, backlog_max: int
) -> None:
    """Against a list: what was kept and not forgotten comes back; what is missing is told to be lost."""
    folder = quick_folder()
    try:
        _walk(folder, steps, Query(since, None, (), limit, bytes_max), backlog_max)
    finally:
        shutil.rmtree(folder)


def _walk(folder: Path, steps: list[tuple[str, int]], query: Query, backlog_max: int) -> None:
    generation = 0
    place = folder / "0"
    journal = opened(place / "journal.db", backlog_max=backlog_max)
    model: dict[int, Entry] = {}
    failing = False
    for step, count in steps:
        if step == "append":
            for found in [entry(journal.name, journal.head_seq + 1 + offset) for offset in range(count)]:
                model[found.seq] = found
                journal.append([found])
        elif step == "prune" and not failing and journal._store and model:
            through = sorted(model)[len(model) // 2]
            journal._store.prune(through)
            journal._see_oldest()
        elif step == "fail" and journal._store:
            journal._store._database.execute("PRAGMA query_only = 1")
            failing = True
        elif step == "mend" and journal._store:
            journal._store._database.execute("PRAGMA query_only = 0")
            failing = False
            due(journal)
        elif step in {"restart", "crash"}:
            former, head = journal, journal.head_seq
            if step == "restart":
                former.close()
            generation += 1
            fresh = folder / str(generation)
            shutil.copytree(place, fresh)  # what a kill leaves, taken in one moment
            if step == "crash":
                former.close()
            place = fresh
            journal = opened(place / "journal.db", backlog_max=backlog_max)
            assert (journal.name, journal.head_seq) == (former.name, head)
            failing = False
        entries, lost = everything(journal, query)
        begin = max(query.since_seq + 1, journal.oldest_seq)
        assert [model[found.seq] for found in entries] == entries
        assert covered(entries, lost) == list(range(begin, journal.head_seq + 1))
    journal.close()


# -- killed ----------------------------------------------------------------------------------------------

WRITER = """
import os, sys
from pathlib import Path
from streamer.delivery.journal import Journal
from tests.delivery.journals import entry

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.write(1, b"pid %d\\n" % os.getpid())
        journal = Journal(Path(sys.argv[1]))
        journal.open()
        os.write(1, b"open %d\\n" % journal.head_seq)
        while True:
            batch = [entry(journal.name, journal.head_seq + 1 + n, run=line.strip()) for n in range(3)]
            journal.append(batch)
            os.write(1, b"kept %d\\n" % journal.head_seq)
    os.waitpid(child, 0)
    os.write(1, b"dead 0\\n")
"""


def test_kills_at_any_moment_lose_nothing_that_was_kept(path: Path, rng: np.random.Generator) -> None:
    kept = 0
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for round_number in range(30):
            writer.stdin.write(b"%016x\n" % round_number)
            writer.stdin.flush()
            pid, began = 0, False
            after = b"pid" if round_number % 2 else b"kept"  # while it opens the journal, or while it writes
            moment_s = float(rng.uniform(0, 0.03))
            for line in writer.stdout:
                word, number = line.split()
                if word == b"pid":
                    pid = int(number)
                elif word == b"open":
                    assert int(number) >= kept, "numbers would be given out twice"
                elif word == b"kept":
                    kept = int(number)
                elif word == b"dead":
                    break
                if word == after and not began:
                    began = True
                    time.sleep(moment_s)
                    os.kill(pid, 9)
    journal = opened(path)
    entries, lost = everything(journal)
    assert not lost
    assert [found.seq for found in entries] == list(range(1, journal.head_seq + 1))
    assert journal.head_seq >= kept > 0
    assert journal.health().detail == ""
    journal.close()


# -- retention -------------------------------------------------------------------------------------------


class Clocks:
    """The two clocks that retention looks at: time goes by on both, a leap is seen on one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall_s, self.steady_s = BEGAN_S, 1_000.0
        monkeypatch.setattr(retention, "time", self)

    def time(self) -> float:
        return self.wall_s

    def clock_gettime(self, clock: int) -> float:
        assert clock == retention.STEADY
        return self.steady_s

    def go_on(self, seconds: float) -> None:
        self.wall_s += seconds
        self.steady_s += seconds


def test_a_clock_that_leaps_ahead_does_not_empty_the_journal(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clocks = Clocks(monkeypatch)
    journal = opened(path, max_age_days=1)
    kept = add(journal, 700)
    clocks.wall_s += 400 * 86_400
    for _ in range(3):
        due(journal)
    clocks.wall_s -= 400 * 86_400
    clocks.go_on(50)
    for _ in range(3):
        due(journal)
    assert everything(journal) == (kept, [])
    assert caplog.text.count("leapt ahead by 9600.0 h") == 1
    clocks.wall_s += 400 * 86_400  # and this time it stays there
    due(journal)
    clocks.go_on(2 * 86_400)
    for _ in range(10):
        due(journal)
    assert journal.oldest_seq == 701
    journal.close()


def test_old_events_are_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    journal = opened(path, max_age_days=1)
    kept = add(journal, 700)
    clocks.go_on(86_400 + 50.05)  # number 500 is a day old
    for _ in range(10):
        due(journal)
    assert journal.oldest_seq == 501
    assert everything(journal) == (kept[500:], [])
    assert everything(journal, Query(since_seq=3)) == (kept[500:], [])
    clocks.go_on(98 * 86_400)
    for _ in range(10):
        due(journal)
    assert (journal.oldest_seq, journal.head_seq) == (701, 700)
    journal.close()
    again = opened(path)
    assert (again.head_seq, again.oldest_seq) == (700, 701), "an empty journal goes on counting"
    assert everything(again) == ([], [])
    again.close()


def test_a_journal_stays_within_its_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: BEGAN_S)
    journal = opened(path, max_mb=1)
    for start in range(0, 8_000, 500):
        journal.append([entry(journal.name, seq) for seq in range(start + 1, start + 501)])
        for _ in range(5):
            due(journal)
    entries, lost = everything(journal)
    assert not lost
    assert [found.seq for found in entries] == list(range(journal.oldest_seq, 8_001))
    assert 1_000 < len(entries) < 4_000
    journal.close()
    assert path.stat().st_size < 1_300_000


# -- a disk that refuses ---------------------------------------------------------------------------------


def _fill_up(journal: Journal) -> Callable[[], None]:
    """Let SQLite find no room for another page; gives the way back."""
    assert journal._store
    database = journal._store._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")

    def free() -> None:
        database.execute("PRAGMA max_page_count = 1000000")

    return free


def test_a_full_disk_is_told_survived_and_caught_up(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = opened(path)
    kept = add(journal, 10)
    free = _fill_up(journal)
    kept += add(journal, 300)
    health = journal.health()
    assert (health.state, health.seq) == ("failing", 310)
    assert "cannot be written: database or disk is full" in health.detail
    assert health.pending > 200
    assert everything(journal) == (kept, [])
    assert caplog.text.count("cannot be written") == 1, "told once"
    due(journal)
    kept += add(journal, 1)
    assert journal.health().state == "failing"
    free()
    due(journal)
    kept += add(journal, 1)
    assert journal.health() == journal_module.JournalHealth(journal.name, 312, 1, "ok", "", 0)
    assert everything(journal) == (kept, [])
    journal.close()
    again = opened(path)
    assert everything(again) == (kept, [])
    again.close()


def test_what_does_not_fit_into_memory_is_told_exactly(path: Path) -> None:
    journal = opened(path, backlog_max=20)
    free = _fill_up(journal)
    kept = add(journal, 1)
    while journal.health().state == "ok":
        kept += add(journal, 1)
    written = journal._written_seq
    kept += add(journal, 99)
    gone = [(written + 1, written + 80)]
    entries, lost = everything(journal)
    assert [(gap.first, gap.last) for gap in lost] == gone
    assert entries == [found for found in kept if not gone[0][0] <= found.seq <= gone[0][1]]
    free()
    due(journal)
    assert journal.health().state == "ok"
    assert "80 events" in journal.health().detail
    journal.close()
    again = opened(path)
    entries, lost = everything(again)
    assert [(gap.first, gap.last) for gap in lost] == gone
    assert entries == [found for found in kept if not gone[0][0] <= found.seq <= gone[0][1]]
    again.close()


def test_a_kill_while_the_disk_is_full_uses_no_number_twice(path: Path, tmp_path: Path) -> None:
    journal = opened(path)
    kept = add(journal, 5)
    free = _fill_up(journal)
    add(journal, 200)
    written = journal._written_seq
    assert written < 205
    left = tmp_path / "left"
    shutil.copytree(path.parent, left)  # what a kill leaves
    free()
    journal.close()
    again = opened(left / "journal.db")
    assert (again.name, again.head_seq) == (journal.name, 205)
    entries, lost = everything(again)
    assert entries[:5] == kept
    assert [(gap.first, gap.last) for gap in lost] == [(written + 1, 205)]
    assert "not in the journal's file" in lost[0].reason
    assert str(205 - written) in again.health().detail
    assert [found.seq for found in add(again, 1)] == [206]
    again.close()


def test_closing_writes_what_was_left(path: Path) -> None:
    journal = opened(path)
    free = _fill_up(journal)
    kept = add(journal, 300)
    assert journal.health().pending
    free()
    journal.close()
    again = opened(path)
    assert everything(again) == (kept, [])
    again.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    yield from _mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs")


def _mounted(place: Path, *mount: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    place.mkdir(mode=0o700)
    done = subprocess.run(["mount", *mount, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    journal = opened(small_disk / "journal.db", sync="full")
    kept = add(journal, 5)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    while journal.health().state == "ok":
        kept += add(journal, 1)
        assert len(kept) < 5_000, "the disk never became full"
    kept += add(journal, 50)
    assert "full" in journal.health().detail
    assert everything(journal) == (kept, [])
    due(journal)
    assert journal.health().state == "failing"
    ballast.unlink()
    due(journal)
    assert journal.health().state == "ok"
    assert everything(journal) == (kept, [])
    journal.close()
    again = opened(small_disk / "journal.db")
    assert everything(again) == (kept, [])
    again.close()


def test_a_full_disk_at_the_start(small_disk: Path) -> None:
    with (small_disk / "ballast").open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    journal = opened(small_disk / "state" / "journal.db")
    assert journal.health().state == "failing"
    kept = add(journal, 3)
    assert everything(journal) == (kept, [])
    (small_disk / "ballast").unlink()
    due(journal)
    assert journal.health().state == "ok"
    assert everything(journal) == (kept, [])
    journal.close()
    again = opened(small_disk / "state" / "journal.db")
    assert (again.name, everything(again)) == (journal.name, (kept, []))
    again.close()


def _remount(place: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True)


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped well", "killed"])
def test_a_read_only_disk(small_disk: Path, tmp_path: Path, stopped: bool) -> None:
    writer = opened(small_disk / "journal.db", sync="full")
    kept = add(writer, 5)
    if not stopped:
        left = tmp_path / "left"
        shutil.copytree(small_disk, left)
        writer.close()
        shutil.copytree(left, small_disk, dirs_exist_ok=True)
    else:
        writer.close()
    _remount(small_disk, "ro")
    journal = opened(small_disk / "journal.db")
    assert (journal.name, journal.head_seq) == (writer.name, 5)
    assert journal.health().state == "failing"
    assert "ead-only" in journal.health().detail
    kept += add(journal, 3)
    assert "given out twice" in journal.health().detail
    assert everything(journal) == (kept, [])
    due(journal)
    assert journal.health().state == "failing"
    assert everything(journal) == (kept, [])
    _remount(small_disk, "rw")
    due(journal)
    assert journal.health().state == "ok"
    kept += add(journal, 1)
    journal.close()
    again = opened(small_disk / "journal.db")
    assert everything(again) == (kept, [])
    again.close()


def test_a_directory_that_may_not_be_written(unwritable: Path) -> None:
    journal = opened(unwritable / "state" / "journal.db")
    assert journal.health().state == "failing"
    assert "Permission denied" in journal.health().detail
    kept = add(journal, 3)
    assert everything(journal) == (kept, [])
    journal.close()


def test_attempts_become_rarer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    journal = opened(path)
    add(journal, 1)
    free = _fill_up(journal)
    while journal.health().state == "ok":
        add(journal, 1)
    waits = []
    for _ in range(8):
        waits.append(journal.due_s - now_s)
        journal.tend()  # not yet due
        now_s = journal.due_s
        journal.tend()
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    free()
    now_s = journal.due_s
    journal.tend()
    assert journal.health().state == "ok"
    journal.close()


# -- damage, found while it runs -------------------------------------------------------------------------


def test_damage_found_while_reading_is_mended(path: Path) -> None:
    journal = opened(path)
    add(journal, 3_000)
    journal.close()
    journal = opened(path)
    with path.open("r+b") as file:  # behind its back, and in the middle
        file.seek(20 * 4096)
        file.write(bytes(40 * 4096))
    assert journal._store
    journal._store._database.execute("PRAGMA shrink_memory")  # else it has all of it in memory
    entries, lost = everything(journal)
    assert covered(entries, lost) == list(range(1, 3_001))
    assert lost
    assert "damaged" in journal.health().detail
    assert journal.health().state == "ok"
    assert [found.seq for found in add(journal, 1)] == [3_001]
    assert list(path.parent.glob("journal.db.corrupt-*"))
    journal.close()


def test_a_file_that_is_taken_away_is_noticed(path: Path) -> None:
    journal = opened(path)
    add(journal, 5)
    journal.close()
    journal = opened(path)
    path.unlink()
    due(journal)
    due(journal)
    kept = add(journal, 2)
    assert "removed" in journal.health().detail or "gone" in journal.health().detail
    entries, lost = everything(journal)
    assert entries == kept
    assert [(gap.first, gap.last) for gap in lost] == [(1, 5)]
    journal.close()
    again = opened(path)
    assert (again.name, again.head_seq) == (journal.name, 7)
    again.close()


def test_what_cannot_be_read_now_is_not_called_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(path)
    kept = add(first, 5)
    first.close()

    def refuse(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "open_store", refuse)
        journal = opened(path)
    assert (journal.name, journal.head_seq) == (first.name, 5)
    late = add(journal, 2)
    with pytest.raises(Unreadable, match="cannot be read at present"):
        journal.read(Query())
    assert journal.read(Query(since_seq=5)).entries == late
    due(journal)
    assert everything(journal) == (kept + late, [])
    journal.close()


# -- whose it is -----------------------------------------------------------------------------------------


def refusal(path: Path) -> JournalError:
    with pytest.raises(JournalError) as caught:
        Journal(path).open()
    assert caught.value.status == EXIT_JOURNAL
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return caught.value


def test_two_daemons_never_share_one(path: Path) -> None:
    journal = opened(path)
    kept = add(journal, 2)
    error = refusal(path)
    assert "another streamer keeps its journal in" in error.message
    assert "--journal PATH" in error.remedy
    assert "--no-journal" in error.remedy
    kept += add(journal, 1)
    assert everything(journal) == (kept, [])
    journal.close()
    opened(path).close()


def test_modes_are_tight(path: Path) -> None:
    before = os.umask(0)
    try:
        journal = opened(path)
        add(journal, 3)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
    assert set(modes) >= {
        "journal.db",
        "journal.db-wal",
        "journal.db-shm",
        "journal.db-seq",
        "journal.db-lock",
    }
    assert set(modes.values()) == {0o600}
    journal.close()


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal", "journal.db-seq"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_looser_files_are_refused(path: Path, name: str, mode: int) -> None:
    journal = opened(path)
    add(journal, 2)
    journal.close()
    found = path.with_name(name)
    found.touch()
    found.chmod(mode)
    error = refusal(path)
    assert f"{found} is open to others (mode {mode:04o})" in error.message
    assert f"chmod 600 {found}" in error.remedy


def test_a_looser_directory_is_refused(path: Path) -> None:
    opened(path).close()
    path.parent.chmod(0o755)
    assert f"chmod 700 {path.parent}" in refusal(path).remedy


def test_somebody_elses_file_is_not_touched(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("my notes")
    path.chmod(0o600)
    assert "is no journal" in refusal(path).message
    assert path.read_text() == "my notes"


def test_another_programs_database_is_not_touched(path: Path) -> None:
    import sqlite3

    path.parent.mkdir(mode=0o700)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine(a)")
    database.close()
    path.chmod(0o600)
    before = path.read_bytes()
    assert "is no journal" in refusal(path).message
    assert path.read_bytes() == before


def test_a_newer_journal_is_refused(path: Path) -> None:
    journal = opened(path)
    add(journal, 1)
    assert journal._store
    journal._store._database.execute("PRAGMA user_version = 2")
    journal.close()
    error = refusal(path)
    assert "made by a newer streamer" in error.message
    assert "install the newer streamer" in error.remedy


def test_a_link_is_refused(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "elsewhere")
    assert "is no file" in refusal(path).message


def test_the_place() -> None:
    assert state_directory({"STATE_DIRECTORY": "/var/lib/streamer:/x"}) == Path("/var/lib/streamer")
    assert state_directory({"XDG_STATE_HOME": "/home/me/state"}) == Path("/home/me/state/streamer")
    relative = state_directory({"XDG_STATE_HOME": "state", "STATE_DIRECTORY": "x"})
    assert relative.is_absolute()
    assert default_journal_path({"XDG_STATE_HOME": "/s"}) == Path("/s/streamer/journal.db")

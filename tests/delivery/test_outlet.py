"""The delivery thread: journal first, then publish; whatever is slow there, the main thread never waits."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from streamer.delivery import outlet as outlet_module
from streamer.delivery.journal import Journal
from streamer.delivery.messages import Event, Frames, Health, decode
from streamer.delivery.outlet import Outlet
from streamer.delivery.store import Entry
from streamer.errors import JournalError, SocketError

DEADLINE_S = 10.0
RUN = "5f3a9c0e12b4d678"
RawSocket = Callable[[int], "zmq.Socket[bytes]"]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal that is not opened yet."""
    return Journal(tmp_path / "state" / "journal.db", sync="normal", max_age_days=36_500)


@pytest.fixture
def outlet(runtime: Path, journal: Journal) -> Iterator[Outlet]:
    """Running, with a journal."""
    made = Outlet(RUN, journal, publish=[f"ipc://{runtime}/events.sock"])
    made.start()
    yield made
    made.close()


def subscribe(raw_socket: RawSocket, outlet: Outlet, *topics: str) -> zmq.Socket[bytes]:
    subscriber = raw_socket(zmq.SUB)
    subscriber.connect(outlet.publishing_on[0])
    for topic in topics:
        subscriber.subscribe(topic)
    until(lambda: {topic.encode() for topic in topics} <= outlet._wanted)
    return subscriber


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.005)


def seqs_on_disk(path: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [seq for (seq,) in database.execute("SELECT seq FROM events ORDER BY seq")]


def test_an_event_is_kept_before_it_is_published(
    outlet: Outlet, journal: Journal, raw_socket: RawSocket, make_event: Any
) -> None:
    subscriber = subscribe(raw_socket, outlet, "sound.")
    for seq in range(1, 30):
        outlet.put(make_event(seq=seq))
        outlet.flush()
        assert decode(subscriber.recv_multipart()) == make_event(seq=seq)
        assert seqs_on_disk(journal.place.database)[-1] >= seq


def test_records_keep_their_order(
    outlet: Outlet, raw_socket: RawSocket, make_event: Any, make_frames: Any, make_health: Any
) -> None:
    subscriber = subscribe(raw_socket, outlet, "")
    sent = []
    for seq in range(1, 200):
        sent += [make_frames(first_row=seq), make_event(seq=seq), make_health(seq=seq)]
    for record in sent:
        outlet.put(record)
    outlet.flush()
    for record in sent:
        got = decode(subscriber.recv_multipart())
        assert type(got) is type(record)
        if isinstance(got, Frames):
            assert got == record
        else:
            assert isinstance(got, Event | Health)
            assert got.seq == record.seq


def test_health_says_how_the_journal_is(
    outlet: Outlet, journal: Journal, raw_socket: RawSocket, make_event: Any, make_health: Any
) -> None:
    subscriber = subscribe(raw_socket, outlet, "health.")
    outlet.put(make_event(seq=1))
    outlet.put(make_health(seq=1, journal="", journal_state="off"))
    outlet.flush()
    told = decode(subscriber.recv_multipart())
    assert isinstance(told, Health)
    assert (told.journal, told.seq, told.oldest_seq) == (outlet.journal_name, 1, 1)
    assert (told.journal_state, told.journal_detail, told.journal_pending) == ("ok", "", 0)
    journal._fail(OSError(5, "Input/output error"))
    outlet.put(make_event(seq=2))
    outlet.put(make_health(seq=2))
    outlet.flush()
    told = decode(subscriber.recv_multipart())
    assert isinstance(told, Health)
    assert (told.seq, told.journal_state, told.journal_pending) == (2, "failing", 1)
    assert told.journal_detail == "cannot be written: Input/output error"


def test_a_batch_is_one_transaction(
    outlet: Outlet, journal: Journal, monkeypatch: pytest.MonkeyPatch, make_event: Any
) -> None:
    sizes = []
    append = journal.append

    def counted(entries: list[Entry]) -> None:
        sizes.append(len(entries))
        append(entries)

    monkeypatch.setattr(journal, "append", counted)
    for seq in range(1, 101):
        outlet.put(make_event(seq=seq))
    outlet.flush()
    until(lambda: sum(sizes) == 100)
    assert sizes == [100]


def test_frames_are_wanted_while_somebody_subscribes(outlet: Outlet, raw_socket: RawSocket) -> None:
    assert not outlet.wants_frames("kitchen")
    subscriber = subscribe(raw_socket, outlet, "frame.kitchen")
    assert outlet.wants_frames("kitchen")
    assert not outlet.wants_frames("hall")
    subscriber.unsubscribe("frame.kitchen")
    until(lambda: not outlet.wants_frames("kitchen"))


class Stuck:
    """A disk that does not answer for a while."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.released = threading.Event(), threading.Event()
        append = journal.append

        def stuck(entries: list[Entry]) -> None:
            self.reached.set()
            assert self.released.wait(DEADLINE_S)
            append(entries)

        monkeypatch.setattr(journal, "append", stuck)


def test_a_disk_that_hangs_holds_up_nobody_and_loses_no_event(
    outlet: Outlet,
    journal: Journal,
    raw_socket: RawSocket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make_event: Any,
    make_frames: Any,
    make_health: Any,
) -> None:
    monkeypatch.setattr(outlet_module, "WAITING_MAX", 1_500)
    subscriber = subscribe(raw_socket, outlet, "")
    stuck = Stuck(journal, monkeypatch)
    outlet.put(make_event(seq=1))
    outlet.flush()
    assert stuck.reached.wait(DEADLINE_S)
    for _ in range(1_200):
        outlet.put(make_frames())
    for seq in range(2, 1_002):
        outlet.put(make_event(seq=seq))
        outlet.put(make_health(seq=seq))
    outlet.put(make_health(seq=1_001, state="stopping", final=True))
    outlet.flush()
    assert outlet.frames_dropped == 200
    assert caplog.text.count("delivery is behind") == 1
    stuck.released.set()
    got: list[Any] = []
    while not (got and isinstance(got[-1], Health) and got[-1].final):
        got.append(decode(subscriber.recv_multipart()))
    assert [record.seq for record in got if isinstance(record, Event)] == list(range(1, 1_002))
    assert len([record for record in got if isinstance(record, Frames)]) == 1_000
    assert len([record for record in got if isinstance(record, Health)]) < 600


def test_close_delivers_what_is_there(
    runtime: Path, journal: Journal, raw_socket: RawSocket, make_event: Any, make_health: Any
) -> None:
    for _ in range(5):
        outlet = Outlet(RUN, journal, publish=[f"ipc://{runtime}/events.sock"])
        outlet.start()
        subscriber = subscribe(raw_socket, outlet, "sound.", "health.")
        first = outlet.head_seq + 1
        for seq in range(first, first + 700):
            outlet.put(make_event(seq=seq))
        outlet.put(make_health(state="stopping", final=True))
        outlet.close()
        outlet.close()
        got = [decode(subscriber.recv_multipart()) for _ in range(701)]
        assert isinstance(got[-1], Health)
        assert got[-1].final
        assert seqs_on_disk(journal.place.database)[-1] == first + 699
        subscriber.close()


def test_close_does_not_wait_for_ever(
    runtime: Path,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make_event: Any,
) -> None:
    monkeypatch.setattr(outlet_module, "CLOSE_MAX_S", 0.1)
    outlet = Outlet(RUN, journal, publish=[f"ipc://{runtime}/events.sock"])
    outlet.start()
    stuck = Stuck(journal, monkeypatch)
    outlet.put(make_event(seq=1))
    started = time.monotonic()
    outlet.close()
    assert time.monotonic() - started < DEADLINE_S / 2
    assert "delivery did not end" in caplog.text
    assert outlet._thread.daemon, "it must not keep the process alive"
    stuck.released.set()
    outlet._thread.join(DEADLINE_S)
    outlet.close()


def test_what_stands_in_the_way_is_raised_at_the_start(
    runtime: Path, journal: Journal, tmp_path: Path
) -> None:
    before = threading.active_count()
    (tmp_path / "state").mkdir(mode=0o755)
    with pytest.raises(JournalError, match="is open to others"):
        Outlet(RUN, journal, publish=[f"ipc://{runtime}/events.sock"]).start()
    with pytest.raises(SocketError, match="No such file"):
        Outlet(RUN, None, publish=[f"ipc://{runtime}/missing/events.sock"]).start()
    (tmp_path / "state").chmod(0o700)
    with pytest.raises(SocketError, match=r"control\.sock"):
        Outlet(
            RUN,
            journal,
            publish=[f"ipc://{runtime}/events.sock"],
            control=[f"ipc://{runtime}/missing/control.sock"],
        ).start()
    assert not list(runtime.iterdir()), "a failed start leaves nothing behind"
    assert threading.active_count() == before
    journal.open()  # and the journal is free
    journal.close()


def test_a_fault_in_the_thread_is_the_main_threads_as_well(
    runtime: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, make_event: Any
) -> None:
    outlet = Outlet(RUN, journal, publish=[f"ipc://{runtime}/events.sock"])
    outlet.start()

    def fail(_: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(journal, "append", fail)
    outlet.put(make_event(seq=1))
    outlet.flush()
    poller = zmq.Poller()
    poller.register(outlet.fileno(), zmq.POLLIN)
    assert poller.poll(DEADLINE_S * 1_000), "the main thread sleeps on this"
    with pytest.raises(RuntimeError, match="a fault of ours"):
        outlet.flush()
    outlet.close()


def test_nothing_happens_while_nothing_happens(
    outlet: Outlet, monkeypatch: pytest.MonkeyPatch, make_event: Any
) -> None:
    """No polling: once the journal has been looked after, the thread sleeps."""
    turns = 0
    turn = outlet._turn

    def counted() -> None:
        nonlocal turns
        turns += 1
        turn()

    monkeypatch.setattr(outlet, "_turn", counted)
    outlet.put(make_event(seq=1))
    outlet.flush()
    until(lambda: turns > 0 or outlet._desk.seq == 1)
    time.sleep(0.2)
    settled = turns
    time.sleep(0.5)
    assert turns == settled


def test_its_files_are_private_and_go_away(runtime: Path, journal: Journal) -> None:
    outlet = Outlet(
        RUN,
        journal,
        publish=[f"ipc://{runtime}/events.sock"],
        control=[f"ipc://{runtime}/control.sock"],
    )
    outlet.start()
    modes = {found.name: found.stat().st_mode & 0o777 for found in runtime.iterdir()}
    outlet.close()
    assert modes == {"events.sock": 0o600, "control.sock": 0o600}
    assert not list(runtime.iterdir())


def test_a_log_line_for_each_trouble(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        journal.open()
        journal.close()
    assert caplog.text == "", "nothing to tell"

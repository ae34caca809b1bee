"""The publisher over real sockets."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from streamer.delivery import binding
from streamer.delivery.messages import Event, decode
from streamer.delivery.publisher import Publisher
from streamer.errors import EXIT_SOCKET, SocketError

RawSocket = Callable[[int], "zmq.Socket[bytes]"]
DEADLINE_S = 10.0


def _subscribe(raw_socket: RawSocket, publisher: Publisher, *topics: str) -> zmq.Socket[bytes]:
    subscriber = raw_socket(zmq.SUB)
    subscriber.connect(publisher.endpoints[0])
    for topic in topics:
        subscriber.subscribe(topic)
        assert publisher.wait_wanted(topic, DEADLINE_S)
    return subscriber


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"


def test_records_arrive_whole(
    publisher: Publisher, raw_socket: RawSocket, make_event: Any, make_frames: Any, make_health: Any
) -> None:
    subscriber = _subscribe(raw_socket, publisher, "sound.", "frame.", "health.")
    sent = [make_event(), make_frames(), make_health(), make_event(seq=2, phase="end", offset_s=13.0)]
    for record in sent:
        publisher.send(record)
    assert [decode(subscriber.recv_multipart()) for _ in sent] == sent
    assert (publisher.sent, publisher.overflows) == (4, 0)


def test_subscribers_get_only_their_prefixes(
    publisher: Publisher, raw_socket: RawSocket, make_event: Any
) -> None:
    subscriber = _subscribe(raw_socket, publisher, "sound.dog-bark.")
    publisher.send(make_event(label="knock"))
    publisher.send(make_event(kind="keyword", phase="hit"))
    publisher.send(make_event(seq=7))
    got = decode(subscriber.recv_multipart())
    assert isinstance(got, Event)
    assert got.seq == 7


@pytest.mark.parametrize("prefix", ["", "f", "frame.", "frame.kit", "frame.kitchen"])
def test_frames_are_wanted_while_somebody_asks(
    publisher: Publisher, raw_socket: RawSocket, prefix: str
) -> None:
    assert not publisher.wants_frames("kitchen")
    subscriber = _subscribe(raw_socket, publisher, prefix)
    assert publisher.wants_frames("kitchen")
    assert publisher.wants_frames("hall") == (not prefix.startswith("frame.k"))
    subscriber.unsubscribe(prefix)
    _until(lambda: not publisher.wants_frames("kitchen"))


@pytest.mark.parametrize("prefix", ["frame.kitchen2", "frame.hall", "sound.", "frames"])
def test_other_subscriptions_want_no_frames(publisher: Publisher, raw_socket: RawSocket, prefix: str) -> None:
    _subscribe(raw_socket, publisher, prefix)
    assert not publisher.wants_frames("kitchen")


def test_frames_are_wanted_until_the_last_one_leaves(publisher: Publisher, raw_socket: RawSocket) -> None:
    first = _subscribe(raw_socket, publisher, "frame.", "one")
    second = _subscribe(raw_socket, publisher, "frame.", "two")
    first.unsubscribe("frame.")
    first.unsubscribe("one")
    _until(lambda: not publisher.is_wanted("one"))  # and with it, sent before, "frame."
    assert publisher.wants_frames("kitchen")
    second.close()  # as when its process dies
    _until(lambda: not publisher.wants_frames("kitchen"))


def test_what_is_no_subscription_is_ignored(
    publisher: Publisher, raw_socket: RawSocket, make_event: Any
) -> None:
    rogue = raw_socket(zmq.XSUB)
    rogue.connect(publisher.endpoints[0])
    for message in (b"", b"\2frame.", b"frame.", b"\0never", b"\1last"):
        rogue.send(message)
    assert publisher.wait_wanted("last", DEADLINE_S)
    assert not publisher.wants_frames("kitchen")
    publisher.send(make_event())


def test_waiting_for_nobody_ends(publisher: Publisher) -> None:
    assert not publisher.wait_wanted("sound.", 0.01)


def test_the_socket_file_is_private_and_goes_away(runtime: Path) -> None:
    path = runtime / "events.sock"
    before = os.umask(0)
    try:
        with Publisher([f"ipc://{path}"]):
            assert stat.S_ISSOCK(path.stat().st_mode)
            assert path.stat().st_mode & 0o777 == 0o600
        assert os.umask(0) == 0, "the umask was not put back"
    finally:
        os.umask(before)
    assert not path.exists()


def test_the_socket_file_is_born_private(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "chmod", lambda *_: None)  # what would be there before the chmod
    with Publisher([f"ipc://{runtime}/events.sock"]):
        assert (runtime / "events.sock").stat().st_mode & 0o777 == 0o600


def test_both_addresses_at_once(runtime: Path, raw_socket: RawSocket, make_event: Any) -> None:
    with Publisher([f"ipc://{runtime}/events.sock", "tcp://127.0.0.1:*"]) as publisher:
        assert publisher.endpoints[0] == f"ipc://{runtime}/events.sock"
        for number, endpoint in enumerate(publisher.endpoints):
            subscriber = raw_socket(zmq.SUB)
            subscriber.connect(endpoint)
            subscriber.subscribe(f"sound.dog-bark.s{number}")
            assert publisher.wait_wanted(f"sound.dog-bark.s{number}", DEADLINE_S)
            publisher.send(make_event(stream=f"s{number}"))
            assert decode(subscriber.recv_multipart()) == make_event(stream=f"s{number}")


def test_ipv6_loopback(raw_socket: RawSocket, make_event: Any) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with Publisher(["tcp://127.0.0.1:*", "tcp://[::1]:*"]) as publisher:
        assert publisher.endpoints[1].startswith("tcp://[::1]:")
        subscriber = raw_socket(zmq.SUB)
        subscriber.setsockopt(zmq.IPV6, 1)
        subscriber.connect(publisher.endpoints[1])
        subscriber.subscribe("sound.")
        assert publisher.wait_wanted("sound.", DEADLINE_S)
        publisher.send(make_event())
        assert decode(subscriber.recv_multipart()) == make_event()


def test_the_last_message_arrives_after_close(endpoint: str, raw_socket: RawSocket, make_health: Any) -> None:
    for number in range(20):  # without linger some of these would be lost
        publisher = Publisher([endpoint])
        subscriber = _subscribe(raw_socket, publisher, "health.")
        publisher.send(make_health(state="stopping", final=True, seq=number))
        publisher.close()
        publisher.close()
        assert decode(subscriber.recv_multipart()) == make_health(state="stopping", final=True, seq=number)
        subscriber.close()


def test_close_does_not_hang_with_zeromq(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    term = zmq.Context.term
    monkeypatch.setattr(zmq.Context, "term", lambda context: (released.wait(DEADLINE_S), term(context)))
    monkeypatch.setattr(binding, "CLOSE_MAX_S", 0.05)
    publisher = Publisher([endpoint])
    started = time.monotonic()
    publisher.close()
    assert time.monotonic() - started < DEADLINE_S / 2
    abandoned = [thread for thread in threading.enumerate() if thread.name == "context-end"]
    assert [thread.daemon for thread in abandoned] == [True], "it must not keep the process alive"
    released.set()
    abandoned[0].join(DEADLINE_S)


def test_a_slow_subscriber_is_noticed_and_delays_nobody(
    runtime: Path, raw_socket: RawSocket, make_frames: Any, make_event: Any
) -> None:
    with Publisher([f"ipc://{runtime}/events.sock"], send_high_water=10) as publisher:
        slow = raw_socket(zmq.SUB)
        slow.setsockopt(zmq.RCVHWM, 1)
        slow.connect(publisher.endpoints[0])
        slow.subscribe("frame.")
        assert publisher.wait_wanted("frame.", DEADLINE_S)
        quick = _subscribe(raw_socket, publisher, "sound.")
        big = make_frames([[0.5, 0.5]] * 50_000)
        while not publisher.overflows:
            assert publisher.sent < 10_000, "a subscriber that reads nothing never filled its queue"
            publisher.send(big)
        publisher.send(make_event())
        assert decode(quick.recv_multipart()) == make_event()
        assert decode(slow.recv_multipart()) == big, "what it does get is whole"
        started = time.monotonic()
    assert time.monotonic() - started < 5, "close() waits a second at most for one that does not read"


def test_a_full_queue_loses_whole_messages_only(
    runtime: Path, raw_socket: RawSocket, make_frames: Any
) -> None:
    with Publisher([f"ipc://{runtime}/events.sock"], send_high_water=3) as publisher:
        subscriber = raw_socket(zmq.SUB)
        subscriber.setsockopt(zmq.RCVHWM, 2)
        subscriber.connect(publisher.endpoints[0])
        subscriber.subscribe("frame.")
        assert publisher.wait_wanted("frame.", DEADLINE_S)
        big = make_frames([[0.5, 0.5]] * 20_000)
        while publisher.overflows < 5:  # it reads one of three, so that it falls behind again and again
            assert publisher.sent < 10_000, "a subscriber that is too slow never filled its queue"
            for _ in range(3):
                publisher.send(big)
            assert decode(subscriber.recv_multipart()) == big
        while subscriber.poll(100):  # nothing waits for it at the end
            assert decode(subscriber.recv_multipart()) == big


def _fault(*endpoints: str) -> SocketError:
    with pytest.raises(SocketError) as caught:
        Publisher(list(endpoints))
    assert caught.value.status == EXIT_SOCKET
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return caught.value


def test_a_port_in_use_is_named(runtime: Path) -> None:
    with Publisher(["tcp://127.0.0.1:*"]) as first:
        port = first.endpoints[0].rpartition(":")[2]
        fault = _fault(f"ipc://{runtime}/events.sock", first.endpoints[0])
    assert str(fault).startswith(f"port {port} on 127.0.0.1 is in use by another program; ")
    assert "`--publish tcp://127.0.0.1:PORT`" in fault.remedy
    assert not (runtime / "events.sock").exists(), "a failed start leaves nothing behind"


def test_a_missing_directory_is_told(runtime: Path) -> None:
    fault = _fault(f"ipc://{runtime}/missing/events.sock")
    assert f"cannot make the socket {runtime}/missing/events.sock: No such file" in fault.message


def test_an_unwritable_directory_is_told(unwritable: Path) -> None:
    assert "events.sock: Permission denied" in _fault(f"ipc://{unwritable}/events.sock").message


def test_no_address_is_a_fault() -> None:
    assert "no address to publish on" in _fault().message


def test_a_users_file_is_never_overwritten(runtime: Path) -> None:
    (runtime / "notes.txt").write_text("mine")
    assert "is no socket" in _fault(f"ipc://{runtime}/notes.txt").message
    assert (runtime / "notes.txt").read_text() == "mine"


def test_a_running_daemons_socket_is_never_taken(
    runtime: Path, raw_socket: RawSocket, make_event: Any
) -> None:
    endpoint = f"ipc://{runtime}/events.sock"
    with Publisher([endpoint]) as first:
        assert "another program listens on" in _fault(endpoint).message
        subscriber = _subscribe(raw_socket, first, "sound.")
        first.send(make_event())
        assert decode(subscriber.recv_multipart()) == make_event()


def test_a_dead_daemons_socket_is_replaced(runtime: Path, raw_socket: RawSocket, make_event: Any) -> None:
    path = runtime / "events.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))  # a file without a listener is what kill -9 leaves
    with Publisher([f"ipc://{path}"]) as publisher:
        subscriber = _subscribe(raw_socket, publisher, "sound.")
        publisher.send(make_event())
        assert decode(subscriber.recv_multipart()) == make_event()


def test_nothing_is_left_running() -> None:
    before = set(os.listdir("/proc/self/task"))
    with Publisher(["tcp://127.0.0.1:*"]):
        assert set(os.listdir("/proc/self/task")) - before, "ZeroMQ has threads of its own"
    _until(lambda: not set(os.listdir("/proc/self/task")) - before)

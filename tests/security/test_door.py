"""The door itself, with real sockets: who comes in, who does not, and what is told of it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from streamer.delivery.publisher import Publisher
from streamer.security import connections, zap
from streamer.security.allowed import AllowList
from streamer.security.descriptors import Connection
from streamer.security.guard import Guard, secure_server
from streamer.security.keys import KeyPair
from streamer.security.watch import LOST, MISFIT, REFUSED, UNREACHED, Trouble
from streamer.security.zap import CONTROL, LISTEN, PLACE, SEND, judge
from tests.security.conftest import ANY_PORT, DEADLINE_MS, SHORT_MS, Lab, client

Sock = zmq.Socket[bytes]


def hears(server: Sock, one: Sock, text: bytes = b"hello") -> str | None:
    """Who is said to have sent it; None if nothing arrives."""
    one.send(text, zmq.NOBLOCK)
    return receive(server, text, DEADLINE_MS)


def hears_nothing(server: Sock, one: Sock) -> bool:
    with contextlib.suppress(zmq.Again):  # where ZeroMQ has been told to give up
        one.send(b"nothing", zmq.NOBLOCK)
    return receive(server, b"nothing", SHORT_MS) is None


def receive(server: Sock, text: bytes, wait_ms: int) -> str | None:
    if not server.poll(wait_ms):
        return None
    frames = server.recv_multipart(copy=False)
    assert frames[-1].bytes == text
    return str(frames[-1].get("User-Id"))


def until(condition: Callable[[], bool], wait_s: float = DEADLINE_MS / 1000) -> bool:
    deadline_s = time.monotonic() + wait_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True


def address_of(server: Sock) -> tuple[str, int]:
    host, _, port = server.getsockopt_string(zmq.LAST_ENDPOINT).removeprefix("tcp://").rpartition(":")
    return host, int(port)


@contextlib.contextmanager
def tap(server: Sock, heard: bytearray) -> Iterator[str]:
    """Somebody on the way who hears every byte of one connection in both directions."""

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65_536):
                heard.extend(block)
                sink.sendall(block)

    def serve() -> None:
        here, _ = listening.accept()
        with here, socket.create_connection(address_of(server)) as there:
            back = threading.Thread(target=pass_on, args=(there, here), daemon=True)
            back.start()
            ends.extend((here, there))
            pass_on(here, there)
            back.join(10)

    ends: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "streamer.security"]


# -- who comes in ----------------------------------------------------------------------------------


def test_who_is_on_the_list_comes_in_under_his_name(lab: Lab) -> None:
    control, _ = lab.serve(CONTROL)
    lab.open()
    bob, boss = lab.connect(control, "bob"), lab.connect(control, "boss")
    assert hears(control, bob) == "bob"
    assert hears(control, boss) == "boss"
    assert lab.guard.allowed.rights_of("bob") == {"listen"}


@pytest.mark.parametrize(
    ("who", "knows", "told"),
    [
        (
            "eve",
            "daemon",
            "refused a client from 127.0.0.1: unknown key; to let it in: streamer keys allow NAME '",
        ),
        (
            "mic",
            "daemon",
            "refused mic from 127.0.0.1: mic has no right to listen; to let it in: streamer keys allow mic",
        ),
        ("bob", "eve", "it has no key, or another key for this daemon|it left during the handshake"),
        (None, "daemon", "it has no key, or another key for this daemon|it left during the handshake"),
    ],
    ids=["unknown key", "lesser right", "wrong server key", "no key"],
)
def test_who_is_not_is_refused_and_told_once(
    lab: Lab, caplog: pytest.LogCaptureFixture, who: str | None, knows: str, told: str
) -> None:
    events, connections = lab.serve(LISTEN, kind=zmq.XPUB)
    lab.open()
    good = lab.connect(events, "bob", kind=zmq.SUB)
    assert events.recv() == b"\1"
    for _ in range(5):  # and ZeroMQ itself tries again and again
        lab.connect(events, who, knows=knows, kind=zmq.SUB)
    assert until(lambda: bool(lines(caplog)))
    assert not events.poll(SHORT_MS), "a subscription came from somebody who may not listen"
    events.send(b"secret")
    assert good.recv() == b"secret"
    assert any(part in lines(caplog)[0] for part in told.split("|")), lines(caplog)
    # a broken handshake shows in one of two ways, and the address is not always there any more
    assert len(lines(caplog)) <= (1 if who in {"eve", "mic"} else 4)
    assert until(lambda: len(connections) <= 1 + 5)
    assert not any(pair.secret in line for pair in lab.pairs.values() for line in lines(caplog))


def test_a_refused_key_is_told_again_after_a_minute(
    lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, _ = lab.serve(CONTROL)
    now_s = [1000.0]
    monkeypatch.setattr(lab.guard._door._once, "_clock", lambda: now_s[0])
    for expected in (1, 1, 1, 2):
        before = [*lines(caplog)]
        eve = lab.connect(control, "eve")
        asked = until(lambda: bool(lab.guard._door.socket.poll(1)))
        lab.guard.handle()
        assert asked
        assert len(lines(caplog)) == expected, before
        now_s[0] += 25
        eve.close()
    assert "(2 more since it was last told)" in lines(caplog)[-1]


def test_a_subscriber_without_a_key_gets_no_byte(lab: Lab) -> None:
    """Not only is its subscription refused: nothing that is published leaves in clear."""
    events, _ = lab.serve(LISTEN, kind=zmq.XPUB)
    lab.open()
    with socket.create_connection(address_of(events), timeout=10) as raw:
        with contextlib.suppress(ConnectionError):  # it may be shown the door before it has finished
            raw.sendall(GREETING_NULL)
            raw.sendall(command(b"READY", b""))
            raw.sendall(b"\0\1\1")
        good = lab.connect(events, "bob", kind=zmq.SUB)
        assert events.recv() == b"\1"
        events.send(b"the dog barks")
        assert good.recv() == b"the dog barks"
        received = b""
        while block := read_some(raw):
            received += block
        assert b"barks" not in received


def test_what_is_encrypted_cannot_be_read_on_the_way(lab: Lab) -> None:
    events, _ = lab.serve(LISTEN, kind=zmq.XPUB)
    lab.open()
    heard = bytearray()
    good = lab.connect(events, "bob", kind=zmq.SUB)
    assert events.recv() == b"\1"
    with tap(events, heard) as tapped:
        spied = lab.connect(tapped, "boss", kind=zmq.SUB)
        spied.subscribe("the")
        assert events.recv() == b"\1the"
        events.send(b"the dog barks")
        assert good.recv() == b"the dog barks"
        assert spied.recv() == b"the dog barks"
    assert len(heard) > 500
    assert b"barks" not in heard
    assert b"CURVE" in heard


def test_without_anybody_at_the_door_nobody_comes_in(lab: Lab, pairs: dict[str, KeyPair]) -> None:
    """ZeroMQ's own rule would be to let everybody in as long as nobody answers."""
    server = lab.make(lab.context, zmq.ROUTER)
    secure_server(server, pairs["daemon"], CONTROL)
    server.bind(ANY_PORT)
    lab.guard.close()
    assert hears_nothing(server, lab.connect(server, "bob"))
    assert hears_nothing(server, lab.connect(server, "eve"))


def test_a_door_that_nobody_guards_stays_shut(lab: Lab, pairs: dict[str, KeyPair]) -> None:
    server = lab.make(lab.context, zmq.ROUTER)
    secure_server(server, pairs["daemon"], SEND)  # and not protect()
    server.bind(ANY_PORT)
    lab.open()
    assert hears_nothing(server, lab.connect(server, "mic"))


# -- doors without keys ----------------------------------------------------------------------------


def test_a_local_door_asks_for_no_key(lab: Lab, tmp_path: Path) -> None:
    for endpoint in (ANY_PORT, f"ipc://{tmp_path}/x.sock"):
        plain, _ = lab.serve(CONTROL.local if "tcp" in endpoint else LISTEN.local, endpoint)
        lab.open()
        assert hears(plain, lab.connect(plain)) == ""
        lab.shut()


def test_a_client_with_keys_at_a_local_door(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    plain, _ = lab.serve(CONTROL.local)
    lab.open()
    assert hears_nothing(plain, lab.connect(plain, "bob"))
    assert until(lambda: bool(lines(caplog)))
    assert "no keys are used here" in lines(caplog)[0] or "left during" in lines(caplog)[0]


GREETING_NULL = b"\xff" + bytes(8) + b"\x7f" + b"\3\0" + b"NULL".ljust(20, b"\0") + bytes(32)


def command(name: bytes, body: bytes) -> bytes:
    whole = bytes([len(name)]) + name + body
    return b"\4" + bytes([len(whole)]) + whole


def prop(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


def read_some(raw: socket.socket) -> bytes:
    raw.settimeout(SHORT_MS / 1000)
    try:
        return raw.recv(65_536)
    except (TimeoutError, ConnectionError):
        return b""


def test_a_name_of_ones_own_making_is_nobodys(lab: Lab) -> None:
    """A client without keys may claim a User-Id in its greeting; it must not come through as one."""
    plain, _ = lab.serve(CONTROL.local)
    lab.open()
    with socket.create_connection(address_of(plain), timeout=10) as raw:
        raw.sendall(GREETING_NULL)
        raw.sendall(command(b"READY", prop(b"Socket-Type", b"DEALER") + prop(b"User-Id", b"boss")))
        answer = b""
        while b"READY" not in answer:
            answer += raw.recv(65_536)
        raw.sendall(b"\0\5hello")
        assert receive(plain, b"hello", DEADLINE_MS) == ""


# -- changes of the list ---------------------------------------------------------------------------


def test_a_revoked_client_is_shown_the_door_at_once(lab: Lab, pairs: dict[str, KeyPair]) -> None:
    control, connections = lab.serve(CONTROL)
    lab.open()
    bob, boss = lab.connect(control, "bob"), lab.connect(control, "boss")
    assert hears(control, bob) == "bob"
    assert hears(control, boss) == "boss"
    lab.shut()
    assert lab.guard.replace_allowed(AllowList([client(pairs["boss"], "control")])) == 2
    assert lab.guard.allowed.rights_of("bob") == frozenset(), "what is on its way has no right any more"
    lab.open()
    assert until(lambda: len(connections) == 1)
    boss.send(b"back again")
    assert receive(control, b"back again", DEADLINE_MS) == "boss"
    assert hears_nothing(control, bob)
    assert hears_nothing(control, lab.connect(control, "bob"))


def test_a_longer_list_disturbs_nobody(lab: Lab, allowed: AllowList, pairs: dict[str, KeyPair]) -> None:
    control, _ = lab.serve(CONTROL)
    lab.open()
    bob = lab.connect(control, "bob")
    assert hears(control, bob) == "bob"
    lab.shut()
    longer = AllowList([*allowed.clients.values(), client(pairs["eve"], "listen")])
    assert lab.guard.replace_allowed(longer) == 0
    lab.open()
    assert hears(control, lab.connect(control, "eve")) == "eve"
    assert hears(control, bob) == "bob"


# -- limits ----------------------------------------------------------------------------------------


def test_no_more_clients_than_there_are_places(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    plain, _ = lab.serve(CONTROL.local, clients_max=3)
    lab.open()
    inside = [lab.connect(plain) for _ in range(3)]
    assert [hears(plain, one) for one in inside] == [""] * 3
    late = lab.connect(plain)
    assert hears_nothing(plain, late)
    assert "too many clients" in lines(caplog)[0]
    inside[0].close()
    # it has asked to wait: it comes in by itself once there is room
    assert receive(plain, b"nothing", DEADLINE_MS) == ""
    assert hears(plain, inside[1]) == ""


def test_nobody_takes_all_places(lab: Lab) -> None:
    control, _ = lab.serve(CONTROL, clients_max=16)
    lab.open()
    greedy = [lab.connect(control, "bob") for _ in range(20)]
    for one in greedy:
        one.send(b"hello")
    assert [receive(control, b"hello", DEADLINE_MS) for _ in range(4)] == ["bob"] * 4
    assert not control.poll(SHORT_MS), "a quarter of the places is enough for one"
    assert hears(control, lab.connect(control, "boss")) == "boss"


def test_strangers_on_the_machine_leave_room_for_the_socket_file(lab: Lab, tmp_path: Path) -> None:
    plain, connections = lab.serve(CONTROL.local, clients_max=2)
    lab.open()
    strangers = [lab.connect(plain) for _ in range(2)]
    assert [hears(plain, one) for one in strangers] == [""] * 2
    plain.bind(f"ipc://{tmp_path}/x.sock")
    assert hears(plain, lab.connect(plain)) == ""
    assert connections._places == {False: 2, True: 1}


def test_after_any_coming_and_going_the_count_is_right(lab: Lab, rng: np.random.Generator) -> None:
    control, connections = lab.serve(CONTROL, clients_max=1_000)
    lab.open()
    there: list[Sock | socket.socket] = []
    for _ in range(150):
        choice = rng.random()
        if choice < 0.4 and there:
            there.pop(int(rng.integers(len(there)))).close()
        elif choice < 0.55:
            there.append(socket.create_connection(address_of(control), timeout=10))
        else:
            there.append(lab.connect(control, ["bob", "boss", "eve"][int(rng.integers(3))]))
        if rng.random() < 0.2:
            assert hears(control, lab.connect(control, "boss"), b"x") == "boss"
    for one in there:
        one.close()
    lab.close_clients()
    assert until(lambda: len(connections) == 0)
    assert not +connections._places
    assert not connections._places_of


def test_connections_that_say_nothing_do_not_keep_others_out(lab: Lab) -> None:
    control, connections = lab.serve(CONTROL, clients_max=5)
    lab.open()
    silent = [socket.create_connection(address_of(control), timeout=10) for _ in range(40)]
    try:
        assert until(lambda: len(connections) <= 2 * 5), "they would use up the descriptors"
        assert hears(control, lab.connect(control, "boss")) == "boss"
    finally:
        for one in silent:
            one.close()
    assert until(lambda: len(connections) == 1)


def test_a_message_that_is_too_long_ends_the_connection(lab: Lab) -> None:
    control, _ = lab.serve(CONTROL, message_max_bytes=1000)
    lab.open()
    bob, boss = lab.connect(control, "bob"), lab.connect(control, "boss")
    assert hears(control, bob, b"x" * 900) == "bob"
    assert hears(control, boss) == "boss"
    bob.send(b"x" * 100_000)
    assert not control.poll(SHORT_MS)
    assert hears(control, boss) == "boss", "the others notice nothing"


def test_a_storm_of_strangers_does_not_stop_the_others(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    control, _ = lab.serve(CONTROL)
    lab.open()
    boss = lab.connect(control, "boss")
    assert hears(control, boss) == "boss"
    for _ in range(50):
        lab.connect(control, "eve")
        assert hears(control, boss) == "boss"
    assert hears(control, lab.connect(control, "bob")) == "bob"
    assert len(lines(caplog)) == 1


def test_places_are_free_again_even_if_zeromq_forgot_to_say_so(lab: Lab) -> None:
    plain, connections = lab.serve(CONTROL.local, clients_max=2)
    lab.open()
    one = lab.connect(plain)
    assert hears(plain, one) == ""
    lab.shut()
    connections._door[999_999] = Connection("127.0.0.1", inode=12345, since_s=0.0)
    connections._enter(999_999, "")
    lab.open()
    assert hears(plain, lab.connect(plain)) == ""


# -- the answers, one by one -----------------------------------------------------------------------


def test_nothing_but_the_right_key_is_let_in(allowed: AllowList, pairs: dict[str, KeyPair]) -> None:
    from zmq.utils import z85

    raw = {name: z85.decode(pair.public.encode()) for name, pair in pairs.items()}
    for domain in (LISTEN, CONTROL, SEND):
        for name in pairs:
            expected = bool(allowed.rights_of(name) & domain.rights)
            verdict = judge(allowed, domain, b"CURVE", [raw[name]])
            assert (verdict.status == b"200") == expected, (domain.name, name)
        for mechanism, credentials in (
            (b"NULL", []),
            (b"NULL", [raw["boss"]]),
            (b"PLAIN", [b"boss", b"x"]),
            (b"GSSAPI", [raw["boss"]]),
            (b"CURVE", []),
            (b"CURVE", [b""]),
            (b"CURVE", [raw["boss"][:-1]]),
            (b"CURVE", [raw["boss"] + b"x"]),
        ):
            assert judge(allowed, domain, mechanism, credentials).status == b"400"


@pytest.mark.parametrize(
    "parts",
    [
        [b""],
        [b"1.0"],
        [b"1.0", b"7", b"control", b"", b""],
        [b"2.0", b"7", b"control", b"127.0.0.1", b"", b"CURVE", b"k" * 32],
        [b"1.0", b"7", b"elsewhere", b"127.0.0.1", b"", b"CURVE", b"k" * 32],
        [b"1.0", b"7", b"", b"127.0.0.1", b"", b"NULL"],
        [b"1.0", b"7", b"control", b"\xff\xfe", b"\xff", b"\xff", b"\xff"],
        [b"1.0", b"7", b"control", b"localhost:", b"", b"CURVE", b"k" * 32],
    ],
)
def test_nonsense_at_the_door_is_answered_with_no(lab: Lab, parts: list[bytes]) -> None:
    lab.serve(CONTROL)
    with lab.context.socket(zmq.REQ) as asking:
        asking.setsockopt(zmq.LINGER, 0)
        asking.connect(PLACE)
        asking.send_multipart(parts)
        assert until(lambda: bool(lab.guard._door.socket.poll(1)))
        lab.guard.handle()
        answer = asking.recv_multipart()
    assert answer[2] in {b"400", b"500"}
    assert answer[4] == b""


def test_a_fault_of_our_own_lets_nobody_in_and_stops_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    control, _ = lab.serve(CONTROL)
    monkeypatch.setattr(zap, "judge", lambda *_: 1 / 0)
    lab.open()
    assert hears_nothing(control, lab.connect(control, "bob"))
    assert "a fault in this program" in lines(caplog)[0]
    monkeypatch.undo()
    assert hears(control, lab.connect(control, "bob")) == "bob"


def test_both_families_of_addresses_at_one_door(lab: Lab) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    control, connections = lab.serve(CONTROL, "tcp://[::]:*", ipv6=True)
    lab.open()
    port = address_of(control)[1]
    for host in ("127.0.0.1", "[::1]"):
        assert hears(control, lab.connect(f"tcp://{host}:{port}", "bob")) == "bob"
    assert connections._places_of[False, "bob"] == 2, "the check knows them by other addresses than the count"


def test_a_guard_that_is_used_wrongly(lab: Lab, pairs: dict[str, KeyPair]) -> None:
    lab.serve(CONTROL)
    server = lab.make(lab.context, zmq.ROUTER)
    limits: dict[str, Any] = {"clients_max": 1, "message_max_bytes": 1}
    for domain, keys in ((CONTROL, pairs["daemon"]), (SEND, None), (SEND.local, pairs["daemon"])):
        with pytest.raises(ValueError, match="domain"):
            lab.guard.protect(server, domain, keys, **limits)
    with pytest.raises(zmq.ZMQError):
        Guard(lab.context)  # two at one door


# -- what clients see ------------------------------------------------------------------------------


def trouble_of(lab: Lab, server: Sock | str, who: str | None, knows: str = "daemon") -> Trouble | None:
    """What a client's watch has to say, once it has something to say."""
    with contextlib.closing(Watched(lab, server, who, knows)) as watched:
        assert until(lambda: watched.watch.read() is not None or watched.watch.connected)
        return watched.watch.trouble


class Watched:
    """A client and its watch."""

    def __init__(self, lab: Lab, server: Sock | str, who: str | None, knows: str = "daemon") -> None:
        self.socket = lab.connect(server, who, knows=knows, watched=True)
        self.watch = lab.watches[-1]

    def close(self) -> None:
        self.watch.close()
        self.socket.close()


def test_a_client_knows_why_it_is_not_connected(lab: Lab) -> None:
    control, _ = lab.serve(CONTROL)
    plain, _ = lab.serve(CONTROL.local)
    lab.open()
    assert trouble_of(lab, control, "bob") is None
    assert trouble_of(lab, control, "eve") is REFUSED
    assert trouble_of(lab, control, "mic") is REFUSED
    assert trouble_of(lab, control, "bob", knows="eve") is MISFIT
    assert trouble_of(lab, control, None) is MISFIT
    assert trouble_of(lab, plain, "bob") is MISFIT
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    assert trouble_of(lab, f"tcp://127.0.0.1:{port}", "bob") is UNREACHED
    assert [trouble.is_final for trouble in (REFUSED, MISFIT, UNREACHED, LOST)] == [True, False, False, False]


def test_a_client_knows_when_the_connection_is_lost_and_back(lab: Lab) -> None:
    control, _ = lab.serve(CONTROL)
    lab.open()
    with contextlib.closing(Watched(lab, control, "bob")) as watched:
        assert until(lambda: watched.watch.read() is None and watched.watch.connected)
        address = control.getsockopt_string(zmq.LAST_ENDPOINT)
        control.unbind(address)
        lab.shut()
        lab.guard.replace_allowed(AllowList())  # closes what is open
        assert until(lambda: watched.watch.read() is not None)
        assert not watched.watch.connected


# -- floods ----------------------------------------------------------------------------------------


def test_who_subscribes_without_end_is_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, raw_event: list[bytes]
) -> None:
    context: zmq.Context[Sock] = zmq.Context()
    guard = Guard(context)
    endpoint = f"ipc://{tmp_path}/e"
    with Publisher([endpoint], context=context, guard=guard) as publisher:
        clients: zmq.Context[Sock] = zmq.Context()
        flooding, quiet = clients.socket(zmq.SUB), clients.socket(zmq.SUB)
        for one in (flooding, quiet):
            one.setsockopt(zmq.LINGER, 0)
            one.setsockopt(zmq.RCVTIMEO, DEADLINE_MS)
            one.setsockopt(zmq.SNDHWM, 0)  # else it would leave most of them out itself
            one.setsockopt(zmq.RECONNECT_IVL, 60_000)
            one.connect(endpoint)
        quiet.subscribe("sound.")

        def turned() -> bool:
            guard.handle()
            publisher.drain()
            return True

        assert until(lambda: turned() and b"sound." in publisher.wanted)
        for number in range(5_000):
            flooding.subscribe(f"{number:020}")
        assert until(lambda: turned() and bool(lines(caplog)))
        assert lines(caplog)[0].startswith("listen-local: cut off a client from user ")
        assert until(lambda: turned() and publisher.wanted == {b"sound."})
        publisher.send_parts(raw_event)
        assert quiet.recv_multipart() == raw_event
        flooding.close()
        quiet.close()
        clients.term()
    guard.close()
    context.term()


def greet(server: Sock) -> socket.socket:
    """A client that speaks ZMTP by itself, with the handshake behind it: no keys."""
    one = socket.create_connection(address_of(server), 10)
    one.sendall(GREETING_NULL)
    socket_type = bytes([11]) + b"Socket-Type" + struct.pack(">I", 6) + b"DEALER"
    ready = bytes([5]) + b"READY" + socket_type
    one.sendall(b"\x04" + bytes([len(ready)]) + ready)
    answer = b""
    while b"READY" not in answer:
        answer += one.recv(1_000)
    return one


def a_frame(length: int, *, more: bool) -> bytes:
    return struct.pack(">BQ", 3 if more else 2, length) + bytes(length)


def test_who_never_finishes_a_message_is_cut_off(
    lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ZeroMQ would keep part after part for ever, and tell nobody."""
    monkeypatch.setattr(connections, "UNFINISHED_MAX_BYTES", 100_000)
    server, inside = lab.serve(CONTROL.local)
    lab.open()
    with greet(server) as endless, greet(server) as busy:
        assert until(lambda: len(inside) == 2)
        cut = False
        for _ in range(400):
            try:
                endless.sendall(a_frame(10_000, more=True))
            except OSError:
                cut = True
                break
            busy.sendall(a_frame(10_000, more=True) + a_frame(0, more=False))
            frames = server.recv_multipart(copy=False)
            inside.note_message(frames[-1])
            time.sleep(0.02)
        assert cut
        (told,) = lines(caplog)
        assert told.startswith("control-local: cut off a client from 127.0.0.1: it sent ")
        assert told.endswith(" MB and finished no message")
        assert until(lambda: len(inside) == 1)
        busy.sendall(a_frame(5, more=False))
        assert server.recv_multipart()[1:] == [bytes(5)]


def test_heartbeats_are_no_endless_message(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscriber says nothing for weeks, but that it is there."""
    monkeypatch.setattr(connections, "UNFINISHED_MAX_BYTES", 3_000)
    monkeypatch.setattr(connections, "SWEEP_S", 0.05)
    server, _ = lab.serve(CONTROL.local)
    lab.open()
    with greet(server) as quiet:
        ping = b"\4\7\4PING\0\0"
        for _ in range(1_500):  # 13,500 bytes in a second and a half
            quiet.sendall(ping)
            time.sleep(0.001)
        quiet.sendall(a_frame(5, more=False))
        assert server.recv_multipart()[1:] == [bytes(5)]


@pytest.fixture
def raw_event() -> list[bytes]:
    """A message with a topic; what it says does not matter here."""
    return [b"sound.dog-bark.kitchen", b"{}"]

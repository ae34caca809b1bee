"""Requests over real sockets: every verb, nonsense, limits, and who may do what."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.client import Control, ControlError
from streamer.delivery import outlet as outlet_module
from streamer.delivery.control import BURST, REPLIES_MAX
from streamer.delivery.journal import Journal
from streamer.delivery.messages import Event, MessageError, decode, encode
from streamer.delivery.outlet import Outlet
from streamer.delivery.requests import (
    FRAME_MAX_BYTES,
    REPLY_MAX_BYTES,
    REPLY_OF,
    REQUEST_MAX_BYTES,
    VERBS,
    Code,
    Done,
    ErrorReply,
    Labels,
    LabelsReply,
    Mute,
    MuteReply,
    Ping,
    PingReply,
    Reload,
    ReloadReply,
    Replay,
    ReplayReply,
    Reply,
    Request,
    RequestError,
    Shutdown,
    Status,
    StatusReply,
    Streams,
    StreamsReply,
    Threshold,
    ThresholdReply,
    Unmute,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    error_reply,
)

DEADLINE_S = 10.0
RUN = "5f3a9c0e12b4d678"


@pytest.fixture
def outlet(runtime: Path, tmp_path: Path) -> Iterator[Outlet]:
    """A running outlet with a journal, on ipc and on loopback."""
    journal = Journal(tmp_path / "state" / "journal.db", sync="normal", max_age_days=36_500)
    made = Outlet(
        RUN,
        journal,
        publish=[f"ipc://{runtime}/events.sock"],
        control=[f"ipc://{runtime}/control.sock", "tcp://127.0.0.1:*"],
    )
    made.start()
    yield made
    made.close()


class Client:
    """A DEALER that asks and waits."""

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self.socket = socket
        socket.connect(endpoint)

    def raw(self, *frames: bytes) -> list[bytes]:
        self.socket.send_multipart(frames)
        return self.socket.recv_multipart()

    def ask(self, request: Request) -> tuple[Reply, list[bytes]]:
        first, *rest = self.raw(encode_request(request))
        return decode_reply(first, REPLY_OF[type(request)]), rest

    def fault(self, *frames: bytes) -> str:
        reply = decode_reply(self.raw(*frames)[0], Done)
        assert isinstance(reply, ErrorReply), reply
        assert reply.error.message
        assert "\n" not in reply.error.message
        return reply.error.code


@pytest.fixture
def client(outlet: Outlet, raw_socket: Callable[[int], zmq.Socket[bytes]]) -> Client:
    """A client on the socket file, which may do everything."""
    return Client(raw_socket(zmq.DEALER), outlet.control_on[0])


@pytest.fixture
def listener(outlet: Outlet, raw_socket: Callable[[int], zmq.Socket[bytes]]) -> Client:
    """A client on loopback."""
    return Client(raw_socket(zmq.DEALER), outlet.control_on[1])


def publish(outlet: Outlet, make_event: Any, count: int, **changes: Any) -> list[Event]:
    """So many events with the next numbers, delivered before the next request is answered."""
    begin = outlet.head_seq + 1
    outlet.head_seq += count
    events = [
        make_event(journal=outlet.journal_name, seq=seq, **changes) for seq in range(begin, begin + count)
    ]
    for event in events:
        outlet.put(event)
    outlet.flush()
    outlet.wait_kept(outlet.head_seq)  # it takes several turns to write many, and answers between them
    return events


# -- every verb ------------------------------------------------------------------------------------------


def test_ping(outlet: Outlet, client: Client, make_event: Any) -> None:
    publish(outlet, make_event, 3)
    reply, rest = client.ask(Ping(id="one"))
    assert isinstance(reply, PingReply)
    assert (reply.v, reply.id, reply.ok, reply.run, reply.journal) == (
        1, "one", True, RUN, outlet.journal_name,
    )  # fmt: skip
    assert reply.seq == 3
    assert rest == []


def test_status_and_streams(outlet: Outlet, client: Client, make_event: Any, make_health: Any) -> None:
    publish(outlet, make_event, 2)
    for stream in ("kitchen", "hall", "kitchen"):
        outlet.put(make_health(stream=stream, detail="new", seq=2))
    outlet.put(make_health(stream="hall", state="stopping", final=True))
    outlet.flush()
    reply, _ = client.ask(Status())
    while isinstance(reply, StatusReply) and reply.sent < 6:  # a request may overtake what is on its way
        reply, _ = client.ask(Status())
    assert isinstance(reply, StatusReply)
    assert [(health.stream, health.detail) for health in reply.streams] == [("kitchen", "new")]
    assert reply.streams[0].journal == outlet.journal_name
    assert (reply.streams[0].journal_state, reply.streams[0].oldest_seq) == ("ok", 1)
    kept = reply.journal
    assert (kept.journal, kept.seq, kept.oldest_seq, kept.journal_state, kept.journal_pending) == (
        outlet.journal_name, 2, 1, "ok", 0,
    )  # fmt: skip
    assert kept.path.endswith("/state/journal.db")
    assert kept.size_bytes > 0
    assert (reply.publishing_on, reply.control_on) == (outlet.publishing_on, outlet.control_on)
    assert (reply.sent, reply.overflows, reply.frames_dropped, reply.subscriptions) == (6, 0, 0, [])
    reply, _ = client.ask(Streams())
    assert isinstance(reply, StreamsReply)
    assert [(info.stream, info.state, info.model) for info in reply.streams] == [
        ("kitchen", "listening", "default")
    ]


def test_status_tells_subscriptions(
    outlet: Outlet, client: Client, raw_socket: Callable[[int], zmq.Socket[bytes]]
) -> None:
    subscriber = raw_socket(zmq.SUB)
    subscriber.connect(outlet.publishing_on[0])
    for topic in ("sound.", "frame.kitchen", b"\xff"):
        subscriber.subscribe(topic)
    deadline = time.monotonic() + DEADLINE_S
    while True:
        reply, _ = client.ask(Status())
        assert isinstance(reply, StatusReply)
        if reply.subscriptions == ["frame.kitchen", "sound.", "\ufffd"]:
            break
        assert time.monotonic() < deadline, reply.subscriptions
    assert outlet.wants_frames("kitchen")
    assert not outlet.wants_frames("hall")


def test_replay(outlet: Outlet, client: Client, make_event: Any) -> None:
    events = publish(outlet, make_event, 10)
    reply, bodies = client.ask(Replay(since_seq=4, limit=3))
    assert isinstance(reply, ReplayReply)
    assert (reply.journal, reply.first_seq, reply.through_seq, reply.head_seq, reply.oldest_seq) == (
        outlet.journal_name, 5, 7, 10, 1,
    )  # fmt: skip
    assert reply.more
    assert reply.lost == []
    assert [decode([b"sound.dog-bark.kitchen", body]) for body in bodies] == events[4:7]
    reply, bodies = client.ask(Replay(since_seq=reply.through_seq))
    assert isinstance(reply, ReplayReply)
    assert (reply.first_seq, reply.through_seq, reply.more, len(bodies)) == (8, 10, False, 3)
    reply, bodies = client.ask(Replay(since_seq=10))
    assert isinstance(reply, ReplayReply)
    assert (reply.first_seq, reply.through_seq, reply.more, bodies) == (11, 10, False, [])


def test_replay_by_topic_and_time(outlet: Outlet, client: Client, make_event: Any) -> None:
    publish(outlet, make_event, 2)
    publish(outlet, make_event, 2, label="knock", time_utc="2026-01-31T12:00:05.000Z")
    reply, bodies = client.ask(Replay(topics=["sound.knock.", "keyword."]))
    assert isinstance(reply, ReplayReply)
    assert [json.loads(body)["seq"] for body in bodies] == [3, 4]
    assert (reply.first_seq, reply.through_seq) == (1, 4)
    reply, bodies = client.ask(Replay(since_utc="2026-01-31T12:00:04Z"))
    assert isinstance(reply, ReplayReply)
    assert [json.loads(body)["seq"] for body in bodies] == [3, 4]
    assert client.fault(encode_request(Replay(since_utc="yesterday"))) == "bad-request"
    assert client.fault(encode_request(Replay(since_utc="9" * 4_000))) == "bad-request"


def test_a_reply_has_a_bound(outlet: Outlet, client: Client, make_event: Any) -> None:
    publish(outlet, make_event, 1_500, model="m" * 500)
    since, seqs, pages = 0, [], 0
    while True:
        reply, bodies = client.ask(Replay(since_seq=since))
        assert isinstance(reply, ReplayReply)
        assert sum(len(body) for body in bodies) <= REPLY_MAX_BYTES
        seqs += [json.loads(body)["seq"] for body in bodies]
        pages += 1
        since = reply.through_seq
        if not reply.more:
            break
    assert seqs == list(range(1, 1_501))
    assert pages >= 5


def test_what_was_published_is_replayed_bit_for_bit(
    outlet: Outlet, client: Client, raw_socket: Callable[[int], zmq.Socket[bytes]], make_event: Any
) -> None:
    subscriber = raw_socket(zmq.SUB)
    subscriber.connect(outlet.publishing_on[0])
    subscriber.subscribe("sound.")
    deadline = time.monotonic() + DEADLINE_S
    while not outlet._wanted:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    publish(outlet, make_event, 5)
    live = [subscriber.recv_multipart()[1] for _ in range(5)]
    _, bodies = client.ask(Replay())
    assert bodies == live


COMMANDS: dict[type[Request], tuple[Request, Reply]] = {
    Labels: (Labels(), LabelsReply(labels=[])),
    Mute: (Mute(stream="kitchen"), MuteReply(streams=["kitchen"])),
    Unmute: (Unmute(), MuteReply(streams=[])),
    Threshold: (
        Threshold(label="hello", value=0.5),
        ThresholdReply(streams=["kitchen"], label="hello", threshold=0.5),
    ),
    Reload: (Reload(), ReloadReply(needs_restart=["model"])),
    Shutdown: (Shutdown(), Done()),
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_main_thread_answers_the_rest(outlet: Outlet, client: Client, kind: type[Request]) -> None:
    asked, answer = COMMANDS[kind]
    client.socket.send(encode_request(asked).replace(b'"id":""', b'"id":"seven"'))
    poller = zmq.Poller()
    poller.register(outlet.fileno(), zmq.POLLIN)
    assert poller.poll(DEADLINE_S * 1_000)
    (command,) = outlet.take_commands()
    assert type(command.request) is kind
    outlet.answer(command, answer)
    outlet.flush()
    (first,) = client.socket.recv_multipart()
    reply = decode_reply(first, REPLY_OF[kind])
    assert type(reply) is type(answer)
    assert reply.id == "seven"
    assert decode_request(encode_request(asked)) == asked


def test_every_verb_is_tested() -> None:
    answered_here = {Ping, Status, Streams, Replay}
    assert {*COMMANDS, *answered_here} == set(REPLY_OF)
    assert len(VERBS) == len(REPLY_OF)


def test_too_many_commands_wait(outlet: Outlet, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "COMMANDS_MAX", 3)
    for _ in range(3):
        client.socket.send(encode_request(Labels()))
    assert client.fault(encode_request(Labels())) == "busy"
    assert isinstance(client.ask(Ping())[0], PingReply), "others are answered all the same"


def test_commands_that_came_too_late_are_answered(outlet: Outlet, client: Client) -> None:
    client.socket.send(encode_request(Labels()))
    client.ask(Ping())
    outlet.close()
    reply = decode_reply(client.socket.recv(), LabelsReply)
    assert isinstance(reply, ErrorReply)
    assert (reply.error.code, reply.error.message) == ("not-available", "the daemon is stopping")


def test_without_a_journal_there_is_no_replay(
    runtime: Path, raw_socket: Callable[[int], zmq.Socket[bytes]], make_event: Any
) -> None:
    outlet = Outlet(RUN, None, publish=["tcp://127.0.0.1:*"], control=[f"ipc://{runtime}/control.sock"])
    outlet.start()
    try:
        client = Client(raw_socket(zmq.DEALER), outlet.control_on[0])
        assert (outlet.journal_name, outlet.head_seq) == ("", 0)
        publish(outlet, make_event, 2)
        assert client.fault(encode_request(Replay())) == "not-available"
        reply, _ = client.ask(Status())
        assert isinstance(reply, StatusReply)
        assert (reply.journal.journal_state, reply.journal.journal, reply.journal.seq) == ("off", "", 2)
    finally:
        outlet.close()


def test_a_req_socket_is_served_as_well(
    outlet: Outlet, raw_socket: Callable[[int], zmq.Socket[bytes]]
) -> None:
    socket = raw_socket(zmq.REQ)
    socket.connect(outlet.control_on[0])
    for _ in range(3):
        socket.send(b'{"v":1,"do":"ping"}')
        assert isinstance(decode_reply(socket.recv(), PingReply), PingReply)


# -- who may what ----------------------------------------------------------------------------------------


def test_loopback_may_listen_only(outlet: Outlet, listener: Client) -> None:
    for request in (Ping(), Status(), Streams(), Replay()):
        reply, _ = listener.ask(request)
        assert reply.ok
    for request in (Mute(), Unmute(), Threshold(label="a", value=None), Reload(), Shutdown()):
        reply, _ = listener.ask(request)
        assert isinstance(reply, ErrorReply)
        assert reply.error.code == "forbidden"
    assert outlet.take_commands() == []


# -- nonsense --------------------------------------------------------------------------------------------

NONSENSE = {
    b"": "bad-request",
    b"\0": "bad-request",
    b"ping": "bad-request",
    b"[]": "bad-request",
    b"null": "bad-request",
    b"{}": "bad-request",
    b'{"do":"ping"': "bad-request",
    b'{"v":1,"do":"dance"}': "unknown-verb",
    b'{"v":1,"do":""}': "unknown-verb",
    b'{"v":1,"do":7}': "bad-request",
    b'{"v":0,"do":"ping"}': "bad-request",
    b'{"v":2,"do":"ping"}': "bad-request",
    b'{"v":"1","do":"ping"}': "bad-request",
    b'{"v":1,"do":"ping","id":7}': "bad-request",
    b'{"v":1,"do":"ping","id":"' + b"x" * 65 + b'"}': "bad-request",
    b'{"v":1,"do":"replay","since_seq":-1}': "bad-request",
    b'{"v":1,"do":"replay","since_seq":1e99}': "bad-request",
    b'{"v":1,"do":"replay","since_seq":%d}' % 10**30: "bad-request",
    b'{"v":1,"do":"replay","limit":0}': "bad-request",
    b'{"v":1,"do":"replay","limit":1001}': "bad-request",
    b'{"v":1,"do":"replay","topics":"sound."}': "bad-request",
    b'{"v":1,"do":"replay","topics":[1]}': "bad-request",
    b'{"v":1,"do":"replay","topics":[' + b",".join([b'"x"'] * 101) + b"]}": "bad-request",
    b'{"v":1,"do":"mute","stream":"a.b"}': "bad-request",
    b'{"v":1,"do":"threshold","label":"a"}': "bad-request",
    b'{"v":1,"do":"threshold","label":"a","value":1}': "bad-request",
    b'{"v":1,"do":"threshold","label":"a","value":"0.5"}': "bad-request",
    b'{"v":1,"do":"\xff\xfe"}': "bad-request",
    b"[" * 60_000: "bad-request",
    b'{"v":1,"do":"ping","x":"' + b"x" * REQUEST_MAX_BYTES + b'"}': "too-large",
}


def test_nonsense_is_answered_with_its_fault(client: Client) -> None:
    for text, code in NONSENSE.items():
        assert client.fault(text) == code, text[:80]
    assert client.ask(Ping())[0].ok


def test_the_id_comes_back_with_the_fault_where_it_is_legible(client: Client) -> None:
    for text in (b'{"v":1,"id":"me","do":"dance"}', b'{"v":9,"id":"me","do":"ping"}', b'{"id":"me"}'):
        reply = decode_reply(client.raw(text)[0], Done)
        assert reply.id == "me", text


def test_unknown_fields_are_ignored(client: Client) -> None:
    assert client.raw(b'{"v":1,"do":"ping","later":{"added":[1,null]}}')[0].startswith(
        b'{"v":1,"id":"","ok":true'
    )


def test_frames_that_are_too_many(client: Client) -> None:
    ping = encode_request(Ping())
    assert client.fault(ping, ping) == "bad-request"
    assert client.fault(b"", ping, ping) == "bad-request"
    assert client.fault(*[b"x"] * 500) == "bad-request"
    assert client.ask(Ping())[0].ok


def test_a_frame_beyond_all_measure_cuts_the_connection_only(
    outlet: Outlet, client: Client, raw_socket: Callable[[int], zmq.Socket[bytes]]
) -> None:
    other = Client(raw_socket(zmq.DEALER), outlet.control_on[0])
    client.socket.setsockopt(zmq.RCVTIMEO, 200)
    client.socket.send(b"x" * (FRAME_MAX_BYTES + 1))
    with pytest.raises(zmq.Again):
        client.socket.recv()
    assert other.ask(Ping())[0].ok


def test_random_bytes_do_no_harm(client: Client, rng: np.random.Generator) -> None:
    # never an empty first frame: that is how REQ sockets begin, and the answer begins so, too
    for number in range(80):
        frames = [rng.bytes(int(rng.integers(1, 300))) for _ in range(int(rng.integers(1, 4)))]
        assert client.fault(*frames) == "bad-request", number
    assert client.ask(Ping())[0].ok


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_break_the_parser(text: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        decode_request(text)
    reply = error_reply(caught.value)
    assert decode_reply(encode_reply(reply), Done) == reply


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["v", "id", "do", "since_seq", "since_utc", "topics", "limit", "stream", "label", "value"]
)


@settings(deadline=None)
@given(st.sampled_from(VERBS), st.dictionaries(fields, json_like, max_size=4))
def test_nearly_right_requests_never_break_the_parser(verb: str, changes: dict[str, Any]) -> None:
    text = json.dumps({"v": 1, "do": verb} | changes).encode()
    try:
        request = decode_request(text)
    except RequestError as error:
        reply = error_reply(error)
    else:
        assert decode_request(encode_request(request)) == request
        return
    assert decode_reply(encode_reply(reply), Done) == reply


@settings(deadline=None)
@given(st.binary(max_size=200) | json_like.map(lambda value: json.dumps(value).encode()))
def test_no_reply_breaks_the_client(text: bytes) -> None:
    for kind in set(REPLY_OF.values()):
        with pytest.raises(MessageError, match=r"\A.*\Z"):
            decode_reply(text, kind)


# -- limits ----------------------------------------------------------------------------------------------


def test_who_asks_too_often_is_told_so_and_others_are_served(
    outlet: Outlet, client: Client, raw_socket: Callable[[int], zmq.Socket[bytes]]
) -> None:
    other = Client(raw_socket(zmq.DEALER), outlet.control_on[0])
    codes = []
    for _ in range(BURST + 200):
        reply = decode_reply(client.raw(encode_request(Ping()))[0], PingReply)
        codes.append(reply.error.code if isinstance(reply, ErrorReply) else "ok")
    assert codes[:BURST] == ["ok"] * BURST
    assert codes.count("busy") > 50
    assert other.ask(Ping())[0].ok


def test_the_library_learns_that_it_asks_too_often(outlet: Outlet) -> None:
    """The refusal names its request: without that it would be nobody's answer."""
    with Control(outlet.control_on[0]) as control:

        def ask_for_ever() -> None:
            while True:
                control.ping()

        with pytest.raises(ControlError) as refused:
            ask_for_ever()
    assert refused.value.code == "busy"


def test_a_flood_does_not_hold_up_events(
    outlet: Outlet, client: Client, raw_socket: Callable[[int], zmq.Socket[bytes]], make_event: Any
) -> None:
    subscriber = raw_socket(zmq.SUB)
    subscriber.connect(outlet.publishing_on[0])
    subscriber.subscribe("sound.")
    client.socket.setsockopt(zmq.SNDHWM, 0)
    for _ in range(5_000):
        client.socket.send(encode_request(Replay()))
    deadline = time.monotonic() + DEADLINE_S
    while not outlet._wanted:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    publish(outlet, make_event, 20)
    assert [json.loads(subscriber.recv_multipart()[1])["seq"] for _ in range(20)] == list(range(1, 21))


def test_a_client_that_never_reads_harms_nobody(
    outlet: Outlet, client: Client, raw_socket: Callable[[int], zmq.Socket[bytes]], make_event: Any
) -> None:
    publish(outlet, make_event, 900, model="m" * 200)
    deaf = raw_socket(zmq.DEALER)
    deaf.setsockopt(zmq.RCVHWM, 1)
    deaf.connect(outlet.control_on[0])
    for _ in range(4 * REPLIES_MAX):
        deaf.send(encode_request(Replay()))
    for _ in range(20):
        assert client.ask(Ping())[0].ok
    reply, bodies = client.ask(Replay(since_seq=890))
    assert reply.ok
    assert len(bodies) == 10


# -- the words -------------------------------------------------------------------------------------------

PROTOCOL = (Path(__file__).parents[2] / "PROTOCOL.md").read_text()
CONTROL_SECTION = PROTOCOL.split("\n## Control\n")[1].split("\n## ")[0]


def test_the_conversations_in_the_protocol_are_real() -> None:
    talks = re.findall(r"^> (.*)\n< (.*)\n(?:< (.*)\n)?", CONTROL_SECTION, re.MULTILINE)
    assert len(talks) == 3
    for asked, answer, body in talks:
        request = decode_request(asked.encode())
        reply = decode_reply(answer.encode(), REPLY_OF[type(request)])
        assert encode_reply(reply) == answer.encode()
        assert reply.id == request.id
        if body:
            event = decode([b"sound.dog-bark.kitchen", body.encode()])
            assert encode(event)[1] == body.encode()


def test_the_protocol_names_every_verb_code_and_field() -> None:
    rows = re.findall(r"^\| (`.*`) \| (listen|control) \|([^|]*)\|([^|]*)\|$", CONTROL_SECTION, re.MULTILINE)
    told = {verb: row for row in rows for verb in re.findall(r"`(\w+)`", row[0])}
    assert set(told) == set(VERBS)
    for kind, reply in REPLY_OF.items():
        verb = str(kind.__struct_config__.tag)
        assert told[verb][1] == kind.right
        own = set(kind.__struct_fields__) - set(Request.__struct_fields__)
        assert own <= set(re.findall(r"`(\w+)`", told[verb][2])), verb
        if kind is not Replay:
            fields = set(reply.__struct_fields__) - set(Reply.__struct_fields__)
            assert fields <= set(re.findall(r"`(\w+)`", told[verb][3])), verb
    tables = set(re.findall(r"^\| `(\w+)` \|", CONTROL_SECTION.split("### Replay")[1], re.MULTILINE))
    assert tables >= set(Replay.__struct_fields__) - set(Request.__struct_fields__)
    assert tables >= set(ReplayReply.__struct_fields__) - set(Reply.__struct_fields__)
    codes = CONTROL_SECTION.split("| code |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", codes, re.MULTILINE)) == set(get_args(Code))

"""Control and AsyncControl against real sockets: a scripted ROUTER, and the model of a daemon."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from streamer.client import Control, ControlError, Credentials, Event, MessageError
from streamer.client.aio import AsyncControl
from streamer.delivery.requests import (
    LabelsReply,
    MuteReply,
    ReloadReply,
    StreamInfo,
    StreamsReply,
    ThresholdReply,
    encode_reply,
)
from streamer.errors import EXIT_FAILURE, EXIT_SOCKET, SocketError
from streamer.security.keys import make_pair
from tests.support.fake_daemon import FakeDaemon

DEADLINE_S = 20.0
Script = Callable[[dict[str, Any]], list[list[bytes]]]


class Router:
    """Answers each request with the messages that a script makes of it."""

    def __init__(self, address: str, script: Script) -> None:
        self.requests: list[dict[str, Any]] = []
        self._address, self._script = address, script
        self.asked = threading.Event()
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="router")
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
            socket.bind(self._address)
            self._ready.set()
            while not self._stop.is_set():
                if socket.poll(20):
                    peer, frame = socket.recv_multipart()
                    request = json.loads(frame)
                    self.requests.append(request)
                    for parts in self._script(request):
                        socket.send_multipart([peer, *parts])
                    self.asked.set()
            socket.setsockopt(zmq.LINGER, 1_000)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)


@pytest.fixture
def routed(runtime: Path) -> Iterator[Callable[[Script], Router]]:
    """Starts a router at control.sock."""
    opened: list[Router] = []

    def start(script: Script) -> Router:
        opened.append(Router(f"ipc://{runtime}/control.sock", script))
        return opened[-1]

    yield start
    for router in opened:
        router.close()


def answers(request: dict[str, Any]) -> list[list[bytes]]:
    """A daemon that obeys."""
    name = request["id"]
    told = [request["stream"]] if request.get("stream") else ["kitchen", "hall"]
    info = StreamInfo(stream="kitchen", state="listening", detail="", source="a test", model="tiny")
    replies = {
        "streams": StreamsReply(id=name, streams=[info]),
        "labels": LabelsReply(id=name, labels=[]),
        "mute": MuteReply(id=name, streams=told),
        "unmute": MuteReply(id=name, streams=told),
        "threshold": ThresholdReply(
            id=name, streams=told, label=request.get("label", ""), threshold=request.get("value") or 0.5
        ),
        "reload": ReloadReply(id=name, needs_restart=["model"]),
    }
    return [[encode_reply(replies[request["do"]])]]


def test_each_verb(runtime: Path, routed: Any) -> None:
    router = routed(answers)
    with Control(f"ipc://{runtime}/control.sock", timeout_s=DEADLINE_S) as control:
        assert [stream.stream for stream in control.streams()] == ["kitchen"]
        assert control.labels() == []
        assert control.mute("hall") == ["hall"]
        assert control.unmute() == ["kitchen", "hall"]
        assert control.threshold("hello", 0.8, "hall").threshold == 0.8
        assert control.threshold("hello", None).streams == ["kitchen", "hall"]
        assert control.reload() == ["model"]
    asked = [{name: value for name, value in request.items() if name != "id"} for request in router.requests]
    assert asked == [
        {"do": "streams", "v": 1},
        {"do": "labels", "v": 1},
        {"do": "mute", "v": 1, "stream": "hall"},
        {"do": "unmute", "v": 1, "stream": None},
        {"do": "threshold", "v": 1, "label": "hello", "value": 0.8, "stream": "hall"},
        {"do": "threshold", "v": 1, "label": "hello", "value": None, "stream": None},
        {"do": "reload", "v": 1},
    ]
    names = [request["id"] for request in router.requests]
    assert len(set(names)) == len(names)


def test_past_events_can_be_had_by_the_page(runtime: Path) -> None:
    with FakeDaemon(runtime) as daemon, Control(daemon.control, timeout_s=DEADLINE_S) as control:
        daemon.hear(5)
        assert control.ping().seq == 5
        seen: list[int] = []
        page = control.replay(0)
        while page.events:
            seen += [event.seq for event in page.events]
            assert all(isinstance(event, Event) for event in page.events)
            page = control.replay(page.last)
        assert seen == [1, 2, 3, 4, 5]
        assert control.replay(since_utc="2000-01-01T00:00:00Z").reply.first_seq == 1


def test_a_refusal_is_an_error(runtime: Path) -> None:
    with FakeDaemon(runtime) as daemon, Control(daemon.control, timeout_s=DEADLINE_S) as control:
        for refused in (control.shutdown, control.mute):
            with pytest.raises(ControlError) as raised:
                refused()
            assert (raised.value.code, str(raised.value)) == ("forbidden", "you may not; ask who may")
            assert raised.value.status == EXIT_FAILURE


def test_nobody_answers(runtime: Path) -> None:
    with FakeDaemon(runtime, control=False) as daemon:
        for address in (daemon.control, f"ipc://{runtime}/nobody.sock"):
            with Control(address, timeout_s=0.1) as control:
                began_s = time.monotonic()
                with pytest.raises(ControlError, match=r"no answer from .* within 0\.1 s; is the") as raised:
                    control.ping()
                assert time.monotonic() - began_s >= 0.1
                assert (raised.value.code, raised.value.status) == ("no-answer", EXIT_SOCKET)


def test_what_was_broken_off_is_not_asked_of_a_later_daemon(runtime: Path, routed: Any) -> None:
    class BrokenOff(Control):
        def _wait(self, flags: int, deadline_s: float) -> None:
            if flags == zmq.POLLIN and not broken:
                broken.append(True)
                raise KeyboardInterrupt
            super()._wait(flags, deadline_s)

    broken: list[bool] = []
    with BrokenOff(f"ipc://{runtime}/control.sock", timeout_s=DEADLINE_S) as control:
        with pytest.raises(KeyboardInterrupt):
            control.mute()
        router = routed(answers)
        assert control.unmute() == ["kitchen", "hall"]
    assert [request["do"] for request in router.requests] == ["unmute"]


def test_a_closed_control_leaves_a_cancelled_request_cancelled(runtime: Path) -> None:
    async def give_up() -> None:
        control = AsyncControl(f"ipc://{runtime}/control.sock", timeout_s=DEADLINE_S)
        asking = asyncio.create_task(control.mute())
        await asyncio.sleep(0.05)
        asking.cancel()
        control.close()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(give_up())


def test_it_asks_again_and_again() -> None:
    """With keys too, where each connection is watched under a name of its own."""
    own = make_pair("laptop")
    keys = Credentials(make_pair("daemon").public, own.public, own.secret)
    with Control("tcp://127.0.0.1:9", timeout_s=0.0, credentials=keys) as control:
        for _ in range(50):
            with pytest.raises(ControlError) as raised:
                control.ping()
            assert raised.value.code == "no-answer"


class SlowToRead(Control):
    """Looks for its answer only after a while, as on a busy machine."""

    def _wait(self, flags: int, deadline_s: float) -> None:
        time.sleep(0.2)
        super()._wait(flags, deadline_s)


def test_the_last_word_of_a_daemon_is_read_after_it_has_gone(runtime: Path, routed: Any) -> None:
    with SlowToRead(f"ipc://{runtime}/control.sock", timeout_s=DEADLINE_S) as control:
        router = routed(answers)
        leaving = threading.Thread(target=lambda: (router.asked.wait(DEADLINE_S), router.close()))
        leaving.start()
        assert control.mute() == ["kitchen", "hall"]
        leaving.join()


def test_what_nobody_answered_is_not_asked_of_a_later_daemon(runtime: Path, routed: Any) -> None:
    with Control(f"ipc://{runtime}/control.sock", timeout_s=0.1) as control:
        with pytest.raises(ControlError, match="no answer"):
            control.mute()
        control.timeout_s = DEADLINE_S
        router = routed(answers)
        assert control.unmute() == ["kitchen", "hall"]
    assert [request["do"] for request in router.requests] == ["unmute"]


def test_what_was_given_up_is_not_asked_of_a_later_daemon(runtime: Path, routed: Any) -> None:
    async def ask() -> Router:
        async with AsyncControl(f"ipc://{runtime}/control.sock", timeout_s=DEADLINE_S) as control:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(control.mute(), 0.1)
            router: Router = routed(answers)
            assert await control.unmute() == ["kitchen", "hall"]
            return router

    assert [request["do"] for request in asyncio.run(ask()).requests] == ["unmute"]


def test_a_late_answer_to_another_question_is_left_out(runtime: Path, routed: Any) -> None:
    def late(request: dict[str, Any]) -> list[list[bytes]]:
        others = ReloadReply(id="another", needs_restart=[]), StreamsReply(id="another", streams=[])
        return [[b"{"], *([encode_reply(other)] for other in others), *answers(request)]

    routed(late)
    with Control(f"ipc://{runtime}/control.sock", timeout_s=DEADLINE_S) as control:
        assert control.mute() == ["kitchen", "hall"]


def test_an_answer_that_cannot_be_read(runtime: Path, routed: Any) -> None:
    def spoilt(request: dict[str, Any]) -> list[list[bytes]]:
        return [[answers(request)[0][0].replace(b'"streams":', b'"others":')]]

    routed(spoilt)
    with Control(f"ipc://{runtime}/control.sock", timeout_s=DEADLINE_S) as control:
        with pytest.raises(ControlError, match=r"malformed reply: .*streams") as raised:
            control.mute()
        assert raised.value.code == "unreadable"


def test_a_page_that_contradicts_itself(runtime: Path, routed: Any) -> None:
    def odd(request: dict[str, Any]) -> list[list[bytes]]:
        fields = {"journal": "", "first_seq": 1, "through_seq": 1, "head_seq": 1, "oldest_seq": 1}
        more = {"v": 1, "id": request["id"], "ok": True, "more": False, "lost": []}
        return [[json.dumps(fields | more).encode()]]

    routed(odd)
    with (
        Control(f"ipc://{runtime}/control.sock", timeout_s=DEADLINE_S) as control,
        pytest.raises(MessageError, match="contradicts itself"),
    ):
        control.replay(0)


def test_a_bad_address_is_told() -> None:
    for kind in (Control, AsyncControl):
        with pytest.raises(SocketError, match=r"is no address; use ipc:///PATH or tcp://127\.0\.0\.1:7791"):
            kind("localhost")


def test_asyncio_verbs(runtime: Path, routed: Any) -> None:
    async def ask() -> None:
        async with AsyncControl(f"ipc://{runtime}/control.sock", timeout_s=DEADLINE_S) as control:
            assert [stream.stream for stream in await control.streams()] == ["kitchen"]
            assert await control.labels() == []
            assert await control.mute("hall") == ["hall"]
            assert await control.unmute() == ["kitchen", "hall"]
            assert (await control.threshold("hello", 0.8)).threshold == 0.8
            assert await control.reload() == ["model"]

    routed(answers)
    asyncio.run(asyncio.wait_for(ask(), DEADLINE_S))


def test_asyncio_past_refusals_and_silence(runtime: Path) -> None:
    async def ask(daemon: FakeDaemon) -> None:
        async with AsyncControl(daemon.control, timeout_s=DEADLINE_S) as control:
            daemon.hear(2)
            assert (await control.ping()).seq == 2
            assert [event.seq for event in (await control.replay(0)).events] == [1, 2]
            with pytest.raises(ControlError, match="you may not"):
                await control.shutdown()
        daemon.deaf = True
        async with AsyncControl(daemon.control, timeout_s=0.05) as control:
            with pytest.raises(ControlError, match="no answer"):
                await control.ping()

    with FakeDaemon(runtime) as daemon:
        asyncio.run(asyncio.wait_for(ask(daemon), DEADLINE_S))

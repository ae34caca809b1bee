"""The subscriber's library, sync and asyncio, against real sockets: a publisher, or the model of a daemon."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq

import streamer.client
from streamer.client import DaemonGone, Event, Frames, Health, Missed, Place, PlaceError, Subscriber
from streamer.client.aio import AsyncSubscriber
from streamer.delivery.messages import encode
from streamer.delivery.publisher import Publisher
from streamer.errors import SecurityError, SocketError
from tests.support.fake_daemon import FakeDaemon

DEADLINE_S = 20.0
EVERYTHING = ("keyword.", "sound.", "health.")


def _ready(publisher: Publisher, *topics: str) -> None:
    for topic in topics or EVERYTHING:
        assert publisher.wait_wanted(topic, DEADLINE_S), topic


@pytest.fixture
def make_event(make_event: Any) -> Any:
    """Those of a daemon without a journal: what comes is handed over as it comes."""
    return partial(make_event, journal="")


@pytest.fixture
def make_health(make_health: Any) -> Any:
    """Likewise."""
    return partial(make_health, journal="", journal_state="off", oldest_seq=0)


@pytest.fixture
def daemon(runtime: Path) -> Iterator[FakeDaemon]:
    """A daemon with a journal."""
    with FakeDaemon(runtime) as running:
        yield running


def numbers(subscriber: Subscriber, count: int) -> list[Any]:
    """The numbers of the next events, and stretches of what was missed."""
    taken: list[Any] = []
    deadline_s = time.monotonic() + DEADLINE_S
    while len(taken) < count:
        record = subscriber.receive(max(0.0, deadline_s - time.monotonic()))
        assert record is not None, f"only {taken} came"
        if isinstance(record, Event):
            taken.append(record.seq)
        elif isinstance(record, Missed):
            taken.append((record.first, record.last))
    return taken


# -- records, one after the other ------------------------------------------------------------------


def test_records_come_typed(
    publisher: Publisher, make_event: Any, make_frames: Any, make_health: Any
) -> None:
    with Subscriber(publisher.endpoints[0], frames=True) as subscriber:
        _ready(publisher, *EVERYTHING, "frame.")
        sent = [
            make_health(seq=0),
            make_event(),
            make_frames(),
            make_event(seq=2, kind="keyword", phase="hit"),
        ]
        for record in sent:
            publisher.send(record)
        got = list(itertools.islice(subscriber, len(sent)))
        assert got == sent
        assert [type(record) for record in got] == [Health, Event, Frames, Event]
        assert subscriber.receive(timeout_s=0) is None


def test_events_leaves_the_rest_out(publisher: Publisher, make_event: Any, make_health: Any) -> None:
    with Subscriber(publisher.endpoints[0]) as subscriber:
        _ready(publisher)
        for record in (make_health(), make_event(seq=4), make_health(seq=4), make_event(seq=5)):
            publisher.send(record)
        assert [event.seq for event in itertools.islice(subscriber.events(), 2)] == [4, 5]
        assert subscriber.health == make_health(seq=4)


def test_one_topic_may_be_a_plain_string(publisher: Publisher, make_event: Any, make_health: Any) -> None:
    """It is chosen here: every event is followed, so that each loss is noticed."""
    with Subscriber(publisher.endpoints[0], topics="sound.knock.") as subscriber:
        _ready(publisher)
        for record in (make_health(seq=0), make_event(), make_event(seq=2, label="knock")):
            publisher.send(record)
        assert subscriber.receive(DEADLINE_S) == make_event(seq=2, label="knock")


def test_frames_are_asked_for_only_on_request(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoints[0]):
        _ready(publisher)
        assert not publisher.wants_frames("kitchen")


def test_a_subscriber_may_be_first_and_outlives_the_daemon(runtime: Path, make_event: Any) -> None:
    endpoint = f"ipc://{runtime}/events.sock"
    with Subscriber(endpoint) as subscriber:
        for run in ("a", "b", "c"):
            with Publisher([endpoint]) as publisher:
                deadline = time.monotonic() + DEADLINE_S
                while not all(publisher.is_wanted(topic) for topic in EVERYTHING):
                    assert time.monotonic() < deadline
                    assert subscriber.receive(0.01) is None  # it subscribes again while it listens
                publisher.send(make_event(run=run))
                assert subscriber.receive(DEADLINE_S) == make_event(run=run)
        assert subscriber.missed == 0


def test_malformed_messages_are_counted_and_skipped(
    raw_socket: Callable[[int], Any], make_event: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rogue = raw_socket(zmq.XPUB)
    rogue.bind("tcp://127.0.0.1:*")
    with Subscriber(rogue.getsockopt_string(zmq.LAST_ENDPOINT)) as subscriber:
        assert {rogue.recv() for _ in range(3)} == {b"\1keyword.", b"\1sound.", b"\1health."}
        topic, text = encode(make_event())
        for parts in ([topic], [topic, b"{"], [topic, text.replace(b'"v":1', b'"v":2')], [topic, text]):
            rogue.send_multipart(parts)
        assert subscriber.receive(DEADLINE_S) == make_event()
        assert subscriber.malformed == 3
        told = [record.levelno for record in caplog.records if record.name == "streamer.client"]
        assert told == [logging.WARNING], "told once, not thrice"
        rogue.send_multipart([topic, b""])
        assert subscriber.receive(0.05) is None
        assert subscriber.malformed == 4


def test_a_wait_ends_in_time(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoints[0]) as subscriber:
        started = time.monotonic()
        assert subscriber.receive(0.05) is None
        assert 0.05 <= time.monotonic() - started < 5


def test_alive_is_told(publisher: Publisher, make_health: Any) -> None:
    with Subscriber(publisher.endpoints[0]) as subscriber:
        assert not subscriber.alive, "nothing was heard yet"
        _ready(publisher)
        publisher.send(make_health(heartbeat_s=300.0))
        assert subscriber.receive(DEADLINE_S) is not None
        assert subscriber.alive
        publisher.send(make_health(state="stopping", final=True))
        assert subscriber.receive(DEADLINE_S) is not None
        assert not subscriber.alive


def test_the_last_word_is_delivered_and_then_it_is_gone(publisher: Publisher, make_health: Any) -> None:
    with Subscriber(publisher.endpoints[0], on_silence="raise") as subscriber:
        _ready(publisher)
        publisher.send(make_health(state="stopping", final=True))
        assert subscriber.receive() == make_health(state="stopping", final=True)
        with pytest.raises(DaemonGone, match="the daemon has stopped; "):
            next(iter(subscriber))


def test_silence_raises_whatever_topics_are_wanted(publisher: Publisher, make_health: Any) -> None:
    with Subscriber(publisher.endpoints[0], topics="sound.", on_silence="raise") as subscriber:
        _ready(publisher)
        publisher.send(make_health(heartbeat_s=0.01))
        with pytest.raises(DaemonGone, match="not been heard for 3 heartbeats"):
            subscriber.receive()


def test_a_bad_address_is_told() -> None:
    for kind in (Subscriber, AsyncSubscriber):
        with pytest.raises(SocketError, match="is no address"):
            kind("localhost")
        with pytest.raises(SocketError, match=r"cannot connect to tcp://-x\.:1: "):
            kind("tcp://-x.:1", credentials=streamer.client.Credentials("0" * 39 + "1", *["1" * 40] * 2))
        with pytest.raises(SocketError, match="is no address"):
            kind("tcp://127.0.0.1:7790", control="nowhere")


def test_another_machine_wants_keys(tmp_path: Path) -> None:
    with pytest.raises(
        SecurityError, match=r"the key of lab\.local:7790 is not known; .*streamer keys trust"
    ):
        Subscriber("tcp://lab.local:7790", credentials=tmp_path)


# -- nothing is lost, nothing comes twice ----------------------------------------------------------


def test_holes_are_filled(daemon: FakeDaemon) -> None:
    with Subscriber(daemon.endpoint) as subscriber:
        daemon.hear(2, unsent=True)  # before it can have subscribed
        assert numbers(subscriber, 2) == [1, 2]
        daemon.hear(2)
        daemon.hear(5, unsent=True)
        daemon.hear(1)
        assert numbers(subscriber, 8) == list(range(3, 11))
        assert subscriber.missed == 0
        assert subscriber.place == Place(daemon.model.disk.name, 10)


def test_a_restart_loses_nothing(daemon: FakeDaemon) -> None:
    with Subscriber(daemon.endpoint, topics=("keyword.",)) as subscriber:
        daemon.hear(2)
        assert numbers(subscriber, 2) == [1, 2]
        daemon.do(lambda model: model.hear(dies_first=True))
        daemon.restart()
        daemon.hear(1)
        assert numbers(subscriber, 2) == [3, 4]


def test_what_is_gone_is_told(daemon: FakeDaemon) -> None:
    daemon.hear(6, unsent=True)
    daemon.do(lambda model: model.forget(2))
    with Subscriber(daemon.endpoint, since=1) as subscriber:
        assert numbers(subscriber, 5) == [(2, 2), 3, 4, 5, 6]
        assert subscriber.missed == 1
    with Subscriber(daemon.endpoint, since="all", topics=("keyword.stop.",)) as subscriber:
        assert numbers(subscriber, 2) == [3, 6]


def test_a_daemon_without_control(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.client.patience.JOIN_PATIENCE_S", 0.1)
    monkeypatch.setattr("streamer.client.patience.PATIENCE_S", 0.3)
    with FakeDaemon(runtime, control=False) as daemon, Subscriber(daemon.endpoint) as subscriber:
        while subscriber.place is None:
            assert subscriber.receive(DEADLINE_S) is not None
        daemon.hear(1)
        daemon.hear(2, unsent=True)
        daemon.hear(1)
        assert numbers(subscriber, 3) == [1, (2, 3), 4]


def test_a_daemon_without_journal(runtime: Path) -> None:
    with FakeDaemon(runtime, journal=False) as daemon, Subscriber(daemon.endpoint) as subscriber:
        assert subscriber.receive(DEADLINE_S) is not None
        daemon.hear(2)
        daemon.hear(2, unsent=True)
        assert numbers(subscriber, 3) == [1, 2, (3, 4)]
        assert subscriber.place is None


# -- the place on disk -----------------------------------------------------------------------------


def kept_in(path: Path) -> int:
    """The number that the file holds; its slots are a checksum and a JSON object each."""
    slots = [
        slot.split(b" ", 1)[1] for slot in path.read_bytes().strip(b"\0\n").split(b"\n") if slot.strip(b"\0")
    ]
    found = [json.loads(slot.lstrip(b"\0")) for slot in slots]
    return int(max(found, key=lambda kept: kept["turn"])["seq"])


def test_the_place_is_kept_on_disk(daemon: FakeDaemon, tmp_path: Path) -> None:
    place = tmp_path / "place"
    daemon.hear(3, unsent=True)
    with Subscriber(daemon.endpoint, since="all", place=place) as subscriber:
        assert numbers(subscriber, 2) == [1, 2]
    assert kept_in(place) == 1, "the second was handed over and nothing more asked for"
    assert place.stat().st_mode & 0o777 == 0o600
    with Subscriber(daemon.endpoint, since=77, place=place) as subscriber:
        assert numbers(subscriber, 2) == [2, 3]
        subscriber.ack()
    daemon.hear(2, unsent=True)
    with Subscriber(daemon.endpoint, place=place) as subscriber:
        assert numbers(subscriber, 2) == [4, 5]


def test_a_place_that_is_kept_when_told_to(daemon: FakeDaemon, tmp_path: Path) -> None:
    place = tmp_path / "place"
    daemon.hear(4, unsent=True)
    with Subscriber(daemon.endpoint, since="all", place=place, acknowledge="explicit") as subscriber:
        assert numbers(subscriber, 3) == [1, 2, 3]
        assert not place.read_bytes().strip(b"\0")
        subscriber.ack()
        assert kept_in(place) == 3
        assert numbers(subscriber, 1) == [4]
    with Subscriber(daemon.endpoint, place=place) as subscriber:
        assert numbers(subscriber, 1) == [4]


def test_what_is_not_wanted_moves_the_place_too(daemon: FakeDaemon, tmp_path: Path) -> None:
    place = tmp_path / "place"
    daemon.hear(2, unsent=True)
    with Subscriber(daemon.endpoint, topics="sound.", since="all", place=place) as subscriber:
        while subscriber.place is None or subscriber.place.seq < 2:
            assert subscriber.receive(0.05) is None
        assert subscriber.receive(0.0) is None
    assert kept_in(place) == 2


def test_a_place_is_for_one_subscriber(tmp_path: Path) -> None:
    with (
        Subscriber("tcp://127.0.0.1:7790", place=tmp_path / "place"),
        pytest.raises(PlaceError, match="is in use by another subscriber; choose another file"),
    ):
        Subscriber("tcp://127.0.0.1:7790", place=tmp_path / "place")


# -- asyncio ---------------------------------------------------------------------------------------


def test_asyncio_records_events_and_timeouts(
    publisher: Publisher, make_event: Any, make_frames: Any, make_health: Any
) -> None:
    async def listen() -> None:
        async with AsyncSubscriber(publisher.endpoints[0], frames=True) as subscriber:
            _ready(publisher, *EVERYTHING, "frame.")
            assert await subscriber.receive(0.01) is None
            sent = [make_health(seq=0), make_event(), make_frames(), make_event(seq=3)]
            for record in sent:
                publisher.send(record)
            assert await subscriber.receive(DEADLINE_S) == sent[0]
            async for record in subscriber:
                assert record == sent[1]
                break
            async for event in subscriber.events():
                assert event == sent[3]
                break
            assert (subscriber.missed, subscriber.malformed, subscriber.alive) == (1, 0, True)
            assert subscriber.health == sent[0]

    asyncio.run(asyncio.wait_for(listen(), DEADLINE_S))


def test_asyncio_holes_are_filled(daemon: FakeDaemon, tmp_path: Path) -> None:
    async def listen() -> None:
        async with AsyncSubscriber(daemon.endpoint, place=tmp_path / "place") as subscriber:
            daemon.hear(2, unsent=True)
            seen: list[int] = []
            async for event in subscriber.events():
                seen.append(event.seq)
                if len(seen) == 2:
                    daemon.hear(3, unsent=True)
                    daemon.hear(1)
                if len(seen) == 6:
                    break
            assert seen == [1, 2, 3, 4, 5, 6]
            assert kept_in(tmp_path / "place") == 5

    asyncio.run(asyncio.wait_for(listen(), DEADLINE_S))


def test_asyncio_cancelling_a_receive_loses_nothing(daemon: FakeDaemon) -> None:
    """Wherever it is cancelled: while it waits, asks or reads."""

    async def listen() -> None:
        async with AsyncSubscriber(daemon.endpoint, topics="keyword.") as subscriber:
            for seq in range(1, 41):
                waiting = asyncio.ensure_future(subscriber.receive())
                for _ in range(seq % 5):
                    await asyncio.sleep(0)
                daemon.hear(1, unsent=seq % 3 == 0)
                await asyncio.sleep(0.002 * (seq % 4))
                if waiting.cancel():
                    with pytest.raises(asyncio.CancelledError):
                        await waiting
                    got = await subscriber.receive(DEADLINE_S)
                else:
                    got = waiting.result()
                assert isinstance(got, Event)
                assert got.seq == seq

    asyncio.run(asyncio.wait_for(listen(), 3 * DEADLINE_S))


def test_asyncio_silence_raises_when_asked(publisher: Publisher, make_health: Any) -> None:
    async def listen() -> None:
        async with AsyncSubscriber(publisher.endpoints[0], on_silence="raise") as subscriber:
            _ready(publisher)
            publisher.send(make_health(final=True))
            assert await subscriber.receive(DEADLINE_S) == make_health(final=True)
            with pytest.raises(DaemonGone):
                await subscriber.receive()

    asyncio.run(asyncio.wait_for(listen(), DEADLINE_S))


def test_asyncio_lets_others_run_while_much_passes_by(daemon: FakeDaemon) -> None:
    daemon.hear(300, unsent=True)

    async def listen() -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.ensure_future(count())
        async with AsyncSubscriber(daemon.endpoint, topics="sound.", since="all") as subscriber:
            while subscriber.place is None or subscriber.place.seq < 300:
                assert await subscriber.receive(0.05) is None
        counting.cancel()
        return turns

    assert asyncio.run(asyncio.wait_for(listen(), DEADLINE_S)) > 50


# -- what it costs ---------------------------------------------------------------------------------


def test_the_client_loads_only_what_it_needs() -> None:
    ask = (
        "import sys, streamer.client, streamer.client.aio\n"
        "print(sorted({'numpy', 'torch', 'onnxruntime', 'soxr', 'sqlite3'} & set(sys.modules)),"
        "sorted({name.split('.')[1] for name in sys.modules if name.startswith('streamer.')}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert loaded.strip() == f"[] {['client', 'delivery', 'errors', 'names', 'security']}"


def test_the_package_is_typed() -> None:
    assert (Path(streamer.client.__file__).parents[1] / "py.typed").is_file()

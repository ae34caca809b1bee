"""The subscriber's library, sync and asyncio, against a real publisher."""

from __future__ import annotations

import asyncio
import itertools
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from streamer.client import DaemonGone, Event, Frames, Health, Subscriber, bookkeeping
from streamer.client.aio import AsyncSubscriber
from streamer.client.bookkeeping import Ledger
from streamer.delivery.messages import encode
from streamer.delivery.publisher import Publisher
from streamer.errors import SocketError

DEADLINE_S = 10.0
EVERYTHING = ("keyword.", "sound.", "health.")


def _ready(publisher: Publisher, *topics: str) -> None:
    for topic in topics or EVERYTHING:
        assert publisher.wait_wanted(topic, DEADLINE_S), topic


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


def test_one_topic_may_be_a_plain_string(publisher: Publisher, make_event: Any) -> None:
    with Subscriber(publisher.endpoints[0], topics="sound.knock.") as subscriber:
        _ready(publisher, "sound.knock.")
        assert not publisher.is_wanted("sound.dog-bark.kitchen")
        publisher.send(make_event(label="knock"))
        assert subscriber.receive(DEADLINE_S) == make_event(label="knock")


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
    with Subscriber(rogue.getsockopt_string(zmq.LAST_ENDPOINT), topics="sound.") as subscriber:
        assert rogue.recv() == b"\1sound."
        topic, text = encode(make_event())
        for parts in ([topic], [topic, b"{"], [topic, text.replace(b'"v":1', b'"v":2')], [topic, text]):
            rogue.send_multipart(parts)
        assert subscriber.receive(DEADLINE_S) == make_event()
        assert subscriber.malformed == 3
        assert [record.levelno for record in caplog.records] == [logging.WARNING], "told once, not thrice"
        rogue.send_multipart([topic, b""])
        assert subscriber.receive(0.05) is None
        assert subscriber.malformed == 4


def test_a_wait_ends_in_time(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoints[0]) as subscriber:
        started = time.monotonic()
        assert subscriber.receive(0.05) is None
        assert 0.05 <= time.monotonic() - started < 5


def test_alive_follows_the_heartbeat(
    publisher: Publisher, make_health: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Subscriber(publisher.endpoints[0]) as subscriber:
        assert not subscriber.alive, "nothing was heard yet"
        _ready(publisher)
        publisher.send(make_health(heartbeat_s=5.0))
        assert subscriber.receive(DEADLINE_S) is not None
        assert subscriber.alive
        now = time.monotonic()
        monkeypatch.setattr(bookkeeping.time, "monotonic", lambda: now + 14.0)
        assert subscriber.alive
        monkeypatch.setattr(bookkeeping.time, "monotonic", lambda: now + 15.1)
        assert not subscriber.alive
        monkeypatch.undo()
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


def test_silence_raises_when_asked(publisher: Publisher, make_health: Any) -> None:
    with Subscriber(publisher.endpoints[0], on_silence="raise") as subscriber:
        _ready(publisher)
        publisher.send(make_health(heartbeat_s=0.01))
        assert subscriber.receive() == make_health(heartbeat_s=0.01)
        with pytest.raises(DaemonGone, match="not been heard for 3 heartbeats"):
            subscriber.receive()


def test_no_daemon_at_all_raises_when_asked(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeping, "FIRST_HEALTH_S", 0.01)
    with (
        Subscriber(f"ipc://{runtime}/events.sock", on_silence="raise") as subscriber,
        pytest.raises(DaemonGone, match="no daemon was heard"),
    ):
        subscriber.receive()


def test_silence_cannot_be_judged_without_health() -> None:
    with pytest.raises(ValueError, match="needs a health topic"):
        Subscriber("tcp://127.0.0.1:7790", topics=("sound.",), on_silence="raise")


def test_a_bad_address_is_told() -> None:
    for kind in (Subscriber, AsyncSubscriber):
        with pytest.raises(SocketError, match="is no address"):
            kind("localhost")
        with pytest.raises(SocketError, match=r"cannot connect to tcp://-x\.:1: "):
            kind("tcp://-x.:1")


def _feed(ledger: Ledger, *records: Any) -> int:
    for record in records:
        assert ledger.read(encode(record)) == record
    return ledger.missed


def test_holes_in_the_numbers_are_losses(make_event: Any, make_health: Any) -> None:
    ledger = Ledger(EVERYTHING, "wait")
    assert _feed(ledger, make_event(seq=41)) == 0, "what was before we came is not lost"
    assert _feed(ledger, make_event(seq=42), make_health(seq=42)) == 0
    assert _feed(ledger, make_event(seq=45)) == 2
    assert _feed(ledger, make_health(seq=46)) == 3, "the heartbeat tells of one that never came"
    assert _feed(ledger, make_health(seq=46), make_event(seq=47)) == 3


def test_a_heartbeat_first_sets_the_start(make_event: Any, make_health: Any) -> None:
    ledger = Ledger(EVERYTHING, "wait")
    assert _feed(ledger, make_health(seq=9), make_event(seq=10)) == 0
    assert _feed(ledger, make_event(seq=12)) == 1


def test_a_later_run_is_counted_from_its_beginning(make_event: Any, make_health: Any) -> None:
    ledger = Ledger(EVERYTHING, "wait")
    assert _feed(ledger, make_event(run="a", seq=9), make_event(run="b", seq=1)) == 0
    assert _feed(ledger, make_event(run="c", seq=3)) == 2
    assert _feed(ledger, make_health(run="d", seq=1)) == 3


@pytest.mark.parametrize(
    ("topics", "known"),
    [
        (EVERYTHING, True),
        (("",), True),
        (("k", "s"), True),
        (("keyword.", "sound.dog-bark."), False),
        (("keyword.",), False),
        (("health.",), False),
    ],
)
def test_losses_are_known_only_if_nothing_is_left_out(topics: tuple[str, ...], known: bool) -> None:
    with Subscriber("tcp://127.0.0.1:7790", topics=topics) as subscriber:
        assert subscriber.missed == (0 if known else None)


def test_one_stream_of_two_that_ends_is_not_the_end(make_health: Any) -> None:
    ledger = Ledger(EVERYTHING, "raise")
    _feed(
        ledger,
        make_health(stream="kitchen"),
        make_health(stream="hall"),
        make_health(stream="hall", final=True),
    )
    assert ledger.alive
    _feed(ledger, make_health(stream="kitchen", final=True))
    assert not ledger.alive
    with pytest.raises(DaemonGone):
        ledger.check_silence()
    _feed(ledger, make_health(run="another"))
    assert ledger.alive
    ledger.check_silence()


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


def test_asyncio_cancelling_a_receive_loses_nothing(publisher: Publisher, make_event: Any) -> None:
    async def listen() -> None:
        async with AsyncSubscriber(publisher.endpoints[0]) as subscriber:
            _ready(publisher)
            for seq in range(1, 51):
                waiting = asyncio.ensure_future(subscriber.receive())
                for _ in range(seq % 4):  # cancel it at several places of its life
                    await asyncio.sleep(0)
                publisher.send(make_event(seq=seq))
                for _ in range(seq % 3):
                    await asyncio.sleep(0)
                if waiting.cancel():
                    with pytest.raises(asyncio.CancelledError):
                        await waiting
                    got = await subscriber.receive(DEADLINE_S)
                else:
                    got = waiting.result()
                assert got == make_event(seq=seq)

    asyncio.run(asyncio.wait_for(listen(), 2 * DEADLINE_S))


def test_asyncio_silence_raises_when_asked(publisher: Publisher, make_health: Any) -> None:
    async def listen() -> None:
        async with AsyncSubscriber(publisher.endpoints[0], on_silence="raise") as subscriber:
            _ready(publisher)
            publisher.send(make_health(final=True))
            assert await subscriber.receive(DEADLINE_S) == make_health(final=True)
            with pytest.raises(DaemonGone):
                await subscriber.receive()

    asyncio.run(asyncio.wait_for(listen(), DEADLINE_S))


def test_the_client_loads_only_what_it_needs() -> None:
    ask = (
        "import sys, streamer.client, streamer.client.aio\n"
        "print(sorted({'numpy', 'torch', 'onnxruntime', 'soxr', 'sounddevice'} & set(sys.modules)),"
        "sorted(name for name in sys.modules if name.startswith('streamer.')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    ours = [
        "client",
        "client.aio",
        "client.bookkeeping",
        "delivery",
        "delivery.endpoints",
        "delivery.messages",
        "errors",
        "names",
    ]
    assert loaded.strip() == f"[] {[f'streamer.{name}' for name in ours]}"


def test_the_package_is_typed() -> None:
    assert (Path(bookkeeping.__file__).parents[1] / "py.typed").is_file()

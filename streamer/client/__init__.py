"""The subscriber's library: `Subscriber` here, `AsyncSubscriber` in streamer.client.aio.

from streamer.client import Subscriber
with Subscriber() as subscriber:
    for event in subscriber.events():
        print(event.label, event.phase, event.score)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

import zmq

from streamer.client.bookkeeping import DEFAULT_TOPICS, DaemonGone, Judge, Ledger, OnSilence, topic_prefixes
from streamer.delivery.endpoints import Endpoint, check_subscribe_endpoint, default_subscribe_endpoint
from streamer.delivery.messages import Event, Frames, Health, MessageError, Record
from streamer.errors import SocketError

__all__ = ["DaemonGone", "Event", "Frames", "Health", "MessageError", "Record", "Subscriber"]

RECEIVE_HIGH_WATER = 10_000
"""Messages that wait here for a slow reader; beyond them the newest are lost."""


class Subscriber(Judge):
    """Typed records from a daemon; to be made, used and closed on one thread.

    `topics` are prefixes (`keyword.`, `sound.dog-bark.`, `health.kitchen`); `frames` adds the frame scores of
    every stream. It may be made before the daemon runs and outlives its restarts. With `on_silence="raise"`
    a receive raises DaemonGone when the heartbeat stays away; otherwise it waits for a daemon to come back.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        topics: str | Sequence[str] = DEFAULT_TOPICS,
        frames: bool = False,
        on_silence: OnSilence = "wait",
    ) -> None:
        checked = check_subscribe_endpoint(endpoint or default_subscribe_endpoint())
        self.endpoint = checked.text
        prefixes = topic_prefixes(topics, frames)
        self._ledger = Ledger(prefixes, on_silence)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        try:
            connect(self._socket, checked, prefixes)
        except BaseException:
            self.close()
            raise

    def receive(self, timeout_s: float | None = None) -> Record | None:
        """The next record; None if none came within `timeout_s`. Without a timeout it waits."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            if self._socket.poll(self._ledger.wait_ms(deadline_s)):
                record = self._ledger.read(self._socket.recv_multipart(zmq.NOBLOCK))
                if record is not None:
                    return record
            self._ledger.check_silence()
            if deadline_s is not None and time.monotonic() >= deadline_s:
                return None

    def events(self) -> Iterator[Event]:
        """Only the events, as they come."""
        return (record for record in self if isinstance(record, Event))

    def __iter__(self) -> Iterator[Record]:
        while True:
            record = self.receive()
            if record is not None:
                yield record

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._socket.close(linger=0)
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def connect(socket: zmq.Socket[Any], endpoint: Endpoint, prefixes: Sequence[str]) -> None:
    """Subscribe and connect, for both sorts of subscriber."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, RECEIVE_HIGH_WATER)
    socket.setsockopt(zmq.IPV6, int(endpoint.host.startswith("[")))
    for prefix in prefixes:
        socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
    try:
        socket.connect(endpoint.text)
    except zmq.ZMQError as error:
        raise SocketError(
            f"cannot connect to {endpoint.text}: {os.strerror(error.errno or 0)}", "check the address"
        ) from None

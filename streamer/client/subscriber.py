"""The subscriber that waits in its thread; `AsyncSubscriber` is in streamer.client.aio."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Self

import zmq

from streamer.client.front import Front
from streamer.client.records import Record
from streamer.delivery.messages import Event


class Subscriber(Front):
    """`Front` says what it does; to be made, used and closed on one thread."""

    def receive(self, timeout_s: float | None = None) -> Record | None:
        """The next record; None if none came within `timeout_s`. Without a timeout it waits."""
        deadline_s = self._begin(timeout_s)
        record = self._ledger.take()
        while record is None:
            found = self._move(deadline_s)
            record = self._ledger.take()
            if record is None and self._is_over(deadline_s, found):
                break
        return record

    def _move(self, deadline_s: float | None) -> bool:
        """Wait, then move one message; False if none came."""
        wanted, wait_ms = self._prepare(deadline_s)
        poller = zmq.Poller()
        poller.register(self._events, zmq.POLLIN)
        poller.register(self._control, wanted)
        ready = dict(poller.poll(wait_ms))
        now_s = time.monotonic()
        self._ledger.woke(now_s)
        possible = ready.get(self._control, 0)
        if not possible & zmq.POLLIN:
            self._ledger.tick(now_s)
        if possible & zmq.POLLIN:
            self._ledger.answered(self._control.recv_multipart(zmq.NOBLOCK), now_s)
        elif possible & zmq.POLLOUT:
            try:
                self._control.send(self._ledger.ask(now_s), zmq.NOBLOCK)
            except zmq.Again:
                self._ledger.not_sent(now_s)
        elif ready:
            self._ledger.heard(self._events.recv_multipart(zmq.NOBLOCK), now_s)
        return bool(ready)

    def events(self) -> Iterator[Event]:
        """Only the events, as they come; what was missed is counted in `missed`."""
        return (record for record in self if isinstance(record, Event))

    def __iter__(self) -> Iterator[Record]:
        while True:
            record = self.receive()
            if record is not None:
                yield record

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _make_context(self) -> zmq.Context[Any]:
        return zmq.Context()

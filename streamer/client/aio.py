"""The subscriber's library for asyncio; the same as `Subscriber`, with `async` before the verbs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Self

import zmq
import zmq.asyncio

from streamer.client import connect
from streamer.client.bookkeeping import DEFAULT_TOPICS, Judge, Ledger, OnSilence, topic_prefixes
from streamer.delivery.endpoints import check_subscribe_endpoint, default_subscribe_endpoint
from streamer.delivery.messages import Event, Record

__all__ = ["AsyncSubscriber"]


class AsyncSubscriber(Judge):
    """Typed records from a daemon for asyncio; to be made, used and closed on one event loop.

    The arguments are those of `Subscriber`.
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
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.SUB)
        try:
            connect(self._socket, checked, prefixes)
        except BaseException:
            self.close()
            raise

    async def receive(self, timeout_s: float | None = None) -> Record | None:
        """The next record; None if none came within `timeout_s`. Cancelling it loses nothing."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            # wait first and take without waiting: a cancelled recv could take a message with it
            if await self._socket.poll(self._ledger.wait_ms(deadline_s)):
                record = self._ledger.read(await self._socket.recv_multipart(zmq.NOBLOCK))
                if record is not None:
                    return record
            self._ledger.check_silence()
            if deadline_s is not None and time.monotonic() >= deadline_s:
                return None

    async def events(self) -> AsyncIterator[Event]:
        """Only the events, as they come."""
        async for record in self:
            if isinstance(record, Event):
                yield record

    async def __aiter__(self) -> AsyncIterator[Record]:
        while True:
            record = await self.receive()
            if record is not None:
                yield record

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._socket.close(linger=0)
        self._context.term()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

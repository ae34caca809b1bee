"""The client for asyncio: `AsyncSubscriber` and `AsyncControl`, the same with `async` before the verbs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from functools import cached_property
from typing import Self

import zmq

from streamer.client.bell import Bell
from streamer.client.front import Front
from streamer.client.pages import Page, read_page
from streamer.client.questions import ControlError, ControlFront, Question, ReplyT
from streamer.client.records import Record
from streamer.delivery import requests
from streamer.delivery.messages import Event
from streamer.delivery.requests import Request

__all__ = ["AsyncControl", "AsyncSubscriber"]


class AsyncSubscriber(Front):
    """The same as `Subscriber`; to be made, used and closed on one event loop."""

    async def receive(self, timeout_s: float | None = None) -> Record | None:
        """The next record; None if none came within `timeout_s`. Cancelling it loses nothing."""
        deadline_s = self._begin(timeout_s)
        record = self._ledger.take()
        while record is None:
            # wait first and take without waiting: a cancelled receive could take a message with it
            ready = await self._bell.wait(*self._prepare(deadline_s))
            self._move(ready)
            record = self._ledger.take()
            if record is None and self._is_over(deadline_s, bool(ready)):
                break
        return record

    async def events(self) -> AsyncIterator[Event]:
        """Only the events, as they come; what was missed is counted in `missed`."""
        async for record in self:
            if isinstance(record, Event):
                yield record

    async def __aiter__(self) -> AsyncIterator[Record]:
        while True:
            record = await self.receive()
            if record is not None:
                yield record

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    @cached_property
    def _bell(self) -> Bell:
        return Bell()


class AsyncControl(ControlFront):
    """The same as `Control`; to be used on one event loop, one request at a time."""

    async def ping(self) -> requests.PingReply:
        """Whether anybody is there, and how far the journal is."""
        return await self._ask(requests.Ping(), requests.PingReply)

    async def status(self) -> requests.StatusReply:
        """How all streams, the journal and the sockets are."""
        return await self._ask(requests.Status(), requests.StatusReply)

    async def streams(self) -> list[requests.StreamInfo]:
        """The streams."""
        return (await self._ask(requests.Streams(), requests.StreamsReply)).streams

    async def labels(self) -> list[requests.LabelInfo]:
        """The labels of each stream and the rules in force."""
        return (await self._ask(requests.Labels(), requests.LabelsReply)).labels

    async def replay(
        self,
        since_seq: int | None = None,
        *,
        since_utc: str | None = None,
        topics: Sequence[str] = (),
        limit: int = requests.REPLAY_MAX,
    ) -> Page:
        """A page of past events; ask again with its `last` as `since_seq` while there is more."""
        request = requests.Replay(since_seq=since_seq, since_utc=since_utc, topics=list(topics), limit=limit)
        asking = Question(request, requests.ReplayReply)
        return read_page(await self._answer(asking), asking.bodies)

    async def mute(self, stream: str | None = None) -> list[str]:
        """Stop listening on a stream, or on all; the streams that were told."""
        return (await self._ask(requests.Mute(stream=stream), requests.MuteReply)).streams

    async def unmute(self, stream: str | None = None) -> list[str]:
        """Listen again; the streams that were told."""
        return (await self._ask(requests.Unmute(stream=stream), requests.MuteReply)).streams

    async def threshold(
        self, label: str, value: float | None, stream: str | None = None
    ) -> requests.ThresholdReply:
        """Another threshold for a label until the daemon ends or reloads; None: as the config has it."""
        request = requests.Threshold(label=label, value=value, stream=stream)
        return await self._ask(request, requests.ThresholdReply)

    async def reload(self) -> list[str]:
        """Read the config again; the sections whose changes need a restart."""
        return (await self._ask(requests.Reload(), requests.ReloadReply)).needs_restart

    async def shutdown(self) -> None:
        """End the daemon."""
        await self._ask(requests.Shutdown(), requests.Done)

    async def _ask(self, request: Request, kind: type[ReplyT]) -> ReplyT:
        return await self._answer(Question(request, kind))

    async def _answer(self, asking: Question[ReplyT]) -> ReplyT:
        try:
            return await self._exchange(asking)
        except ControlError:
            raise
        except BaseException:  # cancelled: the request may still be on its way
            self._forget()
            raise

    async def _exchange(self, asking: Question[ReplyT]) -> ReplyT:
        deadline_s = time.monotonic() + self.timeout_s
        await self._wait(zmq.POLLOUT, deadline_s)
        self._socket.send(asking.frame, zmq.NOBLOCK)
        while True:
            await self._wait(zmq.POLLIN, deadline_s)
            reply = asking.read(self._socket.recv_multipart(zmq.NOBLOCK))
            if reply is not None:
                return reply

    async def _wait(self, flags: int, deadline_s: float) -> None:
        left_ms = max(0, round((deadline_s - time.monotonic()) * 1_000))
        if not await Bell().wait([(self._socket, flags)], left_ms):
            raise self._nobody()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

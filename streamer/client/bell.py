"""Waiting for ZeroMQ sockets on an asyncio loop, without a thread and without a socket of another sort."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import zmq

TURN_S = 0.005
"""Whoever always finds something still lets others run so often."""


class Bell:
    """Polls sockets, and lets the loop run while there is nothing."""

    def __init__(self) -> None:
        self._ran_s = 0.0

    async def wait(
        self, wanted: Sequence[tuple[zmq.Socket[Any], int]], wait_ms: int | None
    ) -> dict[Any, int]:
        """What can be done with which socket; empty after the time. Cancelling it loses nothing."""
        loop = asyncio.get_running_loop()
        ends_s = None if wait_ms is None else loop.time() + wait_ms / 1_000
        poller = zmq.Poller()
        for socket, flags in wanted:
            poller.register(socket, flags)
        while not (found := dict(poller.poll(0))) and (ends_s is None or loop.time() < ends_s):
            await self._sleep(loop, [socket.getsockopt(zmq.FD) for socket, _ in wanted], ends_s)
        if found and loop.time() >= self._ran_s + TURN_S:
            await asyncio.sleep(0)
            self._ran_s = loop.time()
        return found

    async def _sleep(self, loop: asyncio.AbstractEventLoop, files: list[Any], ends_s: float | None) -> None:
        """Until ZeroMQ has news of a socket, which its poll has taken note of, or the time has come."""
        rung = loop.create_future()

        def ring() -> None:
            if not rung.done():
                rung.set_result(None)

        # only while we sleep: a descriptor with news would keep the loop awake until somebody polls
        for file in files:
            loop.add_reader(file, ring)
        timer = loop.call_at(ends_s, ring) if ends_s is not None else None
        try:
            await rung
        finally:
            for file in files:
                loop.remove_reader(file)
            if timer is not None:
                timer.cancel()
            self._ran_s = loop.time()

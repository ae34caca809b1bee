"""The subscriber that waits in its thread; `AsyncSubscriber` is in streamer.client.aio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import zmq

from streamer.client.front import Front
from streamer.client.records import Record
from streamer.delivery.messages import Event


class Subscriber(Front):
    """Typed records from a daemon: every event exactly once and in order, or a `Missed` in its place.

    `topics` are prefixes (`keyword.`, `sound.dog-bark.`, `health.kitchen`); `frames` adds the frame scores of
    every stream. It may be made before the daemon runs and outlives its restarts. With `on_silence="raise"`
    a receive raises DaemonGone when the heartbeat stays away; otherwise it waits for a daemon to come back.

    `since` says where to begin: with what is new (None), with "all" that is kept, after a number, at a
    `datetime`, or after a `Place`. `place` names a file in which the place is kept; where the file is there,
    it goes on from there, whatever `since` says. A record counts as dealt with when the next one is asked for
    or, with `acknowledge="explicit"`, when `ack()` is called: what was not comes again in the next process.

    `control` is the address that past events are asked from (by default beside the events), `credentials` the
    keys for a daemon on another machine, or the directory in which they are.

    To be made, used and closed on one thread.
    """

    def receive(self, timeout_s: float | None = None) -> Record | None:
        """The next record; None if none came within `timeout_s`. Without a timeout it waits."""
        deadline_s = self._begin(timeout_s)
        record = self._ledger.take()
        while record is None:
            ready = self._wait(*self._prepare(deadline_s))
            self._move(ready)
            record = self._ledger.take()
            if record is None and self._is_over(deadline_s, bool(ready)):
                break
        return record

    def _wait(self, wanted: Sequence[tuple[zmq.Socket[bytes], int]], wait_ms: int | None) -> dict[Any, int]:
        poller = zmq.Poller()
        for socket, flags in wanted:
            poller.register(socket, flags)
        return dict(poller.poll(wait_ms))

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

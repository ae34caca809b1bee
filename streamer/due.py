"""Streams whose sources have no descriptor to wait for: files that are played as if somebody spoke."""

from __future__ import annotations

import heapq
import itertools
import time

from streamer.live_stream import LiveStream


class DueStreams:
    """Who is to be read next, by the clock; many whose moments differ are looked at together."""

    def __init__(self) -> None:
        self._order: list[tuple[float, int, LiveStream]] = []
        self._turn = itertools.count()  # of equal moments the one that has waited for longer comes first
        self._rested_s = 0.0

    def __len__(self) -> int:
        return len(self._order)

    def add(self, stream: LiveStream) -> None:
        """A new one, or one that has been read."""
        due_s = time.monotonic() + stream.source.next_due_s()
        heapq.heappush(self._order, (due_s, next(self._turn), stream))

    def remove(self, stream: LiveStream) -> None:
        """It has ended."""
        self._order = [entry for entry in self._order if entry[2] is not stream]
        heapq.heapify(self._order)

    def wait_s(self) -> float:
        """How long to sleep before `take`."""
        if not self._order:
            return float("inf")
        return max(0.0, max(self._order[0][0], self._rested_s) - time.monotonic())

    def take(self, rest_s: float) -> list[LiveStream]:
        """Those whose moment has come, to be read and added again; after the last ones there is a rest.

        A turn of the loop has its price: a thousand streams are worth one now and then, not one each.
        """
        now_s = time.monotonic()
        if now_s < self._rested_s:
            return []
        due = []
        while self._order and self._order[0][0] <= now_s:
            due.append(heapq.heappop(self._order)[2])
        if due and all(stream.source.live for stream in due):
            self._rested_s = now_s + rest_s
        return due

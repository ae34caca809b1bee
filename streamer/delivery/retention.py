"""How long events are kept: what is too old or too much is forgotten, oldest first, in small steps."""

from __future__ import annotations

import logging
import time

from streamer.delivery.store import Store

log = logging.getLogger("streamer")

STEP_EVENTS = 200
STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that never leaps, and goes on while the machine sleeps."""
CLOCK_STEP_S = 6 * 3600.0
"""A wall clock that leaps so far ahead may be wrong: a year too far, and every event would seem too old."""
DOUBT_S = 24 * 3600.0
"""Nothing is forgotten for its age until the clock has gone on from there for so long."""


class Retention:
    """The two bounds of a journal."""

    def __init__(self, max_age_days: float, max_mb: float) -> None:
        self._max_age_ms = max_age_days * 86_400_000
        self._max_bytes = max_mb * 1_000_000
        self._ahead_s = time.time() - time.clock_gettime(STEADY)
        self._doubt_until_s = 0.0

    def step(self, store: Store) -> bool:
        """Forget a few events if that is due; whether there may be more to forget."""
        oldest = store.entries(store.pruned_through + 1, STEP_EVENTS)
        due = 0
        if store.used_bytes() > self._max_bytes:
            due = len(oldest)
        elif self._trusts_clock():
            ends_ms = time.time() * 1_000 - self._max_age_ms
            while due < len(oldest) and oldest[due].time_ms < ends_ms:
                due += 1
        if due:
            store.prune(oldest[due - 1].seq)
        return due == STEP_EVENTS

    def _trusts_clock(self) -> bool:
        steady_s = time.clock_gettime(STEADY)
        before_s, self._ahead_s = self._ahead_s, time.time() - steady_s
        if self._ahead_s - before_s > CLOCK_STEP_S:
            log.warning(
                "the wall clock has leapt ahead by %.1f h: no event is forgotten for its age for a day",
                (self._ahead_s - before_s) / 3600,
            )
            self._doubt_until_s = steady_s + DOUBT_S
        return steady_s >= self._doubt_until_s

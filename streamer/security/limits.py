"""Limits that keep one peer from taking what is there for all."""

from __future__ import annotations

import resource
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Limiter:
    """A token bucket for each peer: `burst` at once, then `rate_hz` a second.

    The table has a bound. A peer whose bucket is full again is forgotten first; as long as there is none, new
    peers share one bucket, so that nobody gains by calling himself something else each time.
    """

    def __init__(
        self,
        rate_hz: float,
        burst: float,
        *,
        peers_max: int = 1_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._peers_max = peers_max
        self._clock = clock
        # peer -> tokens left and when that was; the one that was heard longest ago comes first
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, peer: Hashable) -> bool:
        """Whether this peer may go on; costs it one token."""
        now_s = self._clock()
        if peer not in self._buckets and len(self._buckets) >= self._peers_max:
            oldest = next(iter(self._buckets))
            if self._tokens(oldest, now_s) < self._burst:
                peer = _EverybodyElse
            else:
                del self._buckets[oldest]
        tokens = self._tokens(peer, now_s)
        self._buckets[peer] = (tokens - 1 if tokens >= 1 else tokens, now_s)
        self._buckets.move_to_end(peer)
        return tokens >= 1

    def _tokens(self, peer: Hashable, now_s: float) -> float:
        if peer not in self._buckets:
            return self._burst
        left, then_s = self._buckets[peer]
        return min(self._burst, left + (now_s - then_s) * self._rate_hz)


class _EverybodyElse:
    """The peer that stands for all that have no bucket of their own."""


class Once:
    """Says yes once for each subject and period; counts what it kept quiet about."""

    def __init__(
        self,
        period_s: float = 60.0,
        *,
        subjects_max: int = 1_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period_s = period_s
        self._subjects_max = subjects_max
        self._clock = clock
        # subject -> when it was last told, and how often it came since; the one told longest ago comes first
        self._told: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._told)

    def due(self, subject: Hashable) -> int | None:
        """How often it came since it was last told, if it is to be told now; None: keep quiet."""
        now_s = self._clock()
        told_s, since = self._told.get(subject, (-self._period_s, 0))
        if now_s - told_s < self._period_s:
            self._told[subject] = (told_s, since + 1)
            return None
        if subject not in self._told and len(self._told) >= self._subjects_max:
            oldest = next(iter(self._told))
            if now_s - self._told[oldest][0] < self._period_s:
                return None  # more subjects in a period than anybody would read
            del self._told[oldest]
        self._told[subject] = (now_s, 0)
        self._told.move_to_end(subject)
        return since


def allow_files(count: int) -> None:
    """Let this process have so many more files and sockets open, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    wanted = soft + count
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
    )

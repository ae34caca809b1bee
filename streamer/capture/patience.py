"""How long a recorder may say nothing, and when the next one is tried."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_OPEN_S = 15.0
"""For the first opening of all: who starts us waits for it."""
SHORTEST_OPEN_S, LONGEST_OPEN_S = 2.0, 10.0
"""For those after it: thrice what the first one took, so that a slow machine is not cut short."""
FIRST_SOUND_S = 3.0
"""From the opening on; a sound server wakes its device first."""
PAUSES_S = (0.25, 0.5, *[1.0] * 60, 1.5)
"""From one failure to the next attempt, which costs a tenth of a second of work; the last one for ever."""
STEADY_S = 5.0
"""So much sound in a row, and the pauses begin with the shortest again."""
LATE_S = 1.0
"""We ourselves were away for longer (a stopped or suspended machine): that is nobody's silence."""


class Patience:
    """The times of one microphone; `look` comes before everything else."""

    look_again_s = 0.25

    def __init__(self, stall_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.stall_s = stall_s
        self._clock_s = clock_s
        self._open_s = SHORTEST_OPEN_S
        self._now_s = self._looked_s = clock_s()
        self._limit_s = float("inf")
        self._steady_since_s = float("inf")
        self._next_s = 0.0
        self._failures = self._hangs = 0
        self._is_open = False

    @property
    def first_open_s(self) -> float:
        """The longest first opening."""
        return FIRST_OPEN_S

    def opened_first(self, took_s: float) -> None:
        """The first opening took so long."""
        self._open_s = min(LONGEST_OPEN_S, max(SHORTEST_OPEN_S, 3 * took_s))
        self.opened()

    def look(self) -> None:
        """What time is it?"""
        self._now_s = self._clock_s()
        away_s = self._now_s - self._looked_s
        self._looked_s = self._now_s
        if away_s > LATE_S:
            self._limit_s += away_s

    def begin(self) -> None:
        """A recorder is started now."""
        self._now_s = self._looked_s = self._clock_s()
        self._is_open = False
        self._limit_s = self._now_s + min(LONGEST_OPEN_S, self._open_s * 1.5**self._hangs)

    def opened(self) -> None:
        """It has the device."""
        if not self._is_open:
            self._is_open, self._hangs = True, 0
            self._now_s = self._looked_s = self._clock_s()
            self._limit_s = self._now_s + max(self.stall_s, FIRST_SOUND_S)
            self._steady_since_s = float("inf")

    def heard(self) -> None:
        """Sound has come."""
        self._is_open = True
        self._limit_s = self._now_s + self.stall_s
        self._steady_since_s = min(self._steady_since_s, self._now_s)
        if self._now_s - self._steady_since_s > STEADY_S:
            self._failures = 0

    def is_over(self) -> bool:
        """It has been silent for too long."""
        return self._now_s > self._limit_s

    def failed(self) -> None:
        """It has been given up."""
        self._hangs += not self._is_open and self.is_over()
        self._next_s = self._now_s + PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        self._steady_since_s = float("inf")

    def hurry(self) -> None:
        """The next attempt is due at once."""
        self._next_s, self._failures, self._hangs = 0.0, 0, 0

    def may_begin(self) -> bool:
        """The next attempt is due."""
        return self._now_s >= self._next_s

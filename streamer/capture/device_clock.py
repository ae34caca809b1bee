"""The device's clock against the system's: its drift, and sound that went missing without a word.

Sound is late by what drivers and servers hold back, and by as much more as the machine is busy, but never
early. So the least lateness within a stretch of time is compared with that of another.
"""

from __future__ import annotations

from collections import deque

import numpy as np

SECOND_S, WINDOW_S = 1.0, 10.0
WINDOWS_MAX = 60
"""Ten minutes."""
WINDOWS_MIN = 12
"""Two minutes: from then on a drift is told."""
HOLE_S = 1.0
"""So much later than before, and sound is missing: a machine that slept, a sound server that stopped."""
RECENT_SECONDS, FORMER_SECONDS = 2, 30


class _Minima:
    """The least lateness in each of the last stretches of time, those without sound left out."""

    def __init__(self, stretch_s: float, count: int) -> None:
        self._stretch_s = stretch_s
        self._stretch = -1
        self.complete: deque[tuple[float, float]] = deque(maxlen=count)
        """When each minimum was met, and the minimum."""
        self._least = (0.0, float("inf"))

    def take(self, elapsed_s: float, late_s: float) -> bool:
        """Another measurement; True where that completes a stretch."""
        stretch = int(elapsed_s / self._stretch_s)
        begins = stretch > self._stretch
        completes = begins and self._stretch >= 0
        if completes:
            self.complete.append(self._least)
        if begins or late_s < self._least[1]:
            self._least = (elapsed_s, late_s)
        self._stretch = max(stretch, self._stretch)
        return completes


class DeviceClock:
    """Watches one recording."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._begin(0.0, 0)

    def _begin(self, captured_s: float, frame: int) -> None:
        self._origin = (captured_s, frame)
        self._begun = False
        self._seconds = _Minima(SECOND_S, FORMER_SECONDS + RECENT_SECONDS)
        self.break_drift()

    def take(self, captured_s: float, frame: int) -> int:
        """The frames up to this one had been captured then; how many seem to be missing, mostly 0."""
        if not self._begun:
            self._begin(captured_s, frame)
            self._begun = True
        elapsed_s = captured_s - self._origin[0]
        late_s = elapsed_s - (frame - self._origin[1]) / self._rate_hz
        self._windows.take(elapsed_s, late_s)
        return self._missing() if self._seconds.take(elapsed_s, late_s) else 0

    def _missing(self) -> int:
        late_s = [late_s for _, late_s in self._seconds.complete]
        former, recent = late_s[:-RECENT_SECONDS], late_s[-RECENT_SECONDS:]
        if not former or min(recent) - min(former) < HOLE_S:
            return 0
        self._begun = False  # what comes is not to be compared with what was
        return round((min(recent) - min(former)) * self._rate_hz)

    def break_drift(self) -> None:
        """A little sound is missing here: the drift has to be measured anew."""
        self._windows = _Minima(WINDOW_S, WINDOWS_MAX)

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the device's clock is than ours, in millionths; None until that is known."""
        windows = self._windows.complete
        if len(windows) < WINDOWS_MIN:
            return None
        times_s, late_s = np.array(windows).T
        former, later = np.triu_indices(len(windows), 1)
        # The median of all pairs' slopes: a server that changes how much it holds back bends few of them.
        slope = np.median((late_s[later] - late_s[former]) / (times_s[later] - times_s[former]))
        return round(float(-slope) * 1e6, 1)

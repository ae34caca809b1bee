"""Rows in, rows with their time derivatives out, two frames later for each order."""

from __future__ import annotations

import numpy as np

from streamer.audio import F32, check_rows

REACH = 2
"""Frames looked at on either side: a derivative is fitted over five rows."""

NORM = np.float32(2 * sum(step * step for step in range(1, REACH + 1)))


def slopes(rows: F32) -> F32:
    """Least-squares slope over five rows: (T + 2 * REACH, F) to (T, F)."""
    inner = len(rows) - 2 * REACH
    near = rows[REACH + 1 : REACH + 1 + inner] - rows[REACH - 1 : REACH - 1 + inner]
    far = rows[2 * REACH :] - rows[:inner]
    return np.asarray((near + np.float32(2.0) * far) / NORM, np.float32)


class Delta:
    """Appends the slope of the last `size` columns; the first and last rows are held at the edges."""

    latency_frames = REACH

    def __init__(self, width: int, size: int) -> None:
        self._width, self._size = width, size
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self._held = np.empty((0, self._width), np.float32)

    def process(self, rows: F32) -> F32:
        """(T, width) to (T', width + size), T' counting the rows whose neighbours are all here."""
        check_rows(rows, self._width)
        if len(rows) == 0:
            return self._nothing()
        if len(self._held) == 0:
            rows = np.concatenate((np.repeat(rows[:1], REACH, axis=0), rows))
        return self._advance(rows)

    def flush(self) -> F32:
        """The last rows, the end held still."""
        if len(self._held) == 0:
            return self._nothing()
        done = self._advance(np.repeat(self._held[-1:], REACH, axis=0))
        self.reset()
        return done

    def _advance(self, rows: F32) -> F32:
        held = np.concatenate((self._held, rows))
        complete = len(held) - 2 * REACH
        if complete <= 0:
            self._held = held
            return self._nothing()
        self._held = held[complete:].copy()
        return np.concatenate((held[REACH : REACH + complete], slopes(held[:, -self._size :])), axis=1)

    def _nothing(self) -> F32:
        return np.empty((0, self._width + self._size), np.float32)

"""What `streamer run` shows at a terminal: a line that lives, and events above it."""

from __future__ import annotations

import math
import time

import numpy as np

from streamer.audio import Chunk
from streamer.cli.terminal import StatusLine, paint
from streamer.delivery.messages import Event, Health
from streamer.live_stream import LiveStream

REDRAW_S = 0.1
BAR_CELLS = 16
QUIETEST_DBFS = -80.0


class LiveDisplay:
    """Level, strongest label, and every event as it is told."""

    def __init__(self, line: StatusLine) -> None:
        self._line = line
        self._drawn_s = 0.0
        self._square_sum, self._count = 0.0, 0
        self._best = ""
        self._state = "starting"
        self._began_s = time.monotonic()

    def heard(self, stream: LiveStream, chunk: Chunk) -> None:
        """Gather the level, redraw now and then."""
        self._square_sum += float(np.dot(chunk.samples, chunk.samples))
        self._count += len(chunk.samples)
        if time.monotonic() - self._drawn_s >= REDRAW_S:
            self._draw()

    def scored(self, stream: LiveStream, label: str, score: float) -> None:
        """Remember the strongest label of the moment."""
        self._best = f"{label} {score:.2f}"

    def told(self, record: Event | Health) -> None:
        """Print an event; note the state."""
        if isinstance(record, Health):
            self._state = record.state
        else:
            self._line.write(event_line(record))

    def _draw(self) -> None:
        level = level_dbfs(self._square_sum, self._count)
        self._drawn_s, self._square_sum, self._count = time.monotonic(), 0.0, 0
        minutes, seconds = divmod(int(self._drawn_s - self._began_s), 60)
        shown = f"{self._state} {minutes:02d}:{seconds:02d} [{bar(level)}] {level:5.1f} dBFS  {self._best}"
        self._line.show(shown)


def level_dbfs(square_sum: float, count: int) -> float:
    """RMS level, never below the quietest that the bar shows."""
    power = square_sum / count if count else 0.0
    if not math.isfinite(power):
        return 0.0
    return max(QUIETEST_DBFS, 10 * math.log10(power)) if power > 0 else QUIETEST_DBFS


def bar(level: float) -> str:
    """A level as filled cells."""
    filled = round(BAR_CELLS * (1 - level / QUIETEST_DBFS))
    return "#" * min(BAR_CELLS, max(0, filled)) + "." * (BAR_CELLS - min(BAR_CELLS, max(0, filled)))


def event_line(event: Event) -> str:
    """One event for people: when, what, how sure."""
    clock = event.time_utc[11:23]
    colour = "green" if event.kind == "keyword" else "cyan"
    what = {"hit": "", "start": " begins", "end": " ends"}[event.phase]
    length = (
        f" after {event.offset_s - event.onset_s:.1f} s" if event.phase == "end" and event.offset_s else ""
    )
    reason = f" ({event.reason})" if event.reason else ""
    told = f"{event.kind:<7} {paint(event.label, colour)}{what}{length}{reason}"
    return f"{clock}  {told}  {event.score:.2f}  [{event.stream}]"

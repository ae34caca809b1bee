"""Now and then, and at news: how the streams are, told on the socket, in the log and to systemd."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence

from streamer.delivery.messages import State
from streamer.live_stream import LiveStream
from streamer.streams import Streams
from streamer.systemd import Notifier
from streamer.telling import Teller

log = logging.getLogger("streamer")

STREAMS_TOLD_BY_NAME = 8
"""In the status line; more are counted."""
_DEAF: tuple[State, ...] = ("stalled", "no-device")
TICK_S = 0.25
"""How often states and the watchdog are looked at."""
CALM_S = 2.0
"""How often while sound comes, and little is in it."""
COMPANY_S = 0.1
"""So long that waits for sound to come, which wakes us anyway."""


class Heartbeat:
    """Looks after all streams."""

    def __init__(
        self, teller: Teller, notifier: Notifier, streams: Streams, *, started_s: float, heartbeat_s: float
    ) -> None:
        self.heartbeat_s = heartbeat_s
        self._teller = teller
        self._notifier = notifier
        self._streams = streams
        self._started_s = started_s
        self._next_tick_s = self._next_beat_s = self._next_feed_s = 0.0
        self._beat_at: tuple[float, float] | None = None
        self._cpu_percent: float | None = None

    @property
    def due_s(self) -> float:
        """When `tick` has something to do, on the monotonic clock."""
        return min(self._next_tick_s, self._next_beat_s)

    @property
    def latest_s(self) -> float:
        """When it is to be called for that alone."""
        return min(self._next_tick_s + COMPANY_S, self._next_beat_s)

    @property
    def calm_s(self) -> float:
        """When it is to be called although nothing is the matter: with sound coming, states do not change."""
        feed_s = self._next_feed_s if self._notifier.watchdog_s else math.inf
        return min(self._next_tick_s + CALM_S - TICK_S, self._next_beat_s, feed_s)

    def hurry(self) -> None:
        """Something was changed: look at the states at once."""
        self._next_tick_s = 0.0

    def tick(self) -> None:
        """Streams that have gone say goodbye; the others are looked at if it is time."""
        self.say_goodbye()
        now_s = time.monotonic()
        if now_s < self.due_s:
            return
        self._next_tick_s = now_s + TICK_S
        changed = [stream for stream in self._streams.all if self._has_news(stream)]
        if now_s >= self._next_beat_s or (changed and len(changed) == len(self._streams.all)):
            self._next_beat_s = now_s + self.heartbeat_s
            self.beat()
        elif changed:
            self._send_health(changed)
        self._feed_watchdog(now_s)

    def say_goodbye(self) -> None:
        """The last word of streams that have gone; nothing of a new one of that name may come before it."""
        if parted := self._streams.take_parted():
            for stream in parted:
                self._has_news(stream)
            self._send_health(parted)

    def finish(self) -> None:
        """The last of everything."""
        self.say_goodbye()
        for stream in self._streams.all:
            self._has_news(stream)
        self.beat(final=True)

    def _has_news(self, stream: LiveStream) -> bool:
        """Log a loss or a change of state; either is also worth a health message at once."""
        loss = stream.take_loss()
        if loss:
            log.warning("stream %s: %s", stream.name, loss)
        before = stream.state
        changed = stream.check_state()
        if changed:
            _report_state(stream, before)
        return changed or bool(loss)

    def beat(self, *, final: bool = False) -> None:
        """Tell how everything is."""
        self._measure_cpu()
        self._send_health(self._streams.all)
        if self._streams.remote:  # which is worth a heartbeat although there may be no stream at all
            health = self._streams.remote.health(
                self._teller.run_id, self._teller.seq, self._uptime_s, self.heartbeat_s, final=final
            )
            self._teller.tell(health)

    def _measure_cpu(self) -> None:
        before = self._beat_at
        used_s = time.process_time() + sum(stream.helpers_cpu_s for stream in self._streams.own)
        now_s = time.monotonic()
        self._beat_at = now_s, used_s
        if before and now_s > before[0]:
            self._cpu_percent = round(100 * max(0.0, used_s - before[1]) / (now_s - before[0]), 2)

    @property
    def _uptime_s(self) -> float:
        return time.monotonic() - self._started_s

    def _send_health(self, streams: Sequence[LiveStream]) -> None:
        """A message for each of these, and the line that systemd shows."""
        uptime_s = self._uptime_s
        for stream in streams:
            if not stream.said_goodbye:
                health = stream.health(
                    self._teller.run_id, self._teller.seq, uptime_s, self.heartbeat_s, self._cpu_percent
                )
                self._teller.tell(health)
        events = self._teller.events
        self._notifier.status(f"{_states(self._streams.all)}; {events} events in {uptime_s:.0f} s")

    def _feed_watchdog(self, now_s: float) -> None:
        """Only while sound moves, or a microphone is looked for: a deaf daemon is to be restarted."""
        period_s = self._notifier.watchdog_s
        moving = all(stream.needs_no_restart for stream in self._streams.own)
        if period_s and moving and now_s >= self._next_feed_s:
            self._next_feed_s = now_s + period_s / 4
            self._notifier.alive()


def _report_state(stream: LiveStream, before: State) -> None:
    level = logging.INFO
    if stream.state in _DEAF:  # told once, whatever else turns out to be the matter
        level = logging.WARNING if before not in _DEAF else logging.DEBUG
    log.log(
        level, "stream %s: %s%s", stream.name, stream.state, f", {stream.detail}" if stream.detail else ""
    )


def _states(streams: Sequence[LiveStream]) -> str:
    """What the streams are doing: each by name, or, where they are many, how many do what."""
    if len(streams) <= STREAMS_TOLD_BY_NAME:
        return ", ".join(f"{stream.name} {stream.state}" for stream in streams) or "no streams"
    counts = Counter(stream.state for stream in streams)
    return ", ".join(f"{count} streams {state}" for state, count in counts.most_common())

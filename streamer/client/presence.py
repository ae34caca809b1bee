"""Whether the daemon is there, judged by its heartbeat; no clock and no sockets here."""

from __future__ import annotations

import math

from streamer.client.records import DaemonGone
from streamer.delivery.messages import Health

SILENT_HEARTBEATS = 3
"""So many heartbeats without a message mean that the daemon is gone."""
FIRST_HEALTH_S = 15.0
"""How long to wait for the first health message, when the heartbeat's period is not known yet."""
LATE_S = 1.0
"""A look that comes so much later than planned: we were stopped, and what came meanwhile is not read yet."""


class Presence:
    """Notes health messages and says until when the silence is no longer than it may be."""

    def __init__(self, now_s: float) -> None:
        self.health: Health | None = None
        # stream -> moment from which its silence counts; "" stands for a daemon that was never heard
        self._due_s: dict[str, float] = {"": now_s + FIRST_HEALTH_S}
        self._planned_s = math.inf
        self._granted_s = -math.inf
        self._was_late = False

    def heard(self, health: Health, now_s: float) -> None:
        """A health message has come."""
        if self.health is None or self.health.run != health.run:
            self._due_s.clear()
        self.health = health
        self._was_late = False
        if health.final:
            self._due_s.pop(health.stream, None)
        else:
            self._due_s[health.stream] = now_s + SILENT_HEARTBEATS * health.heartbeat_s

    def alive(self, now_s: float) -> bool:
        """Whether some stream's health was heard within its last three heartbeats."""
        return self.health is not None and max(self._due_s.values(), default=-math.inf) > now_s

    def silent_at_s(self) -> float:
        """The moment from which the daemon counts as gone."""
        return max(self._granted_s, max(self._due_s.values(), default=-math.inf))

    def will_wait_until(self, planned_s: float) -> None:
        """The caller is going to look again at this moment at the latest."""
        self._planned_s = planned_s

    def woke(self, now_s: float) -> None:
        """The caller looks again: one that was stopped meanwhile gets a moment to read before it judges."""
        if now_s > self._planned_s + LATE_S and not self._was_late:
            self._was_late = True
            self._granted_s = now_s + LATE_S

    def check(self, now_s: float) -> None:
        """Raise DaemonGone if it is."""
        if now_s >= self.silent_at_s():
            raise DaemonGone(self._why_gone(), "look at its log, or start it with `streamer run`")

    def _why_gone(self) -> str:
        if self.health is None:
            return f"no daemon was heard within {FIRST_HEALTH_S:g} s"
        if self.health.final:
            return "the daemon has stopped"
        return f"the daemon has not been heard for {SILENT_HEARTBEATS} heartbeats"

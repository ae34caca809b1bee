"""What a subscriber concludes from the messages that it got; no sockets here."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Literal

from streamer.delivery.messages import Event, Health, MessageError, Record, decode
from streamer.errors import StreamerError

EVENT_KINDS = ("keyword.", "sound.")
DEFAULT_TOPICS = (*EVENT_KINDS, "health.")
SILENT_HEARTBEATS = 3
"""So many heartbeats without a message mean that the daemon is gone."""
FIRST_HEALTH_S = 15.0
"""How long to wait for the first health message, when the heartbeat's period is not known yet."""

LONGEST_WAIT_S = 3_600.0
"""Of one poll; the caller waits again, and ZeroMQ's milliseconds never overflow."""

OnSilence = Literal["wait", "raise"]

_log = logging.getLogger("streamer.client")


class DaemonGone(StreamerError):
    """The daemon said its last word, or has not been heard for three heartbeats."""


def topic_prefixes(topics: str | Sequence[str], frames: bool) -> tuple[str, ...]:
    """The prefixes to subscribe to; one string is one prefix."""
    given = (topics,) if isinstance(topics, str) else tuple(topics)
    return (*given, "frame.") if frames else given


class Ledger:
    """Decodes, counts, and judges whether the daemon is there."""

    def __init__(self, topics: Sequence[str], on_silence: OnSilence) -> None:
        self.every_event = all(any(kind.startswith(topic) for topic in topics) for kind in EVENT_KINDS)
        """Whether the topics cover every event: only then is a hole in the numbers a loss."""
        self.raises = on_silence == "raise"
        if self.raises and not any(_overlap(topic, "health.") for topic in topics):
            raise ValueError("on_silence='raise' needs a health topic: silence is judged by the heartbeat")
        self.reset()

    def reset(self) -> None:
        """Forget everything that was heard."""
        self.health: Health | None = None
        self.malformed = 0
        self.missed = 0
        self._run = ""
        self._seq = 0
        # stream -> moment from which its silence counts; "" stands for a daemon that was never heard
        self._due_s: dict[str, float] = {"": time.monotonic() + FIRST_HEALTH_S}

    def read(self, parts: Sequence[bytes]) -> Record | None:
        """The record in the parts, noted; None if they are malformed."""
        try:
            record = decode(parts)
        except MessageError as error:
            self.malformed += 1
            if self.malformed == 1:  # once: a newer daemon must not go unnoticed, nor fill the log
                _log.warning("skipped: %s", error)
            return None
        if isinstance(record, Health):
            self._note_health(record)
        if isinstance(record, Event | Health):
            self._note_number(record.run, record.seq, 1 if isinstance(record, Event) else 0)
        return record

    @property
    def alive(self) -> bool:
        """Whether some stream's health was heard within its last three heartbeats."""
        return self.health is not None and self._silent_at_s() > time.monotonic()

    def check_silence(self) -> None:
        """Raise DaemonGone if that was asked for and it is so."""
        if self.raises and time.monotonic() >= self._silent_at_s():
            raise DaemonGone(self._why_gone(), "look at its log, or start it with `streamer run`")

    def wait_ms(self, deadline_s: float | None) -> int | None:
        """How long a receive may wait for the next message; None: for ever."""
        ends_s = math.inf if deadline_s is None else deadline_s
        if self.raises:
            ends_s = min(ends_s, self._silent_at_s())
        if ends_s == math.inf:
            return None
        left_s = min(max(0.0, ends_s - time.monotonic()), LONGEST_WAIT_S)
        return math.ceil(left_s * 1_000)

    def _silent_at_s(self) -> float:
        return max(self._due_s.values(), default=-math.inf)

    def _note_health(self, health: Health) -> None:
        if self.health is None or self.health.run != health.run:
            self._due_s.clear()
        self.health = health
        if health.final:
            self._due_s.pop(health.stream, None)
        else:
            self._due_s[health.stream] = time.monotonic() + SILENT_HEARTBEATS * health.heartbeat_s

    def _note_number(self, run: str, seq: int, own: int) -> None:
        if run != self._run:
            # of the first run we may have come late, so count from here; a later one began while we listened
            self._seq = 0 if self._run else seq - own
            self._run = run
        if seq > self._seq:
            self.missed += seq - self._seq - own
            self._seq = seq

    def _why_gone(self) -> str:
        if self.health is None:
            return f"no daemon was heard within {FIRST_HEALTH_S:g} s"
        if self.health.final:
            return "the daemon has stopped"
        return f"the daemon has not been heard for {SILENT_HEARTBEATS} heartbeats"


class Judge:
    """What every subscriber can say of the daemon and of what it received."""

    _ledger: Ledger

    @property
    def alive(self) -> bool:
        """Whether its health was received within the last three heartbeats, and it has not stopped."""
        return self._ledger.alive

    @property
    def health(self) -> Health | None:
        """The last health message received."""
        return self._ledger.health

    @property
    def missed(self) -> int | None:
        """Events known to be lost since the first message received; None if the topics leave some out."""
        return self._ledger.missed if self._ledger.every_event else None

    @property
    def malformed(self) -> int:
        """Messages that were skipped because they could not be read."""
        return self._ledger.malformed


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)

"""The subscriber's books: bytes and the time go in, records and questions come out. No clock, no sockets.

Both front ends only move bytes. They hand in what has arrived (`heard`, `answered`), say that time has passed
(`tick`), fetch what is to be handed over (`take`) and what is to be asked (`ask`),
and sleep until `wake_s`. How events are put in order, and why none is lost or doubled: streamer.client.merge.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence

from streamer.client.merge import Merge
from streamer.client.pages import read_answer
from streamer.client.presence import Presence
from streamer.client.records import Missed, OnSilence, Place, Record, Since
from streamer.delivery.messages import Event, Frames, Health, MessageError, decode, topic_of
from streamer.delivery.requests import encode_request

EVENT_KINDS = ("keyword.", "sound.")
HEALTH = "health."
DEFAULT_TOPICS = (*EVENT_KINDS, HEALTH)

_log = logging.getLogger("streamer.client")


def topic_prefixes(topics: str | Sequence[str], frames: bool) -> tuple[str, ...]:
    """What the caller wants to see; one string is one prefix."""
    given = (topics,) if isinstance(topics, str) else tuple(topics)
    return (*given, "frame.") if frames else given


class Ledger:
    """Decodes and chooses, keeps events in order, and judges whether the daemon is there."""

    def __init__(
        self,
        topics: Sequence[str],
        on_silence: OnSilence,
        since: Since = None,
        *,
        former: Mapping[str, int] | None = None,
        now_s: float,
    ) -> None:
        self.topics = tuple(topic.encode() for topic in topics)
        self.follows_events = any(_overlap(topic, kind) for topic in topics for kind in EVENT_KINDS)
        """Whether events are wanted at all; if so every one is followed, so that each hole is noticed."""
        self.malformed = 0
        self.missed = 0
        self._raises = on_silence == "raise"
        self._presence = Presence(now_s)
        self._merge = Merge(since, now_s, former)
        self._others: deque[Record] = deque()
        self._settled: Place | None = self._merge.handover.place

    @property
    def subscriptions(self) -> list[bytes]:
        """Prefixes to subscribe to."""
        wanted = {*self.topics, HEALTH.encode()}
        if self.follows_events:
            wanted |= {kind.encode() for kind in EVENT_KINDS}
        least = [one for one in wanted if not any(one != other and one.startswith(other) for other in wanted)]
        return sorted(least)

    # -- what arrives ------------------------------------------------------------------------------

    def heard(self, parts: Sequence[bytes], now_s: float) -> None:
        """A message has come on the SUB socket."""
        try:
            record = decode(parts)
        except MessageError as error:
            self._skip(error)
            return
        if isinstance(record, Health):
            self._presence.heard(record, now_s)
        if self.follows_events and isinstance(record, Event):
            self._merge.event(record, now_s)
        elif self.follows_events and isinstance(record, Health):
            self._merge.health(record, now_s)
        if isinstance(record, Frames | Health) and self._is_wanted(record):
            self._others.append(record)

    def answered(self, parts: Sequence[bytes], now_s: float) -> None:
        """A reply has come on the control socket."""
        asked = self._merge.inquiry.asked
        if asked is None:
            return
        try:
            answer = read_answer(parts, asked)
        except MessageError as error:
            self._skip(error)
            self._merge.inquiry.failed(now_s)
            return
        if answer is not None:
            self._merge.answered(answer, now_s)

    def tick(self, now_s: float) -> None:
        """Time has passed, and no answer lies unread."""
        if self.follows_events:
            self._merge.tick(now_s)

    def check_silence(self, now_s: float) -> None:
        """Nothing lies unread or is left to take: raise DaemonGone if that was asked for and it is so."""
        if self._raises:
            self._presence.check(now_s)

    def _skip(self, error: MessageError) -> None:
        self.malformed += 1
        if self.malformed == 1:  # once: a newer daemon must not go unnoticed, nor fill the log
            _log.warning("skipped: %s", error)

    def _is_wanted(self, record: Event | Frames | Health) -> bool:
        return topic_of(record).startswith(self.topics)

    # -- what goes out -----------------------------------------------------------------------------

    def take(self) -> Record | None:
        """The next record to hand over."""
        ready = self._merge.handover.ready
        while ready:
            told, _ = ready.popleft()
            self._settled = ready[0][1] if ready else self._merge.handover.place
            if isinstance(told, Missed):
                self.missed += told.count or 0
                return told
            if self._is_wanted(told):
                return told
        self._settled = self._merge.handover.place
        return self._others.popleft() if self._others else None

    @property
    def settled(self) -> Place | None:
        """How far the caller has come with everything that was taken, and what it did not want between."""
        return self._settled

    @property
    def former(self) -> Mapping[str, int]:
        """Journals that were left, and the place in each, should one come back."""
        return self._merge.former

    def wants_to_ask(self, now_s: float) -> bool:
        """Whether there is a question for the control socket."""
        return self.follows_events and self._merge.wants_to_ask(now_s)

    def ask(self, now_s: float) -> bytes:
        """The one frame of the question, which counts as sent."""
        return encode_request(self._merge.ask(now_s))

    def not_sent(self, now_s: float) -> None:
        """The question could not be sent after all."""
        self._merge.inquiry.failed(now_s)

    # -- the daemon, and time ----------------------------------------------------------------------

    @property
    def health(self) -> Health | None:
        """The last health message."""
        return self._presence.health

    def alive(self, now_s: float) -> bool:
        """Whether some stream's health was heard within its last three heartbeats."""
        return self._presence.alive(now_s)

    def woke(self, now_s: float) -> None:
        """The front end looks again after having waited, or having been away."""
        self._presence.woke(now_s)

    def wake_s(self, deadline_s: float | None, now_s: float) -> float:
        """The moment at which the front end has to look again although nothing came; infinity: never."""
        moments = [math.inf if deadline_s is None else deadline_s]
        due_s = self._merge.due_s(now_s) if self.follows_events else None
        if due_s is not None:
            moments.append(due_s)
        if self._raises:
            moments.append(self._presence.silent_at_s())
        wake_s = min(moments)
        self._presence.will_wait_until(wake_s)
        return wake_s


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)

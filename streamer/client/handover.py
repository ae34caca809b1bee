"""What a subscriber hands over, what waits for what is before it, and the place between the two."""

from __future__ import annotations

from collections import deque

from streamer.client.records import Missed, Place
from streamer.delivery.messages import Event

WAITING_MAX = 1_000
"""Live events that wait for a replay."""


class Handover:
    """The place moves over a number only when that number is handed over or told as missed."""

    def __init__(self, place: Place | None) -> None:
        self.ready: deque[tuple[Event | Missed, Place | None]] = deque()
        """To be handed over, each with the place before it."""
        self.place = place
        """Everything up to here is in `ready` or was taken from it; None: it is not known where to begin."""
        self.waiting: deque[Event] = deque()
        """Live events beyond a hole; numbers ascend."""
        self.head = place.seq if place else 0
        """The highest number that is known to have been given out."""

    @property
    def is_behind(self) -> bool:
        """Whether something is missing."""
        return self.place is not None and self.head > self.place.seq

    def begin(self, journal: str, seq: int) -> None:
        """Begin after this number."""
        self.place = Place(journal, seq)
        self.waiting = deque(event for event in self.waiting if event.journal == journal)
        self.head = max([seq, *(event.seq for event in self.waiting)])

    def leave(self) -> None:
        """It is no longer known where to begin."""
        self.place, self.head = None, 0
        self.waiting.clear()

    def go_back(self, head: int) -> None:
        """Numbers after this one were never given out, or will be once more."""
        assert self.place is not None
        self.place, self.head = Place(self.place.journal, min(self.place.seq, head)), head
        self.waiting.clear()

    def wait(self, event: Event) -> None:
        """A live event has come; beyond the bound it is let go, and will be asked for."""
        behind = self.place is not None and event.seq <= self.place.seq
        ascends = not self.waiting or event.seq > self.waiting[-1].seq
        if not behind and ascends and len(self.waiting) < WAITING_MAX:
            self.waiting.append(event)

    def hand_over_waiting(self) -> None:
        """What need not wait any longer."""
        assert self.place is not None
        while self.waiting and self.waiting[0].seq <= self.place.seq + 1:
            event = self.waiting.popleft()
            if event.seq > self.place.seq:
                self.tell(event, event.seq)

    def tell(self, told: Event | Missed, through: int) -> None:
        """Hand over what brings us up to this number."""
        assert self.place is not None
        self.ready.append((told, self.place))
        self.place = Place(self.place.journal, through)

    def tell_aside(self, told: Event | Missed) -> None:
        """Hand over what has no number of this journal."""
        self.ready.append((told, self.place))

    def miss(self, last: int, reason: str) -> None:
        """Everything up to this number will never come."""
        assert self.place is not None
        first = self.place.seq + 1
        if first <= last:
            self.tell(Missed(journal=self.place.journal, first=first, last=last, reason=reason), last)

    def miss_unknown(self, journal: str, first: int | None, reason: str) -> None:
        """Nobody knows how much will never come."""
        self.tell_aside(Missed(journal=journal, first=first, last=None, reason=reason))

    def miss_until_waiting(self, reason: str) -> None:
        """What is missing before the next event that we hold will not be had."""
        if self.waiting or self.is_behind:
            self.miss(self.waiting[0].seq - 1 if self.waiting else self.head, reason)
            self.hand_over_waiting()

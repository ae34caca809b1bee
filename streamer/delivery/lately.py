"""What was told just before this run began: sound that is sent again after a kill is not to be told again."""

from __future__ import annotations

from streamer.delivery.journal import Journal
from streamer.delivery.messages import Event, MessageError, decode, utc_ms
from streamer.delivery.past import Query, Unreadable

EVENTS_MAX = 500
"""Looked at: those of a few seconds, whatever the number of streams."""
SAME_MS = 300
"""Two hits of a keyword that are no further apart are one: nobody says it twice in that time."""


class Lately:
    """The last hit of each keyword of each stream, in the runs before this one."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._hits: dict[tuple[str, str], int] = {}
        if journal is None:
            return
        try:
            past = journal.read(Query(since_seq=max(0, journal.head_seq - EVENTS_MAX), limit=EVENTS_MAX))
        except Unreadable:  # it is told elsewhere; at worst something is told twice
            return
        for entry in past.entries:
            try:
                event = decode([entry.topic.encode(), entry.body])
            except MessageError:
                continue
            if isinstance(event, Event) and event.phase == "hit":
                self._hits[event.stream, event.label] = entry.time_ms

    def has(self, stream: str, label: str, time_utc: str) -> bool:
        """Whether a keyword that was captured at that moment is told already."""
        hit_ms = self._hits.get((stream, label))
        return hit_ms is not None and abs(utc_ms(time_utc) - hit_ms) <= SAME_MS

"""Reading the journal: one bounded piece of the past at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from streamer.delivery.store import Entry, Lost
from streamer.errors import StreamerError

SCAN_MAX = 5_000
"""Events looked at for one piece, so that a rare topic cannot keep the daemon busy."""
LOST_MAX = 1_000
"""Ranges of lost numbers in one piece."""


class Unreadable(StreamerError):
    """What was asked for is in the journal, but cannot be read at present."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for."""

    since_seq: int = 0
    since_ms: int | None = None
    """Milliseconds since 1970 (UTC)."""
    topics: tuple[str, ...] = ()
    """Prefixes; none: all."""
    limit: int = 1_000
    bytes_max: int = 262_144


@dataclass(frozen=True, slots=True)
class Past:
    """The answer: every event of first_seq..through_seq that fits, but for those that are lost."""

    first_seq: int
    through_seq: int
    """first_seq - 1 if nothing is told."""
    entries: list[Entry]
    lost: list[Lost]


def select(query: Query, first_seq: int, head_seq: int, entries: Iterable[Entry]) -> Past:
    """As many of the entries, which ascend from first_seq, as the query and one piece admit."""
    chosen: list[Entry] = []
    size, through = 0, first_seq - 1
    for scanned, entry in enumerate(entries):
        fits = not query.topics or entry.topic.startswith(query.topics)
        full = len(chosen) == query.limit or (chosen and size + len(entry.body) > query.bytes_max)
        if scanned == SCAN_MAX or (fits and full):
            return Past(first_seq, through, chosen, [])
        if fits:
            chosen.append(entry)
            size += len(entry.body)
        through = entry.seq
    return Past(first_seq, max(through, head_seq), chosen, [])


def with_lost(past: Past, lost: list[Lost]) -> Past:
    """Say what is lost within the piece; where that is too much to tell, the piece ends sooner."""
    through = past.through_seq
    if len(lost) > LOST_MAX:
        through = lost[LOST_MAX].first - 1
        lost = lost[:LOST_MAX]
        past = replace(past, entries=[entry for entry in past.entries if entry.seq <= through])
    clipped = [
        Lost(max(gap.first, past.first_seq), min(gap.last, through), gap.reason)
        for gap in lost
        if gap.last >= past.first_seq and gap.first <= through
    ]
    return replace(past, through_seq=through, lost=clipped)

"""Journals for tests: entries as a daemon would write them, and all that a journal gives back."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from streamer.delivery.journal import Journal
from streamer.delivery.messages import Event, encode, utc_ms, utc_text
from streamer.delivery.past import Past, Query
from streamer.delivery.store import Entry, Lost

BEGAN_S = 1_769_860_800.0


def entry(journal: str, seq: int, *, label: str = "dog-bark", run: str = "5f3a9c0e12b4d678") -> Entry:
    """The event of that number, a tenth of a second after the one before it."""
    event = Event(
        run=run,
        journal=journal,
        seq=seq,
        stream="kitchen",
        kind="sound",
        label=label,
        phase="start",
        onset_s=seq / 10,
        offset_s=None,
        detected_s=seq / 10,
        score=0.5,
        time_utc=utc_text(BEGAN_S + seq / 10),
        model="default",
    )
    topic, body = encode(event)
    return Entry(seq, topic.decode(), utc_ms(event.time_utc), body)


def add(journal: Journal, count: int) -> list[Entry]:
    """Append so many events with the next numbers, one by one as a quiet daemon does."""
    entries = []
    for _ in range(count):
        entries.append(entry(journal.name, journal.head_seq + 1))
        journal.append(entries[-1:])
    return entries


def everything(journal: Journal, query: Query | None = None) -> tuple[list[Entry], list[Lost]]:
    """All that replay gives, page by page, checked to be without hole or double."""
    query = query or Query()
    entries: list[Entry] = []
    lost: list[Lost] = []
    since = query.since_seq
    while True:
        past = journal.read(Query(since, query.since_ms, query.topics, query.limit, query.bytes_max))
        check_page(past, since)
        entries += past.entries
        lost += past.lost
        if past.through_seq >= journal.head_seq:
            return entries, lost
        assert past.through_seq > since, "no progress"
        since = past.through_seq


def check_page(past: Past, since: int) -> None:
    """What every page promises."""
    assert past.first_seq > since
    assert past.through_seq >= past.first_seq - 1
    seqs = [found.seq for found in past.entries]
    assert seqs == sorted(set(seqs))
    assert all(past.first_seq <= seq <= past.through_seq for seq in seqs)
    gone = [seq for gap in past.lost for seq in range(gap.first, gap.last + 1)]
    assert all(past.first_seq <= seq <= past.through_seq for seq in gone)
    assert not set(seqs) & set(gone)


def covered(entries: list[Entry], lost: list[Lost]) -> list[int]:
    """Every number that is there or told to be lost, in order."""
    seqs = {found.seq for found in entries}
    return sorted(seqs | {seq for gap in lost for seq in range(gap.first, gap.last + 1)})


def quick_folder() -> Path:
    """A private directory, in memory where there is such a thing: a thousand journals want no disk."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="journal-", dir=memory if os.access(memory, os.W_OK) else None))

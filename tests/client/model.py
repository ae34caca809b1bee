"""A daemon made of lists and a clock: it keeps, forgets, fails, dies and comes back as the test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from streamer.delivery.messages import Event, Health, encode, utc_text
from streamer.delivery.requests import (
    Ping,
    PingReply,
    Replay,
    ReplayReply,
    RequestError,
    decode_request,
    encode_reply,
    error_reply,
)

EPOCH_S = 1_800_000_000.0
HEARTBEAT_S = 2.0
BACKLOG_MAX = 3
PAGE_MAX = 3
CUT_OFF = "not journalled before the daemon ended"
OVERFLOWN = "more than could wait for the journal"

Parts = list[bytes]


def an_event(**changes: Any) -> Event:
    """An event, with what the test wants otherwise."""
    fields: dict[str, Any] = {
        "run": "run-1",
        "journal": "aaaa",
        "seq": 1,
        "stream": "kitchen",
        "kind": "keyword",
        "label": "hello",
        "phase": "hit",
        "onset_s": 1.0,
        "offset_s": 1.5,
        "detected_s": 1.5,
        "score": 0.9,
        "time_utc": utc_text(EPOCH_S),
        "model": "tiny",
    }
    return Event(**fields | changes)


def a_health(**changes: Any) -> Health:
    """A health message, with what the test wants otherwise."""
    fields: dict[str, Any] = {
        "run": "run-1",
        "journal": "aaaa",
        "seq": 0,
        "stream": "kitchen",
        "state": "listening",
        "detail": "",
        "final": False,
        "time_utc": utc_text(EPOCH_S),
        "uptime_s": 1.0,
        "heartbeat_s": HEARTBEAT_S,
        "source": "a model",
        "listened_s": 1.0,
        "level_dbfs": None,
        "peak_dbfs": None,
        "overruns": 0,
        "lost_samples": 0,
        "gaps": 0,
        "bad_samples": 0,
        "clipped_samples": 0,
        "lag_s": None,
        "last_sample_age_s": None,
        "cpu_percent": None,
        "version": "0",
        "model": "tiny",
        "label_count": 1,
    }
    return Health(**fields | changes)


@dataclass
class Kept:
    """What is on the disk."""

    name: str
    table: dict[int, Event] = field(default_factory=dict)
    lost: list[tuple[int, int, str]] = field(default_factory=list)
    highest: int = 0
    """The small file with the highest number given out."""
    oldest: int = 1


class ModelDaemon:
    """Publishes into `publish`, answers what `serve` is given."""

    def __init__(self, clock: Callable[[], float], publish: Callable[[Parts], None]) -> None:
        self._clock = clock
        self._publish = publish
        self._runs = 0
        self.disks = [Kept("journal-0")]
        self.disk = self.disks[0]
        self.truth: dict[str, dict[int, Event]] = {self.disk.name: {}}
        """Journal -> number -> the event that was heard."""
        self.failing = False
        self.begin()

    def begin(self) -> None:
        """Start, for the first time or after a kill: what waited in memory is gone, which is written down."""
        self._runs += 1
        self.run = f"run-{self._runs}"
        self.backlog: list[Event] = []
        disk = self.disk
        known = max([disk.oldest - 1, *disk.table, *(last for _, last, _ in disk.lost)])
        if disk.highest > known:
            disk.lost.append((known + 1, disk.highest, CUT_OFF))
        self.seq = max(known, disk.highest)
        self.failing = False

    def hear(self, *, dies_first: bool = False) -> None:
        """Something is heard: written, then published, unless it is killed in between."""
        self.seq += 1
        event = an_event(
            run=self.run,
            journal=self.disk.name,
            seq=self.seq,
            score=round(self._clock() % 1, 6),
            time_utc=utc_text(EPOCH_S + self._clock()),
            label="hello" if self.seq % 3 else "stop",
        )
        self.truth[self.disk.name][self.seq] = event
        self._write(event)
        if dies_first:
            self.begin()
        else:
            self._publish(encode(event))

    def _write(self, event: Event) -> None:
        disk = self.disk
        if not self.failing:
            self.catch_up()
            disk.table[event.seq] = event
            return
        disk.highest = event.seq
        self.backlog.append(event)
        if len(self.backlog) > BACKLOG_MAX:
            gone = self.backlog.pop(0).seq
            disk.lost.append((gone, gone, OVERFLOWN))

    def catch_up(self) -> None:
        """The disk is well again: what waits is written."""
        self.failing = False
        self.disk.table |= {event.seq: event for event in self.backlog}
        self.backlog = []

    def forget(self, count: int) -> None:
        """Retention takes the oldest."""
        disk = self.disk
        top = max([0, *disk.table])
        disk.oldest = max(disk.oldest, min(disk.oldest + count, top + 1))
        disk.table = {seq: event for seq, event in disk.table.items() if seq >= disk.oldest}

    def change_journal(self, back: bool) -> None:
        """Killed, and started again in another state directory: a fresh one, or one that was there before."""
        if back and len(self.disks) > 1:
            self.disks.insert(0, self.disks.pop())
        else:
            self.disks.append(Kept(f"journal-{len(self.disks)}"))
            self.truth[self.disks[-1].name] = {}
        self.disk = self.disks[-1]
        self.begin()

    def beat(self) -> None:
        """A heartbeat."""
        health = a_health(
            run=self.run,
            journal=self.disk.name,
            seq=self.seq,
            oldest_seq=self.disk.oldest,
            time_utc=utc_text(EPOCH_S + self._clock()),
        )
        self._publish(encode(health))

    def serve(self, frame: bytes) -> Parts:
        """The reply to a request."""
        try:
            request = decode_request(frame)
        except RequestError as error:
            return [encode_reply(error_reply(error))]
        if isinstance(request, Ping):
            return [encode_reply(self._ping(request))]
        assert isinstance(request, Replay)
        return self._replay(request)

    def _ping(self, request: Ping) -> PingReply:
        return PingReply(
            id=request.id,
            time_utc=utc_text(EPOCH_S + self._clock()),
            run=self.run,
            journal=self.disk.name,
            seq=self.seq,
            version="0",
        )

    def _replay(self, request: Replay) -> Parts:
        disk = self.disk
        held = disk.table | {event.seq: event for event in self.backlog}
        if request.since_utc is not None:
            moment = datetime.fromisoformat(request.since_utc)
            later = [seq for seq, event in held.items() if datetime.fromisoformat(event.time_utc) >= moment]
            first = min(later, default=self.seq + 1)
        else:
            first = max((request.since_seq or 0) + 1, disk.oldest)
        fitting = sorted(seq for seq in held if seq >= first)
        page = fitting[:PAGE_MAX]
        through = self.seq if page == fitting else page[-1]
        through = max(through, first - 1)
        lost = [
            (max(first, one), min(through, last), reason)
            for one, last, reason in disk.lost
            if one <= through and last >= first
        ]
        reply = ReplayReply(
            id=request.id,
            journal=disk.name,
            first_seq=first,
            through_seq=through,
            head_seq=self.seq,
            oldest_seq=disk.oldest,
            more=through < self.seq,
            lost=lost,
        )
        return [encode_reply(reply), *(encode(held[seq])[1] for seq in page)]

    def absent(self) -> set[int]:
        """Numbers of the present journal that nobody can have any more."""
        held = set(self.disk.table) | {event.seq for event in self.backlog}
        return set(range(1, self.seq + 1)) - held

"""What the delivery thread can answer by itself: is anybody there, how are things, what has been."""

from __future__ import annotations

import time

from streamer import __version__
from streamer.delivery.journal import Journal
from streamer.delivery.messages import Health, utc_ms, utc_text
from streamer.delivery.past import Query, Unreadable
from streamer.delivery.publisher import Publisher
from streamer.delivery.requests import (
    REPLY_MAX_BYTES,
    JournalStatus,
    PingReply,
    Replay,
    ReplayReply,
    RequestError,
    StatusReply,
    StreamInfo,
    StreamsReply,
)


class InfoDesk:
    """Answers from the journal, and from what was published last."""

    def __init__(self, run: str, journal: Journal | None, publisher: Publisher) -> None:
        self._run = run
        self._journal = journal
        self._publisher = publisher
        self.health: dict[str, Health] = {}
        """The last health message of each stream that there is."""
        self.seq = 0
        """Number of the last event published."""

    def note(self, health: Health) -> None:
        """A stream has told how it is; remote ones come and go, so that one that has ended is forgotten."""
        if health.final:
            self.health.pop(health.stream, None)
        else:
            self.health[health.stream] = health

    def ping(self) -> PingReply:
        """Yes."""
        return PingReply(
            time_utc=utc_text(time.time()),
            run=self._run,
            journal=self._journal.name if self._journal else "",
            seq=self.seq,
            version=__version__,
        )

    def status(self, control_on: list[str], frames_dropped: int) -> StatusReply:
        """Everything about everything."""
        return StatusReply(
            time_utc=utc_text(time.time()),
            run=self._run,
            version=__version__,
            streams=list(self.health.values()),
            journal=self._journal_status(),
            publishing_on=self._publisher.endpoints,
            control_on=control_on,
            subscriptions=sorted(prefix.decode(errors="replace") for prefix in self._publisher.wanted),
            sent=self._publisher.sent,
            overflows=self._publisher.overflows,
            frames_dropped=frames_dropped,
        )

    def _journal_status(self) -> JournalStatus:
        journal = self._journal
        if journal is None:
            return JournalStatus(
                journal="",
                seq=self.seq,
                oldest_seq=0,
                journal_state="off",
                journal_detail="",
                journal_pending=0,
                path="",
                size_bytes=0,
            )
        health = journal.health()
        return JournalStatus(
            journal=health.journal,
            seq=health.seq,
            oldest_seq=health.oldest_seq,
            journal_state=health.state,
            journal_detail=health.detail,
            journal_pending=health.pending,
            path=str(journal.place.database),
            size_bytes=journal.place.size_bytes,
        )

    def streams(self) -> StreamsReply:
        """The streams there are."""
        return StreamsReply(
            streams=[
                StreamInfo(
                    stream=health.stream,
                    state=health.state,
                    detail=health.detail,
                    source=health.source,
                    model=health.model,
                )
                for health in self.health.values()
            ]
        )

    def replay(self, asked: Replay) -> tuple[ReplayReply, list[bytes]]:
        """A piece of the past, and its events; raises RequestError."""
        journal = self._journal
        if journal is None:
            raise RequestError(
                "not-available", "the daemon keeps no journal", "start it without --no-journal"
            )
        try:
            since_ms = None if asked.since_utc is None else utc_ms(asked.since_utc)
        except (ValueError, OverflowError):
            raise RequestError(
                "bad-request", f"{asked.since_utc!r:.60} is no moment", "2026-01-31T12:00:00Z is one"
            ) from None
        query = Query(asked.since_seq or 0, since_ms, tuple(asked.topics), asked.limit, REPLY_MAX_BYTES)
        try:
            past = journal.read(query)
        except Unreadable as error:
            raise RequestError("not-available", error.message, error.remedy) from None
        reply = ReplayReply(
            journal=journal.name,
            first_seq=past.first_seq,
            through_seq=past.through_seq,
            head_seq=journal.head_seq,
            oldest_seq=journal.oldest_seq,
            more=past.through_seq < journal.head_seq,
            lost=[(gap.first, gap.last, gap.reason) for gap in past.lost],
        )
        return reply, [entry.body for entry in past.entries]

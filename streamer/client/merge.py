"""Puts live events and replayed ones together: each exactly once, in order, and what is gone is told.

The argument, since everything rests on it.

Every event has a number in a journal, and numbers of a journal are given out one after the other. We keep
one *place*: all numbers up to it have been handed over, or told as missed. A live event is taken only if it
is the very next one, so nothing is doubled and nothing overtakes; anything else is either behind the place
(a double, dropped) or ahead of it (something is missing between, so it waits). The *head* is the highest
number that we know to have been given out: from a live event, from a heartbeat, which tells the last number
before it, or from a reply. While the head is beyond the place we owe events, and ask for a replay of what
comes after the place. A reply covers a stretch of numbers completely: what is in it is handed over, what is
not in it will never come. So the place moves over a number only when that number is handed over or told as
missed, and this depends on no order between the two sockets, on no time, and on no connection.

Promptness does. A SUB socket that has connected is not yet subscribed, and events that are published before
the daemon has read the subscription do not come. A replay alone therefore proves nothing about what comes
after its head: an event may be published after the reply was made and before the subscription is in force.
Only a message on the SUB socket proves the connection, and from then on ZeroMQ keeps the order: if an event
is left out (a full queue, a broken connection, one prefix in force and the next not yet), a later one or a
heartbeat arrives with a larger number and shows the hole. So the head of a reply is never taken for "the
rest comes live": the first message on the SUB socket is compared with the place like any other, and we ask
again if something was published in between. The longest that an event stays unnoticed is one heartbeat.

Whoever begins with what is new gets what was published since the subscriber was made, not since the
connection stood: we ask the daemon for its clock, take off our own age, and begin there.

Which journal is the daemon's? Messages of a former one may wait in the SUB socket's queue after a reply has
told of its successor, so a live message of another journal only raises a doubt, and the reply to a question
that was asked after it settles that. The places in journals that were left are remembered, since a journal
can come back (a disk that was not mounted). Likewise numbers that go back within a journal (nothing could be
written, not even the number, and then the daemon was killed): only a reply can show that, since it was made
after the question, and by then the place had been reached.

What waits is bounded: beyond WAITING_MAX the newest live events are let go, and come by replay.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamer.client.beginning import Beginning, place_in
from streamer.client.handover import Handover
from streamer.client.inquiry import Asked, Inquiry
from streamer.client.pages import Page
from streamer.client.patience import NO_ANSWER, Patience
from streamer.client.records import Since
from streamer.client.unkept import NO_JOURNAL, Unkept
from streamer.delivery.messages import Event, Health
from streamer.delivery.requests import ErrorReply, Ping, PingReply, Replay

ASK_AGAIN = ("busy", "failed", "not-available")
"""Codes of errors that pass; with any other there will be no replay however often we ask."""
FORMER_MAX = 8
"""Journals that were left whose place is remembered."""

ANOTHER_JOURNAL = "the daemon has another journal now"
WENT_BACK = "the journal ends before the place that we had come to"


class Merge:
    """Live events, heartbeats and answers go in; events in order and questions come out."""

    def __init__(self, since: Since, now_s: float, former: Mapping[str, int] | None = None) -> None:
        self.handover = Handover(place_in(since))
        self.former: dict[str, int] = dict(former or {})
        """Journals that were left, and the place in each."""
        self.inquiry = Inquiry(now_s)
        self._beginning = Beginning(since, now_s)
        self._patience = Patience()
        self._joins = False  # nobody answers: begin with the next live message
        self._run = ""
        self._heard_utc = ""
        self._doubt = False  # the last live message was of another journal
        self._unkept: Unkept | None = None  # while the daemon keeps no journal

    # -- live messages -----------------------------------------------------------------------------

    def event(self, event: Event, now_s: float) -> None:
        """A live event."""
        if not event.journal:
            self._follow_unkept(event.run, event.seq, event)
            return
        if self._is_ours(event, event.seq - 1, now_s):
            self.handover.head = max(self.handover.head, event.seq)
            self.handover.wait(event)
            self.handover.hand_over_waiting()
        elif self.handover.place is None:
            self.handover.wait(event)
        self._owe(now_s)

    def health(self, health: Health, now_s: float) -> None:
        """A heartbeat."""
        if not health.journal:
            self._follow_unkept(health.run, health.seq, None)
            return
        if self._is_ours(health, health.seq, now_s):
            self.handover.head = max(self.handover.head, health.seq)
        self._owe(now_s)

    def _is_ours(self, record: Event | Health, before: int, now_s: float) -> bool:
        """Whether the record is of the journal that we follow; `before` is the last number before it."""
        self._unkept = None
        if record.run != self._run:
            if self._run:  # only asking shows whether numbers went back
                self.inquiry.start_anew(now_s)
                self.inquiry.wanted = True
            self._run = record.run
            self._patience.rest()
        if self.handover.place is None:
            if not self._joins:
                return False
            self._begin_at(record.journal, before)
        assert self.handover.place is not None
        self._doubt = record.journal != self.handover.place.journal
        if self._doubt:
            self.inquiry.wanted = True
        else:
            self._heard_utc = record.time_utc
        return not self._doubt

    # -- what we owe -------------------------------------------------------------------------------

    def _owe(self, now_s: float) -> None:
        """The daemon was heard: note whether something is missing, and for how long it has been."""
        if self.handover.place is not None and not self.handover.is_behind and not self._doubt:
            self._patience.rest()
            return
        if self.inquiry.asked is None:
            self.inquiry.wanted = True
        self._patience.owe(now_s)
        ends_s = self._patience_ends_s
        if ends_s is not None and now_s >= ends_s:
            self._lose_patience()

    @property
    def _patience_ends_s(self) -> float | None:
        return self._patience.ends_s(joins=self._joins_soon, reached=self.inquiry.has_asked)

    @property
    def _joins_soon(self) -> bool:
        return self.handover.place is None and self._beginning.only_new

    def _lose_patience(self) -> None:
        self._patience.lose()
        self._give_up(self._patience.reason)

    def _give_up(self, reason: str) -> None:
        """Go on without what is missing before the next live event."""
        if self._doubt:
            self._leave_journal()
        if self.handover.place is None:
            self._join(reason)
        else:
            self.handover.miss_until_waiting(reason)
        self.inquiry.wanted = self.handover.is_behind

    def _join(self, reason: str) -> None:
        self._joins = True
        if not self._beginning.only_new:
            self.handover.miss_unknown("", None, reason)
            self._beginning.give_up()
        if self.handover.waiting:
            self._begin_at(self.handover.waiting[0].journal, self.handover.waiting[0].seq - 1)
            self.handover.hand_over_waiting()

    def _begin_at(self, journal: str, seq: int) -> int:
        seq = self.former.pop(journal, seq)
        self._joins = self._doubt = False
        self.handover.begin(journal, seq)
        return seq

    # -- questions ---------------------------------------------------------------------------------

    def wants_to_ask(self, now_s: float) -> bool:
        """Whether there is a question that should be sent now."""
        return self._unkept is None and self.inquiry.may_ask(now_s)

    def due_s(self, now_s: float) -> float | None:
        """When time alone changes something."""
        if self._unkept is not None:
            return None
        moments = [self.inquiry.due_s(now_s), self._patience_ends_s if self._joins_soon else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def tick(self, now_s: float) -> None:
        """Time has passed, and no answer lies unread.

        A hole waits as long as it takes a daemon that is away to come back: patience with it is lost only
        when it is heard. But to whoever begins with what is new nothing was promised, and time is enough.
        """
        self.inquiry.tick(now_s)
        ends_s = self._patience_ends_s
        if self._joins_soon and ends_s is not None and now_s >= ends_s:
            self._lose_patience()

    def ask(self, now_s: float) -> Ping | Replay:
        """The question, which counts as sent."""
        name = self.inquiry.next_id()
        request: Ping | Replay
        if self.handover.place is None:
            request = self._beginning.question(name)
        else:
            request = Replay(id=name, since_seq=self.handover.place.seq)
        self.inquiry.sent(request, self.handover.head, now_s)
        return request

    # -- answers -----------------------------------------------------------------------------------

    def answered(self, answer: PingReply | Page | ErrorReply, now_s: float) -> None:
        """The answer to what was asked."""
        asked, self.inquiry.asked = self.inquiry.asked, None
        assert asked is not None
        if isinstance(answer, PingReply):
            self._learn_time(answer, now_s)
        elif isinstance(answer, Page):
            self._turn(answer, asked, now_s)
        elif answer.error.code in ASK_AGAIN:
            self._patience.reason = answer.error.message
            self.inquiry.failed(now_s)
        else:
            self._give_up(answer.error.message)

    def _learn_time(self, answer: PingReply, now_s: float) -> None:
        self.inquiry.succeeded()
        if not answer.journal:
            self._unkept = Unkept(answer.run, answer.seq)
        elif self._beginning.learn_time(answer, now_s):
            self.inquiry.wanted = True
        else:
            self._give_up(NO_ANSWER)

    def _turn(self, page: Page, asked: Asked, now_s: float) -> None:
        """Take over a page of past events."""
        reply = page.reply
        if self.handover.place is not None and self.handover.place.journal != reply.journal:
            self._leave_journal()
            return
        more_to_come = reply.through_seq <= asked.since and reply.head_seq > asked.since
        if more_to_come or (self.handover.place is not None and not page.covers(self.handover.place.seq + 1)):
            self.inquiry.failed(now_s)  # it says that there is more, and gives nothing or something else
            return
        self.inquiry.succeeded()
        self._patience.renew()
        self._doubt = False
        known = max(asked.since, asked.head)
        if self.handover.place is None:
            begins = self._begin_at(reply.journal, self._beginning.number(page, self.handover.waiting))
            known = max(known, begins)
            if not page.covers(begins + 1):  # what came live is older than the moment that we asked for
                self.handover.hand_over_waiting()
                self.inquiry.wanted = True
                return
        self._take(page)
        self.handover.head = max(self.handover.head, reply.head_seq)
        if reply.head_seq < known:
            self.handover.miss_unknown(reply.journal, None, WENT_BACK)
            self.handover.go_back(reply.head_seq)
        self.handover.hand_over_waiting()
        if self.handover.is_behind:
            self.inquiry.wanted = True

    def _take(self, page: Page) -> None:
        for event in page.events:
            self._miss_by(page, event.seq - 1)
            if self.handover.place is not None and event.seq > self.handover.place.seq:
                self.handover.tell(event, event.seq)
                self._heard_utc = event.time_utc
        self._miss_by(page, page.last)

    def _miss_by(self, page: Page, through: int) -> None:
        assert self.handover.place is not None
        for last, reason in page.missing(self.handover.place.seq, through):
            self.handover.miss(last, reason)

    def _leave_journal(self) -> None:
        """Nobody can say how the old journal went on; begin in the new one where the caller would have."""
        assert self.handover.place is not None
        self.handover.miss_unknown(self.handover.place.journal, self.handover.place.seq + 1, ANOTHER_JOURNAL)
        kept = list(self.former.items())[1 - FORMER_MAX :]
        self.former = {**dict(kept), self.handover.place.journal: self.handover.place.seq}
        self._beginning.elsewhere(self._heard_utc)
        self.handover.leave()
        self._doubt = False
        self.inquiry.wanted = True

    # -- a daemon without a journal ----------------------------------------------------------------

    def _follow_unkept(self, run: str, seq: int, event: Event | None) -> None:
        """The place stays where it was, for the day on which the journal is back."""
        last = seq if event is None else seq - 1
        if self._unkept is None:
            if self.handover.place is not None or not self._beginning.only_new:
                self.handover.miss_unknown("", None, NO_JOURNAL)
            self._unkept = Unkept(run, last)
        gone = self._unkept.hole_before(run, last + 1)
        if gone is not None:
            self.handover.tell_aside(gone)
        if event is not None and self._unkept.is_next(event.seq):
            self.handover.tell_aside(event)

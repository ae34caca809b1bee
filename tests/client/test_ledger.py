"""The subscriber's books, case by case: no sockets, and a clock that is a number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.client import handover
from streamer.client.ledger import DEFAULT_TOPICS, Ledger
from streamer.client.merge import ANOTHER_JOURNAL, FORMER_MAX, WENT_BACK
from streamer.client.patience import (
    IMPATIENCE_S,
    NO_ANSWER,
    PATIENCE_S,
    UNREACHED_JOIN_PATIENCE_S,
    UNREACHED_PATIENCE_S,
)
from streamer.client.records import DaemonGone, Missed, Place, Since
from streamer.client.unkept import NO_JOURNAL
from streamer.delivery.messages import Event, Health, encode, to_json
from streamer.delivery.requests import (
    ErrorReply,
    Fault,
    Ping,
    PingReply,
    Replay,
    ReplayReply,
    decode_request,
    encode_reply,
)
from tests.client.model import a_health, an_event

UNKEPT = {"journal": ""}


class Desk:
    """A ledger, and the test as its daemon."""

    def __init__(
        self,
        since: Since = None,
        *,
        topics: Sequence[str] = DEFAULT_TOPICS,
        raises: bool = False,
        **more: Any,
    ) -> None:
        self.now_s = 0.0
        self.ledger = Ledger(topics, "raise" if raises else "wait", since, now_s=0.0, **more)

    def hear(self, *records: Event | Health) -> None:
        for record in records:
            self.ledger.heard(encode(record), self.now_s)

    def question(self) -> Ping | Replay:
        assert self.ledger.wants_to_ask(self.now_s)
        request = decode_request(self.ledger.ask(self.now_s))
        assert isinstance(request, Ping | Replay)
        return request

    def reply(self, request: Ping | Replay, *events: Event, **changes: Any) -> None:
        """A reply to replay, complete unless the test says otherwise."""
        last = events[-1].seq if events else getattr(request, "since_seq", 0) or 0
        fields: dict[str, Any] = {
            "id": request.id,
            "journal": "aaaa",
            "first_seq": events[0].seq if events else last + 1,
            "through_seq": last,
            "head_seq": changes.get("through_seq", last),
            "oldest_seq": 1,
            "more": False,
            "lost": [],
        }
        self.ledger.answered(
            [encode_reply(ReplayReply(**fields | changes)), *(to_json(event) for event in events)], self.now_s
        )

    def refuse(self, request: Ping | Replay, code: str) -> None:
        fault = Fault(code=code, message=f"no: {code}")
        self.ledger.answered([encode_reply(ErrorReply(id=request.id, error=fault))], self.now_s)

    def take(self) -> list[Any]:
        """What is handed over, heartbeats left out: numbers of events, and what was missed."""
        taken = []
        while (record := self.ledger.take()) is not None:
            if isinstance(record, Event):
                taken.append(record.seq)
            elif isinstance(record, Missed):
                taken.append((record.first, record.last, record.reason))
        return taken


def at_place(seq: int = 3, **more: Any) -> Desk:
    """A subscriber that goes on after a number, has asked what it missed, and has missed nothing."""
    desk = Desk(Place("aaaa", seq), **more)
    desk.reply(desk.question())
    desk.hear(a_health(seq=seq))
    assert desk.take() == []
    return desk


# -- events and holes ------------------------------------------------------------------------------


def test_live_events_pass() -> None:
    desk = at_place()
    desk.hear(an_event(seq=4), a_health(seq=4), an_event(seq=5))
    assert desk.take() == [4, 5]
    assert not desk.ledger.wants_to_ask(1.0)


def test_a_hole_is_filled_before_what_comes_after_it() -> None:
    desk = at_place()
    desk.hear(an_event(seq=6))
    assert desk.take() == []
    request = desk.question()
    assert isinstance(request, Replay)
    assert request.since_seq == 3
    desk.hear(an_event(seq=7))
    desk.reply(request, *(an_event(seq=seq) for seq in (4, 5, 6)))
    assert desk.take() == [4, 5, 6, 7]
    assert desk.ledger.missed == 0


def test_few_wait_and_the_rest_comes_by_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "WAITING_MAX", 3)
    desk = at_place()
    desk.hear(*(an_event(seq=seq) for seq in range(6, 11)))
    desk.reply(desk.question(), an_event(seq=4), an_event(seq=5), head_seq=10)
    assert desk.take() == [4, 5, 6, 7, 8]
    request = desk.question()
    assert isinstance(request, Replay)
    assert request.since_seq == 8
    desk.reply(request, an_event(seq=9), an_event(seq=10))
    assert desk.take() == [9, 10]


def test_a_heartbeat_shows_a_hole() -> None:
    desk = at_place()
    desk.hear(a_health(seq=5))
    desk.reply(desk.question(), an_event(seq=4), an_event(seq=5))
    assert desk.take() == [4, 5]


def test_a_long_past_comes_page_by_page() -> None:
    desk = Desk("all")
    for first in (1, 3, 5):
        request = desk.question()
        assert isinstance(request, Replay)
        assert request.since_seq == first - 1
        desk.reply(request, an_event(seq=first), an_event(seq=first + 1), head_seq=6, more=first < 5)
    assert desk.take() == [1, 2, 3, 4, 5, 6]
    assert not desk.ledger.wants_to_ask(1.0)


def test_each_reason_is_told() -> None:
    desk = Desk(0)
    lost = [(4, 5, "no room"), (8, 8, "killed")]
    desk.reply(desk.question(), an_event(seq=6), lost=lost, first_seq=3, through_seq=9, oldest_seq=3)
    assert desk.take() == [
        (1, 2, "too old: no longer in the journal"),
        (3, 3, "not in the journal"),
        (4, 5, "no room"),
        6,
        (7, 7, "not in the journal"),
        (8, 8, "killed"),
        (9, 9, "not in the journal"),
    ]
    assert desk.ledger.missed == 8


def test_what_cannot_be_read_is_told() -> None:
    desk = Desk(0)
    request = desk.question()
    first = encode_reply(
        ReplayReply(
            id=request.id,
            journal="aaaa",
            first_seq=1,
            through_seq=3,
            head_seq=3,
            oldest_seq=1,
            more=False,
            lost=[],
        )
    )
    newer = to_json(an_event(seq=2)).replace(b'"v":1', b'"v":2')
    desk.ledger.answered([first, to_json(an_event(seq=1)), newer, to_json(an_event(seq=3))], 0.0)
    assert desk.take() == [1, (2, 2, "the daemon sent what this client cannot read"), 3]


@pytest.mark.parametrize(
    "changes",
    [
        {"first_seq": 9},  # beyond its end
        {"journal": ""},
        {"through_seq": 4},  # events after its end
        {"first_seq": 5},  # events before its beginning
    ],
)
def test_a_reply_that_contradicts_itself_is_asked_for_again(changes: dict[str, Any]) -> None:
    desk = at_place()
    desk.hear(a_health(seq=5))
    desk.reply(desk.question(), an_event(seq=4), an_event(seq=5), **changes)
    assert desk.take() == []
    assert desk.ledger.malformed == 1
    assert not desk.ledger.wants_to_ask(desk.now_s), "not at once"
    desk.now_s += 1
    desk.reply(desk.question(), an_event(seq=4), an_event(seq=5))
    assert desk.take() == [4, 5]


def test_a_daemon_that_promises_more_and_gives_nothing_is_not_asked_without_end() -> None:
    desk = at_place()
    desk.hear(a_health(seq=5))
    for _ in range(5):
        desk.reply(desk.question(), through_seq=3, head_seq=5, more=True)
        assert not desk.ledger.wants_to_ask(desk.now_s)
        desk.now_s += 5


def test_no_answer_is_asked_for_again_and_a_late_one_is_not_taken() -> None:
    desk = at_place()
    desk.hear(a_health(seq=4))
    late = desk.question()
    assert desk.ledger.wake_s(None, desk.now_s) == 5.0
    desk.now_s = 5.0
    desk.ledger.tick(desk.now_s)
    desk.now_s = 5.2
    request = desk.question()
    assert request.id != late.id
    desk.reply(late, an_event(seq=4))
    assert desk.take() == []
    desk.reply(request, an_event(seq=4))
    assert desk.take() == [4]


def test_another_run_is_asked_at_once() -> None:
    """It will not answer what its predecessor was asked, and may have kept what that one did not publish."""
    desk = at_place()
    desk.hear(a_health(seq=4))
    desk.question()
    desk.hear(a_health(seq=4, run="run-2"))
    desk.reply(desk.question(), an_event(seq=4))
    assert desk.take() == [4]


# -- patience --------------------------------------------------------------------------------------


def test_a_daemon_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    desk = at_place()
    desk.hear(an_event(seq=6))
    desk.question()
    desk.now_s += PATIENCE_S - 1
    desk.hear(a_health(seq=6))
    assert desk.take() == []
    desk.now_s += 2
    desk.hear(a_health(seq=6))
    assert desk.take() == [(4, 5, NO_ANSWER), 6]
    desk.hear(an_event(seq=8))
    desk.now_s += IMPATIENCE_S + 0.1
    desk.hear(an_event(seq=9))
    assert desk.take() == [(7, 7, NO_ANSWER), 8, 9]


def test_a_daemon_that_is_away_is_waited_for() -> None:
    """Patience is lost only with one that is heard."""
    desk = at_place()
    desk.hear(an_event(seq=6))
    desk.now_s += 10_000
    desk.hear(a_health(seq=6, run="run-2"))
    assert desk.take() == []
    desk.reply(desk.question(), *(an_event(seq=seq) for seq in (4, 5, 6)))
    assert desk.take() == [4, 5, 6]


def test_without_a_control_socket_less_patience_is_needed() -> None:
    desk = Desk(Place("aaaa", 3))
    desk.hear(an_event(seq=6))
    desk.now_s += UNREACHED_PATIENCE_S + 0.1
    desk.hear(a_health(seq=6))
    assert desk.take() == [(4, 5, NO_ANSWER), 6]


def test_without_a_control_socket_whoever_wants_what_is_new_begins_with_it() -> None:
    desk = Desk()
    desk.hear(an_event(seq=41))
    assert desk.take() == []
    desk.now_s += UNREACHED_JOIN_PATIENCE_S + 0.1
    desk.hear(an_event(seq=42))
    assert desk.take() == [41, 42]


@pytest.mark.parametrize("code", ["forbidden", "unknown-verb", "bad-request", "too-large", "something-new"])
def test_a_refusal_is_told_instead_of_what_was_missed(code: str) -> None:
    desk = at_place()
    desk.hear(an_event(seq=6))
    desk.refuse(desk.question(), code)
    assert desk.take() == [(4, 5, f"no: {code}"), 6]


@pytest.mark.parametrize("code", ["busy", "failed", "not-available"])
def test_what_passes_is_waited_for(code: str) -> None:
    desk = at_place()
    desk.hear(an_event(seq=5))
    desk.refuse(desk.question(), code)
    assert desk.take() == []
    desk.now_s += 1
    desk.reply(desk.question(), an_event(seq=4), head_seq=5)
    assert desk.take() == [4, 5]


def test_what_does_not_pass_after_all_is_told_in_its_own_words() -> None:
    desk = at_place()
    desk.hear(an_event(seq=5))
    while desk.now_s < PATIENCE_S:
        desk.refuse(desk.question(), "not-available")
        desk.now_s += 6
        desk.hear(a_health(seq=5))
    assert desk.take() == [(4, 4, "no: not-available"), 5]


def test_whoever_may_not_ask_for_the_past_gets_what_is_new() -> None:
    desk = Desk("all")
    desk.refuse(desk.question(), "forbidden")
    desk.hear(a_health(seq=7), an_event(seq=8))
    assert desk.take() == [(None, None, "no: forbidden"), 8]


# -- beginnings ------------------------------------------------------------------------------------


def test_new_is_what_was_published_since_the_subscriber_was_made() -> None:
    """By the daemon's clock, whatever ours says."""
    desk = Desk()
    ping = desk.question()
    assert isinstance(ping, Ping)
    desk.hear(an_event(seq=9))
    desk.now_s = 2.0
    answer = PingReply(
        id=ping.id, time_utc="2026-01-31T12:00:10.000Z", run="run-1", journal="aaaa", seq=9, version="0"
    )
    desk.ledger.answered([encode_reply(answer)], desk.now_s)
    request = desk.question()
    assert isinstance(request, Replay)
    assert request.since_utc == "2026-01-31T12:00:08.000Z"
    desk.reply(request, an_event(seq=8), an_event(seq=9))
    assert desk.take() == [8, 9]


def test_what_came_live_is_new_whatever_its_date() -> None:
    desk = Desk(datetime(2026, 1, 31, tzinfo=UTC))
    request = desk.question()
    assert isinstance(request, Replay)
    assert request.since_utc == "2026-01-31T00:00:00.000Z"
    desk.hear(an_event(seq=5), an_event(seq=6))
    desk.reply(request, an_event(seq=6))
    assert desk.take()[-1] == 6
    assert desk.ledger.settled == Place("aaaa", 6)


def test_what_came_live_and_was_never_kept_is_handed_over() -> None:
    """The journal could not be written, and the page begins after what is missing there."""
    desk = Desk(datetime(2026, 1, 31, tzinfo=UTC))
    request = desk.question()
    desk.hear(an_event(seq=5), an_event(seq=6))
    desk.reply(request, an_event(seq=7), head_seq=7)
    assert desk.take() == [5, 6]
    desk.hear(a_health(seq=7))
    desk.reply(desk.question(), an_event(seq=7))
    assert desk.take() == [7]


def test_a_page_about_something_else_is_asked_for_again() -> None:
    desk = at_place()
    desk.hear(a_health(seq=9))
    desk.reply(desk.question(), an_event(seq=8), an_event(seq=9))
    assert desk.take() == []
    desk.now_s += 1
    desk.reply(desk.question(), *(an_event(seq=seq) for seq in range(4, 10)))
    assert desk.take() == [4, 5, 6, 7, 8, 9]


def test_all_begins_with_the_oldest_and_complains_of_nothing() -> None:
    desk = Desk("all")
    desk.reply(desk.question(), an_event(seq=41), oldest_seq=41)
    assert desk.take() == [41]


def test_a_number_that_is_forgotten_is_complained_of() -> None:
    desk = Desk(30)
    desk.reply(desk.question(), an_event(seq=41), oldest_seq=41)
    assert desk.take() == [(31, 40, "too old: no longer in the journal"), 41]


def test_a_number_that_has_not_come_yet() -> None:
    desk = Desk(1000)
    desk.reply(desk.question(), through_seq=1000, head_seq=50)
    desk.hear(an_event(seq=51))
    assert desk.take() == [(None, None, WENT_BACK), 51]


# -- journals --------------------------------------------------------------------------------------


def test_another_journal() -> None:
    desk = at_place()
    desk.hear(an_event(seq=1, journal="bbbb", run="run-2"))
    desk.reply(desk.question(), journal="bbbb", through_seq=3, head_seq=4)
    request = desk.question()
    assert isinstance(request, Replay)
    assert request.since_seq == 0
    desk.reply(request, an_event(seq=1, journal="bbbb"), an_event(seq=2, journal="bbbb"), journal="bbbb")
    assert desk.take() == [(4, None, ANOTHER_JOURNAL), 1, 2]
    assert desk.ledger.settled == Place("bbbb", 2)
    assert dict(desk.ledger.former) == {"aaaa": 3}


def test_a_message_of_a_former_journal_that_comes_late_is_left_out() -> None:
    desk = at_place()
    desk.hear(an_event(seq=77, journal="0ld"))
    desk.reply(desk.question())
    desk.hear(an_event(seq=4))
    assert desk.take() == [4]


def test_a_journal_that_comes_back_goes_on_where_it_was_left() -> None:
    desk = Desk(Place("bbbb", 2), former={"aaaa": 3})
    desk.reply(desk.question(), through_seq=5, head_seq=5)
    request = desk.question()
    desk.reply(request, *(an_event(seq=seq) for seq in range(1, 6)))
    assert desk.take() == [(3, None, ANOTHER_JOURNAL), 4, 5]


def test_of_another_journal_new_is_what_came_since_the_daemon_was_last_heard() -> None:
    desk = Desk()
    desk.hear(a_health(seq=3))
    desk.now_s += UNREACHED_JOIN_PATIENCE_S + 0.1
    desk.hear(a_health(seq=3), a_health(seq=3), a_health(seq=3, time_utc="2026-01-31T12:00:00.000Z"))
    desk.hear(a_health(seq=9, journal="bbbb", run="run-2"))
    desk.reply(desk.question(), *(an_event(seq=seq) for seq in range(4, 10)), journal="bbbb")
    request = desk.question()
    assert isinstance(request, Replay)
    assert request.since_utc == "2026-01-31T12:00:00.000Z"


def test_few_former_journals_are_remembered() -> None:
    desk = at_place()
    for number in range(FORMER_MAX + 3):
        name = f"journal-{number}"
        desk.hear(a_health(journal=name, run=name))
        desk.reply(desk.question(), journal=name)
        desk.reply(desk.question(), journal=name)
    assert list(desk.ledger.former) == [f"journal-{number}" for number in range(2, FORMER_MAX + 2)]


def test_another_journal_is_followed_though_nobody_answers() -> None:
    desk = at_place()
    desk.hear(an_event(seq=7, journal="bbbb", run="run-2"))
    desk.question()
    desk.now_s += PATIENCE_S + 1
    desk.hear(an_event(seq=8, journal="bbbb", run="run-2"), an_event(seq=9, journal="bbbb", run="run-2"))
    told = desk.take()
    assert told[0] == (4, None, ANOTHER_JOURNAL)
    assert told[-1] == 9


def test_numbers_that_went_back_are_told() -> None:
    """A daemon that could keep neither its events nor their number, and was killed."""
    desk = at_place(60)
    desk.hear(a_health(seq=53, run="run-2"))
    desk.reply(desk.question(), through_seq=60, head_seq=53)
    desk.hear(an_event(seq=54, run="run-2"))
    assert desk.take() == [(None, None, WENT_BACK), 54]


def test_a_repaired_journal_names_its_events() -> None:
    """So that number and journal of a record are always a place."""
    desk = Desk("all")
    desk.reply(desk.question(), an_event(seq=1, journal="before"))
    event = desk.ledger.take()
    assert isinstance(event, Event)
    assert (event.journal, event.seq) == ("aaaa", 1)


# -- a daemon without a journal --------------------------------------------------------------------


def test_without_a_journal_holes_are_losses() -> None:
    desk = Desk()
    desk.hear(an_event(seq=41, **UNKEPT), an_event(seq=42, **UNKEPT), a_health(seq=42, **UNKEPT))
    assert desk.take() == [41, 42], "what was before we came is not lost"
    desk.hear(an_event(seq=45, **UNKEPT))
    assert desk.take() == [(43, 44, NO_JOURNAL), 45]
    desk.hear(a_health(seq=46, **UNKEPT), a_health(seq=46, **UNKEPT), an_event(seq=47, **UNKEPT))
    assert desk.take() == [(46, 46, NO_JOURNAL), 47]
    assert desk.ledger.missed == 3
    assert not desk.ledger.wants_to_ask(100.0), "there is nobody to ask"
    assert desk.ledger.settled is None


def test_without_a_journal_a_heartbeat_may_set_the_start() -> None:
    desk = Desk()
    desk.hear(a_health(seq=9, **UNKEPT), an_event(seq=10, **UNKEPT), an_event(seq=12, **UNKEPT))
    assert desk.take() == [10, (11, 11, NO_JOURNAL), 12]


def test_without_a_journal_a_later_run_is_counted_from_its_beginning() -> None:
    desk = Desk()
    for run, seq in (("a", 9), ("b", 1), ("c", 3)):
        desk.hear(an_event(run=run, seq=seq, **UNKEPT))
    desk.hear(a_health(run="d", seq=1, **UNKEPT))
    assert desk.take() == [9, 1, (1, 2, NO_JOURNAL), 3, (1, 1, NO_JOURNAL)]


def test_the_place_outlives_a_run_without_a_journal() -> None:
    desk = at_place()
    desk.hear(an_event(seq=1, run="run-2", **UNKEPT))
    assert desk.take() == [(None, None, NO_JOURNAL), 1]
    assert desk.ledger.settled == Place("aaaa", 3)
    desk.hear(a_health(seq=4, run="run-3"))
    desk.reply(desk.question(), an_event(seq=4))
    assert desk.take() == [4]


def test_a_past_that_nobody_keeps_is_told() -> None:
    desk = Desk("all")
    desk.refuse(desk.question(), "not-available")
    desk.hear(an_event(seq=5, **UNKEPT))
    assert desk.take() == [(None, None, NO_JOURNAL), 5]


# -- what is wanted, and the place -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("topics", "subscriptions"),
    [
        (DEFAULT_TOPICS, [b"health.", b"keyword.", b"sound."]),
        (("keyword.stop.",), [b"health.", b"keyword.", b"sound."]),
        (("",), [b""]),
        (("k", "frame.hall"), [b"frame.hall", b"health.", b"k", b"sound."]),
        (("frame.hall",), [b"frame.hall", b"health."]),
        (("health.hall",), [b"health."]),
    ],
)
def test_every_event_is_followed_if_any_is_wanted(
    topics: tuple[str, ...], subscriptions: list[bytes]
) -> None:
    assert Ledger(topics, "wait", now_s=0.0).subscriptions == subscriptions


def test_only_what_is_wanted_is_handed_over_and_the_place_moves_all_the_same() -> None:
    desk = at_place(topics=("keyword.stop.",))
    desk.hear(an_event(seq=4), an_event(seq=5, label="stop"), an_event(seq=6), a_health(seq=6))
    assert desk.ledger.settled == Place("aaaa", 3)
    event = desk.ledger.take()
    assert isinstance(event, Event)
    assert event.seq == 5
    assert desk.ledger.settled == Place("aaaa", 5)
    assert desk.ledger.take() is None
    assert desk.ledger.settled == Place("aaaa", 6)


def test_whoever_wants_no_events_asks_nothing() -> None:
    desk = Desk("all", topics=("health.",))
    desk.hear(a_health(seq=5), an_event(seq=9))
    assert isinstance(desk.ledger.take(), Health)
    assert desk.ledger.take() is None
    assert not desk.ledger.wants_to_ask(1.0)


def test_what_cannot_be_read_is_counted() -> None:
    desk = at_place()
    topic, text = encode(an_event(seq=4))
    for parts in ([topic], [topic, b"{"], [topic, text.replace(b'"v":1', b'"v":2')], [b"other", text]):
        desk.ledger.heard(parts, 0.0)
    assert desk.ledger.malformed == 4
    assert desk.take() == []


# -- is the daemon there? --------------------------------------------------------------------------


def test_alive_follows_the_heartbeat() -> None:
    desk = Desk()
    assert not desk.ledger.alive(0.0), "nothing was heard yet"
    desk.hear(a_health(heartbeat_s=5.0))
    assert desk.ledger.alive(14.9)
    assert not desk.ledger.alive(15.1)
    desk.hear(a_health(state="stopping", final=True))
    assert not desk.ledger.alive(0.1)


def test_silence_raises_when_asked() -> None:
    desk = Desk(raises=True)
    desk.ledger.check_silence(14.9)
    with pytest.raises(DaemonGone, match="no daemon was heard within 15 s"):
        desk.ledger.check_silence(15.0)
    desk.hear(a_health(heartbeat_s=2.0))
    desk.ledger.check_silence(5.9)
    with pytest.raises(DaemonGone, match="not been heard for 3 heartbeats"):
        desk.ledger.check_silence(6.0)
    desk.hear(a_health(final=True))
    with pytest.raises(DaemonGone, match="the daemon has stopped; "):
        desk.ledger.check_silence(0.1)


def test_one_stream_of_two_that_ends_is_not_the_end() -> None:
    desk = Desk(raises=True)
    desk.hear(a_health(stream="kitchen"), a_health(stream="hall"), a_health(stream="hall", final=True))
    assert desk.ledger.alive(1.0)
    desk.hear(a_health(stream="kitchen", final=True))
    assert not desk.ledger.alive(1.0)
    desk.hear(a_health(run="another"))
    assert desk.ledger.alive(1.0)


def test_who_was_stopped_reads_before_it_judges() -> None:
    """Once: a daemon that is gone is gone, however seldom one looks."""
    desk = Desk(raises=True)
    desk.hear(a_health(heartbeat_s=2.0))
    assert desk.ledger.wake_s(None, 0.0) <= 6.0
    desk.ledger.woke(3_600.0)
    desk.ledger.check_silence(3_600.0)
    desk.ledger.woke(3_605.0)
    with pytest.raises(DaemonGone):
        desk.ledger.check_silence(3_605.0)


# -- whatever comes --------------------------------------------------------------------------------


bodies = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([to_json(an_event(seq=seq)) for seq in (1, 2, 3)]),
    st.builds(
        lambda seq, through, head, oldest, lost: encode_reply(
            ReplayReply(
                id="1",
                journal="aaaa",
                first_seq=seq,
                through_seq=through,
                head_seq=head,
                oldest_seq=oldest,
                more=True,
                lost=lost,
            )
        ),
        *[st.integers(0, 2**63)] * 4,
        st.lists(st.tuples(st.integers(-5, 9), st.integers(-5, 9), st.text(max_size=5)), max_size=3),
    ),
)


@given(st.lists(bodies, max_size=5), st.sampled_from(["all", 7, None]))
def test_no_answer_does_harm(parts: list[bytes], since: Any) -> None:
    """Numbers go up whatever a daemon says, and it ends."""
    desk = Desk(since)
    desk.question()
    desk.ledger.answered(parts, 0.0)
    place = 0
    while (record := desk.ledger.take()) is not None:
        first = record.seq if isinstance(record, Event) else getattr(record, "first", None)
        if first is not None:
            assert first > place
            place = record.seq if isinstance(record, Event) else getattr(record, "last", None) or first

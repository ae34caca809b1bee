"""Whatever is lost, killed, forgotten or restarted: every event once and in order, or told as missed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.client import handover, patience
from streamer.client.ledger import Ledger
from streamer.client.merge import ANOTHER_JOURNAL
from streamer.client.pages import RETENTION
from streamer.client.patience import NO_ANSWER
from streamer.client.records import Missed, Place, Since
from streamer.delivery.messages import Event
from tests.client.model import ModelDaemon, Parts

TOPICS = ("keyword.", "sound.", "health.")
PATIENCES = {
    "PATIENCE_S": 5.0,
    "UNREACHED_PATIENCE_S": 3.0,
    "JOIN_PATIENCE_S": 2.0,
    "UNREACHED_JOIN_PATIENCE_S": 0.5,
    "IMPATIENCE_S": 1.0,
}
TICK_S = 0.001
"""Passes between any two steps, so that no two events have the same time."""


class World:
    """A daemon, a subscriber, and the wires between them, which lose what the test says."""

    def __init__(self, since: Since, topics: tuple[str, ...] = TOPICS) -> None:
        self.now_s = 0.0
        self.live: deque[Parts] = deque()
        self.questions: deque[bytes] = deque()
        self.replies: deque[Parts] = deque()
        self.losing = False
        self.daemon = ModelDaemon(lambda: self.now_s, self._send)
        self.handed: list[Event | Missed] = []
        self.since, self.topics = since, topics
        self.ledger = self._subscribe(since)

    def _subscribe(self, since: Since, former: Mapping[str, int] | None = None) -> Ledger:
        return Ledger(self.topics, "wait", since, former=former, now_s=self.now_s)

    def _send(self, parts: Parts) -> None:
        if not self.losing:
            self.live.append(parts)

    # -- steps -------------------------------------------------------------------------------------

    def hear(self, count: int) -> None:
        for _ in range(count):
            self.daemon.hear()
            self.now_s += TICK_S

    def hear_unsent(self, count: int) -> None:
        self.losing = True
        self.hear(count)
        self.losing = False

    def die_between(self, _: int) -> None:
        self.daemon.hear(dies_first=True)

    def restart(self, kept: int) -> None:
        """What is on its way may still arrive or not."""
        self.daemon.begin()
        self._cut(kept)

    def change_journal(self, kept: int) -> None:
        self.daemon.change_journal(back=bool(kept % 2))
        self._cut(kept // 2)

    def _cut(self, kept: int) -> None:
        self.questions.clear()
        while len(self.live) > kept:
            self.live.pop()
        while len(self.replies) > kept:
            self.replies.pop()

    def lose_live(self, which: int) -> None:
        if self.live:
            del self.live[which % len(self.live)]

    def lose_question(self, _: int) -> None:
        if self.questions:
            self.questions.popleft()

    def lose_reply(self, _: int) -> None:
        if self.replies:
            self.replies.popleft()

    def fail(self, _: int) -> None:
        self.daemon.failing = True

    def heal(self, _: int) -> None:
        self.daemon.catch_up()

    def forget(self, count: int) -> None:
        self.daemon.forget(count)

    def beat(self, _: int) -> None:
        self.daemon.beat()

    def serve(self, _: int) -> None:
        if self.questions:
            self.replies.append(self.daemon.serve(self.questions.popleft()))

    def deliver(self, count: int) -> None:
        for _ in range(count):
            if self.live:
                self.ledger.heard(self.live.popleft(), self.now_s)
                assert len(self.ledger._merge.handover.waiting) <= handover.WAITING_MAX

    def answer(self, _: int) -> None:
        if self.replies:
            self.ledger.answered(self.replies.popleft(), self.now_s)
        elif self.ledger.wants_to_ask(self.now_s):
            self.questions.append(self.ledger.ask(self.now_s))

    def wait(self, tenths: int) -> None:
        self.now_s += tenths / 10
        if not self.replies:
            self.ledger.tick(self.now_s)

    def take(self, count: int) -> None:
        for _ in range(count):
            record = self.ledger.take()
            if isinstance(record, Event | Missed):
                self.handed.append(record)

    def kill_client(self, _: int) -> None:
        """The next one goes on from the place of the records that were handed over."""
        place = self.ledger.settled
        if place is None:
            if self.since is None:
                return  # it had learnt nothing: its successor would be another one that wants what is new
            if self.handed:
                return
        self.live.clear()
        self.questions.clear()
        self.replies.clear()
        self.ledger = self._subscribe(place if place is not None else self.since, self.ledger.former)

    def settle(self) -> None:
        """Everything works from now on, and heartbeats go on until the subscriber has all there is."""
        self.daemon.catch_up()
        content = 0
        for _ in range(300):
            self.daemon.beat()
            self.deliver(len(self.live))
            for _ in range(4):
                self.answer(0)
                self.serve(0)
            self.wait(10)
            self.take(100)
            complete = self.ledger.settled == Place(self.daemon.disk.name, self.daemon.seq)
            content = content + 1 if complete else 0
            if content > 8:  # time enough for anything that is still under way
                return


STEPS: dict[str, int] = {
    "hear": 4,
    "hear_unsent": 3,
    "die_between": 0,
    "restart": 3,
    "lose_live": 5,
    "lose_question": 0,
    "lose_reply": 0,
    "fail": 0,
    "heal": 0,
    "forget": 4,
    "beat": 0,
    "serve": 0,
    "deliver": 6,
    "answer": 0,
    "wait": 70,
    "take": 5,
    "kill_client": 0,
}


def steps(*more: str) -> st.SearchStrategy[list[tuple[str, int]]]:
    """Lists of steps, those that let things happen more often than others."""
    often = ["hear", "deliver", "answer", "serve", "answer", "take", "beat"]
    names = st.sampled_from([*STEPS, *often, *more])
    return st.lists(names.flatmap(lambda name: st.tuples(st.just(name), number(name))), max_size=80)


def number(name: str) -> st.SearchStrategy[int]:
    return st.integers(min(1, STEPS.get(name, 5)), STEPS.get(name, 5))


def play(world: World, script: list[tuple[str, int]], *, settle: bool = True) -> None:
    for name, argument in script:
        step: Callable[[int], None] = getattr(world, name)
        step(argument)
        world.now_s += TICK_S
    if settle:
        world.settle()


def check_stretch(world: World, told: list[Event | Missed], journal: str, place: int) -> int:
    """Numbers go up by one from record to record; the last one."""
    truth = world.daemon.truth[journal]
    for record in told:
        assert record.journal == journal
        if isinstance(record, Event):
            assert record.seq == place + 1, (record, place)
            assert record == truth[record.seq]
            place = record.seq
        else:
            assert record.first == place + 1, (record, place)
            assert record.last is not None
            assert record.last >= record.first
            place = record.last
    return place


def begins_after(told: list[Event | Missed], world: World) -> int:
    """The number before the first record; where there is none, nothing is owed."""
    if not told:
        return world.daemon.seq
    first = told[0]
    return (first.seq if isinstance(first, Event) else first.first or 0) - 1


def check_missed(world: World, told: list[Event | Missed]) -> None:
    """What was told as missed nobody can have, and for the reason that the daemon has for it."""
    absent = world.daemon.absent()
    lost = {
        number: reason for first, last, reason in world.daemon.disk.lost for number in range(first, last + 1)
    }
    for record in told:
        if isinstance(record, Missed):
            assert record.first is not None
            assert record.last is not None
            for gone in range(record.first, record.last + 1):
                assert gone in absent
                assert record.reason == lost.get(gone, RETENTION) or gone < world.daemon.disk.oldest


@pytest.fixture(autouse=True)
def small_and_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that are reached, and nobody gives up on a daemon that has been slow to answer."""
    monkeypatch.setattr(handover, "WAITING_MAX", 3)
    for name in PATIENCES:
        monkeypatch.setattr(patience, name, float("inf"))


EXAMPLES = int(os.environ.get("STREAMER_EXAMPLES", "60"))
"""Of each property; a few thousand look harder."""
hard = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@hard
@given(steps())
def test_every_event_once_and_in_order(script: list[tuple[str, int]]) -> None:
    world = World(since=0)
    play(world, script)
    assert check_stretch(world, world.handed, "journal-0", 0) == world.daemon.seq
    check_missed(world, world.handed)
    known = [record.count for record in world.handed if isinstance(record, Missed)]
    events = [record for record in world.handed if isinstance(record, Event)]
    assert len(events) + sum(count or 0 for count in known) == world.daemon.seq


@hard
@given(steps())
def test_all_that_is_kept(script: list[tuple[str, int]]) -> None:
    """Who asks for all does not want to hear of what was forgotten long ago."""
    world = World(since="all")
    world.hear_unsent(5)
    world.forget(2)
    play(world, script)
    told = world.handed
    begins = begins_after(told, world)
    assert check_stretch(world, told, "journal-0", begins) == world.daemon.seq
    assert begins < world.daemon.disk.oldest
    check_missed(world, told)


@hard
@given(steps(), st.integers(0, 5))
def test_what_is_new_since_the_subscriber_was_made(script: list[tuple[str, int]], before: int) -> None:
    """Also what is published before the connection stands."""
    world = World(since=None)
    world.hear_unsent(before)
    world.now_s += 100
    world.ledger = world._subscribe(None)
    world.hear_unsent(2)  # the slow joiner's loss
    play(world, script)
    told = world.handed
    begins = begins_after(told, world)
    # of what is gone before we could ask, the daemon does not know when it was
    assert set(range(before + 1, begins + 1)) <= world.daemon.absent()
    assert check_stretch(world, told, "journal-0", begins) == world.daemon.seq
    check_missed(world, told)


@hard
@given(st.lists(st.tuples(steps("change_journal"), st.booleans(), st.booleans()), max_size=4), steps())
def test_other_journals(
    scripts: list[tuple[list[tuple[str, int]], bool, bool]], last_script: list[tuple[str, int]]
) -> None:
    """The end of one that was left is told as unknown; one that comes back goes on where it was left."""
    world = World(since=0)
    for script, in_peace, back in scripts:
        play(world, script, settle=in_peace)
        world.change_journal(2 * (not in_peace) + back)
    play(world, last_script)
    stretches: list[list[Event | Missed]] = [[]]
    for record in world.handed:
        stretches[-1].append(record)
        if isinstance(record, Missed) and record.reason == ANOTHER_JOURNAL:
            stretches.append([])
    places: dict[str, int] = {}

    def begins(number: int, journal: str) -> int:
        """Where it was asked to begin, where it was left, or with the oldest that is kept."""
        return 0 if number == 0 else places.get(journal, begins_after(stretches[number], world))

    for number, (*told, end) in enumerate(stretches[:-1]):
        place = check_stretch(world, told, end.journal, begins(number, end.journal))
        assert isinstance(end, Missed)
        if told or number == 0 or end.journal in places:
            assert (end.first, end.last) == (place + 1, None)
        places[end.journal] = (end.first or 0) - 1
    last, number = world.daemon.disk.name, len(stretches) - 1
    begin = begins(number, last)
    assert check_stretch(world, stretches[-1], last, begin) == world.daemon.seq
    assert number == 0 or last in places or begin < world.daemon.disk.oldest or not stretches[-1]
    check_missed(world, stretches[-1])


@hard
@given(steps())
def test_topics_are_chosen_here(script: list[tuple[str, int]]) -> None:
    """Holes are noticed in what is not wanted, too, and only what is wanted is handed over."""
    world = World(since=0, topics=("keyword.stop.",))
    play(world, script)
    events = [record for record in world.handed if isinstance(record, Event)]
    assert {event.label for event in events} <= {"stop"}
    gone = {
        number
        for record in world.handed
        if isinstance(record, Missed)
        for number in range(record.first or 0, (record.last or 0) + 1)
    }
    wanted = [seq for seq, event in world.daemon.truth["journal-0"].items() if event.label == "stop"]
    assert [event.seq for event in events] == [seq for seq in wanted if seq not in gone]
    assert world.ledger.settled is None or world.ledger.settled.seq == world.daemon.seq


@hard
@given(script=steps())
def test_whoever_loses_patience_says_so(script: list[tuple[str, int]]) -> None:
    """With a daemon that answers late or never the order holds, and what was given up is told."""
    with pytest.MonkeyPatch.context() as patch:
        for name, seconds in PATIENCES.items():
            patch.setattr(patience, name, seconds)
        world = World(since=Place("journal-0", 0))
        play(world, script)
    assert check_stretch(world, world.handed, "journal-0", 0) == world.daemon.seq
    sure = [record for record in world.handed if getattr(record, "reason", "") != NO_ANSWER]
    check_missed(world, [record for record in sure if isinstance(record, Missed)])

"""The client's books, fed with what a daemon might say, and with what none ever would."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from streamer.client.handover import WAITING_MAX
from streamer.client.ledger import Ledger
from streamer.client.records import Missed
from streamer.delivery.messages import Event, encode, to_json
from streamer.delivery.requests import ErrorReply, Fault, PingReply, ReplayReply, encode_reply
from tests.client.model import a_health, an_event
from tests.torture.mutate import Mutator

LIFE = 2_000
"""Inputs for one subscriber; then another begins."""
JOURNALS = ["aaaa", "aaaa", "aaaa", "bbbb", ""]


class Books:
    """A subscriber's ledger, and everything that can be said to it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._mutate = Mutator(rng)
        self._now_s = 0.0
        self._left = 0
        self._seq = 0
        self._asked, self._since = "", 0

    def feed(self) -> None:
        """One message or reply; then everything is taken that is to be handed over."""
        rng = self._rng
        if not self._left:
            self._begin()
        self._left -= 1
        self._now_s += rng.choice([0.0, 0.0, 0.01, 1.0, 7.0])
        if self._ledger.wants_to_ask(self._now_s):
            asked = msgspec.json.decode(self._ledger.ask(self._now_s))
            self._asked, self._since = asked["id"], asked.get("since_seq") or 0
        if rng.random() < 0.6:
            self._ledger.heard(self._mutate.parts(self._live()), self._now_s)
        else:
            self._ledger.answered(self._mutate.parts(self._reply()), self._now_s)
        self._ledger.tick(self._now_s)
        self._take()

    def _begin(self) -> None:
        since: Any = self._rng.choice([None, "all", 0, 5])
        self._ledger = Ledger(("",), "wait", since, now_s=self._now_s)
        self._left, self._seq, self._last = LIFE, 0, 0

    def _live(self) -> list[bytes]:
        rng = self._rng
        self._seq += rng.choice([0, 1, 1, 1, 2, 5])
        journal, run = rng.choice(JOURNALS), f"run-{self._seq // 100}"
        if rng.random() < 0.3:
            return encode(a_health(journal=journal, run=run, seq=self._seq))
        return encode(an_event(journal=journal, run=run, seq=max(1, self._seq)))

    def _reply(self) -> list[bytes]:
        rng = self._rng
        chance = rng.random()
        if chance < 0.1:
            fault = Fault(code=rng.choice(["busy", "forbidden", "not-available", "odd"]), message="no")
            return [encode_reply(ErrorReply(id=self._asked, error=fault))]
        if chance < 0.2:
            moment = rng.choice(["2026-01-31T12:00:00.000Z", "never", "9999-12-31T23:59:59.999Z"])
            ping = PingReply(
                id=self._asked, time_utc=moment, run="r", journal=rng.choice(JOURNALS), seq=3, version="0"
            )
            return [encode_reply(ping)]
        first = max(1, self._since + rng.choice([1, 1, 1, 0, 5]))
        through = first - 1 + rng.randrange(30)
        reply = ReplayReply(
            id=self._asked,
            journal=rng.choice(JOURNALS[:4]),
            first_seq=first,
            through_seq=through,
            head_seq=through + rng.choice([0, 0, 3, -3 if through > 3 else 0]),
            oldest_seq=rng.choice([1, first]),
            more=rng.random() < 0.3,
            lost=[(first, first + 1, "gone")] if rng.random() < 0.3 else [],
        )
        kept = [seq for seq in range(first, through + 1) if rng.random() < 0.9]
        return [encode_reply(reply), *(to_json(an_event(seq=seq)) for seq in kept)]

    def _take(self) -> None:
        """Numbers go up, but where an unknown number is missing or the daemon keeps no journal."""
        while (record := self._ledger.take()) is not None:
            if isinstance(record, Missed) and record.count is None:
                self._last = 0
            elif isinstance(record, Event | Missed) and record.journal in JOURNALS[:4]:
                first = record.seq if isinstance(record, Event) else record.first
                assert first is not None
                assert first > self._last, (first, self._last)
                self._last = first
        assert len(self._ledger._merge.handover.waiting) <= WAITING_MAX

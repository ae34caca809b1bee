"""What both sorts of subscriber share: settings, what they can say of the daemon, place and waits."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zmq

from streamer.client.knocking import Knocking
from streamer.client.ledger import DEFAULT_TOPICS, Ledger, topic_prefixes
from streamer.client.place import PlaceFile
from streamer.client.records import Acknowledge, OnSilence, Place, Since
from streamer.client.sockets import Keys, control_endpoint, find_credentials, open_control, open_events
from streamer.delivery.endpoints import Endpoint, check_subscribe_endpoint, default_subscribe_endpoint
from streamer.delivery.messages import Health
from streamer.security.watch import Trouble

LONGEST_WAIT_S = 3_600.0
"""Of one poll; the caller waits again, and ZeroMQ's milliseconds never overflow."""
GLANCE_S = 0.05
"""A wait that has ended still looks through what lies unread, for so long at most."""
KEEP_PLACE_S = 1.0
"""How often the place is kept while nothing is handed over, since only what is not wanted comes."""


class Front:
    """What `Subscriber` and `AsyncSubscriber` have in common; see `Subscriber`."""

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        topics: str | Sequence[str] = DEFAULT_TOPICS,
        frames: bool = False,
        on_silence: OnSilence = "wait",
        since: Since = None,
        place: str | Path | None = None,
        acknowledge: Acknowledge = "next",
        control: str | None = None,
        credentials: Keys = None,
    ) -> None:
        self._checked = check_subscribe_endpoint(endpoint or default_subscribe_endpoint())
        self._credentials = find_credentials(self._checked, credentials)
        self.endpoint = self._checked.text
        self._file = PlaceFile(place) if place is not None else None
        kept, former = (self._file.place, self._file.former) if self._file else (None, None)
        self._explicit = acknowledge == "explicit"
        self._kept_s = -math.inf
        wanted = topic_prefixes(topics, frames)
        self._ledger = Ledger(wanted, on_silence, kept or since, former=former, now_s=time.monotonic())
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._events = self._context.socket(zmq.SUB)
        self._control = self._context.socket(zmq.DEALER)
        self._knocking: list[Knocking] = []
        try:
            self._connect(control)
        except BaseException:
            self.close()
            raise

    def _connect(self, control: str | None) -> None:
        self._knock(self._events, self._checked)
        open_events(self._events, self._checked, self._ledger.subscriptions, self._credentials)
        if self._ledger.follows_events:
            endpoint = control_endpoint(self._checked, control)
            self._knock(self._control, endpoint)
            self._control.setsockopt(zmq.IMMEDIATE, 1)  # nothing is asked while nobody is there to answer
            open_control(self._control, endpoint, self._credentials)

    def _knock(self, socket: zmq.Socket[Any], endpoint: Endpoint) -> None:
        if self._credentials is not None:
            self._knocking.append(Knocking(socket, endpoint))

    def close(self) -> None:
        """Close the sockets; may be called twice. What was not dealt with comes again in the next process."""
        for knocking in self._knocking:
            knocking.close()
        self._knocking.clear()
        if self._file is not None:
            self._file.close()
        self._events.close(linger=0)
        self._control.close(linger=0)
        self._context.term()

    @property
    def alive(self) -> bool:
        """Whether its health was received within the last three heartbeats, and it has not stopped."""
        return self._ledger.alive(time.monotonic())

    @property
    def trouble(self) -> Trouble | None:
        """Why a daemon that wants keys cannot be heard; None if it can, or it is not known."""
        found = [knocking.trouble for knocking in self._knocking]
        return next((trouble for trouble in found if trouble is not None), None)

    @property
    def health(self) -> Health | None:
        """The last health message received."""
        return self._ledger.health

    @property
    def missed(self) -> int:
        """Events of known number that were told as missed."""
        return self._ledger.missed

    @property
    def malformed(self) -> int:
        """Messages that were skipped because they could not be read."""
        return self._ledger.malformed

    @property
    def place(self) -> Place | None:
        """How far the records handed over so far have come: give it as `since` to go on from there.

        None before the daemon has told its journal, and where it keeps none.
        """
        return self._ledger.settled

    def ack(self) -> None:
        """All that was handed over is dealt with: keep the place, safe from a power cut, too."""
        self._keep_place(sync=True)

    # -- the steps of a receive --------------------------------------------------------------------

    def _begin(self, timeout_s: float | None) -> float | None:
        """The next record is asked for; until when to wait for it."""
        if not self._explicit:
            self._keep_place()
        now_s = time.monotonic()
        self._ledger.woke(now_s)
        return None if timeout_s is None else now_s + timeout_s

    def _prepare(self, deadline_s: float | None) -> tuple[list[tuple[zmq.Socket[bytes], int]], int | None]:
        """What to wait for on which socket, and how long, in milliseconds."""
        now_s = time.monotonic()
        if not self._explicit and now_s >= self._kept_s + KEEP_PLACE_S:
            self._keep_place()  # what passes by unwanted moves the place, too
            self._kept_s = now_s
        asking = zmq.POLLOUT if self._ledger.wants_to_ask(now_s) else 0
        wanted: list[tuple[zmq.Socket[bytes], int]] = [
            (self._events, zmq.POLLIN),
            (self._control, zmq.POLLIN | asking),
        ]
        looks_s = [knocking.look(now_s) for knocking in self._knocking]
        wake_s = min([self._ledger.wake_s(deadline_s, now_s), *looks_s])
        if wake_s == math.inf:
            return wanted, None
        return wanted, math.ceil(min(max(0.0, wake_s - now_s), LONGEST_WAIT_S) * 1_000)

    def _move(self, ready: Mapping[Any, int]) -> None:
        """Move one message between sockets and books: replies first, then the question, then what is live."""
        now_s = time.monotonic()
        self._ledger.woke(now_s)
        possible = ready.get(self._control, 0)
        if possible & zmq.POLLIN:
            self._ledger.answered(self._control.recv_multipart(zmq.NOBLOCK), now_s)
            return
        self._ledger.tick(now_s)
        if possible & zmq.POLLOUT and self._ledger.wants_to_ask(now_s):
            try:
                self._control.send(self._ledger.ask(now_s), zmq.NOBLOCK)
            except zmq.Again:
                self._ledger.not_sent(now_s)
        elif self._events in ready:
            self._ledger.heard(self._events.recv_multipart(zmq.NOBLOCK), now_s)

    def _is_over(self, deadline_s: float | None, found: bool) -> bool:
        """Whether the wait has ended, nothing being there to hand over; raises DaemonGone."""
        now_s = time.monotonic()
        if not found:
            self._ledger.check_silence(now_s)
        if deadline_s is None or now_s < deadline_s:
            return False
        return not found or now_s >= deadline_s + GLANCE_S

    def _keep_place(self, *, sync: bool = False) -> None:
        if self._file is not None and self._ledger.settled is not None:
            self._file.write(self._ledger.settled, self._ledger.former, sync=sync)

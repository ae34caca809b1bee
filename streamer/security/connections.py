"""Who is connected to a socket: told by ZeroMQ's monitor, matched with who was let in, cut if need be."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import zmq

from streamer.security.descriptors import Connection, cut, inode_of, inspect, is_ipc, received_bytes
from streamer.security.monitor import parse

HANDSHAKE_S = 15.0
"""ZeroMQ drops whoever has not finished the handshake by then: thousands that come back at once, after a
restart, take their time. Whoever says nothing has to go earlier."""
SILENT_S = 1.0
"""Whoever has said nothing by then has to go when others want to come in."""
EVENTS_MAX = 100
"""Read in one go: a storm of connections must not keep its reader from other work."""
SUBSCRIPTIONS_MAX = 2_000
"""Of one connection, taken back or not: ZeroMQ keeps each of them, and takes its time to."""
SWEEP_S = 1.0
"""How often the open ones are looked through when there is no room, and for those who never finish."""
UNFINISHED_MAX_BYTES = 8_000_000
"""What one may send without finishing a message: ZeroMQ keeps all its parts until the last one has come."""

_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
HEARTBEATS_BYTES = 1_000
"""More than ZeroMQ says by itself between two looks: who only listens must not be cut off after a week."""
Incident = Literal["misspoke", "left", "oversubscribed", "unfinished"]


class Connections:
    """The open connections of one bound socket: those at the door, and those inside.

    ZeroMQ says which file descriptors come and go, and separately whom it asks us to let in, with an address
    but no descriptor. The one that was let in is among those of this address that have said enough; where
    there are several, the one that came first is taken for it. A wrong guess rights itself: whoever has said
    enough and is still there when the time for the handshake is over has been let in.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        watched: zmq.Socket[Any],
        clients_max: int,
        *,
        greeting_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.incidents: list[tuple[str, Incident]] = []
        """What went wrong since it was last emptied, and with which address."""
        self._clients_max = clients_max
        self._greeting_bytes = greeting_bytes
        self._clock = clock
        self._door: dict[int, Connection] = {}  # in the order in which they came
        self._inside: dict[int, Connection] = {}
        self._places: Counter[bool] = Counter()  # taken by those of the socket file, and by the others
        self._places_of: Counter[tuple[bool, str]] = Counter()
        self._failing: Incident | None = None
        self._swept_s = self._looked_s = 0.0
        self._watched = watched
        place = f"inproc://connections-{id(self):x}"
        watched.monitor(place, _EVENTS)
        self.socket = context.socket(zmq.PAIR)
        # without a bound: a full queue would stop ZeroMQ's own thread, and with it everybody's messages
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(place)

    def __len__(self) -> int:
        return len(self._door) + len(self._inside)

    @property
    def due_s(self) -> float:
        """When `handle` has something to do, whatever comes, on the clock's time."""
        return self._looked_s + SWEEP_S if any(not one.is_ipc for _, one in self._all()) else math.inf

    def _all(self) -> list[tuple[int, Connection]]:
        return [*self._door.items(), *self._inside.items()]

    def handle(self) -> None:
        """Take note of who has come and gone, and cut off who never finishes a message."""
        for _ in range(EVENTS_MAX):
            try:
                incident = parse(self.socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                break
            self._note(incident.event, incident.value, incident.endpoint)
        if self._clock() >= self._looked_s + SWEEP_S:
            self._looked_s = self._clock()
            self._cut_unfinished()

    def has_room(self, address: str, user: str) -> bool:
        """Whether one more may come in; nobody with a name may have more than a quarter of the places."""
        self.handle()  # it has been told of before it asked
        self._take_in_who_stayed()
        if self._is_full(is_ipc(address), user):
            self._forget_closed()
        return not self._is_full(is_ipc(address), user)

    def let_in(self, address: str, user: str) -> None:
        """One of this address has been let in."""
        unknown = None
        for descriptor, one in self._door.items():
            if one.address == address and self._has_spoken(descriptor, one):
                self._enter(descriptor, user)
                return
            if not one.address:
                unknown = descriptor
        if unknown is not None:
            self._enter(unknown, user)

    def note_message(self, frame: zmq.Frame) -> Connection | None:
        """Somebody has finished a message, of which this is a part; None if he is gone, and all he said."""
        try:
            one = self._find(int(frame.get(zmq.SRCFD)))
        except (zmq.ZMQError, ValueError):
            return None
        if one is not None:
            one.has_spoken = True
        return one

    def note_subscription(self, frame: zmq.Frame) -> None:
        """Somebody subscribes or takes it back; whoever does nothing else is cut off."""
        one = self.note_message(frame)
        if one is None:
            return
        one.subscriptions += 1
        if one.subscriptions == SUBSCRIPTIONS_MAX and cut(int(frame.get(zmq.SRCFD)), one.inode):
            self.incidents.append((one.address, "oversubscribed"))

    def _find(self, descriptor: int) -> Connection | None:
        return self._inside.get(descriptor) or self._door.get(descriptor)

    def _cut_unfinished(self) -> None:
        for descriptor, one in self._all():
            if one.is_ipc:
                continue  # the daemon's own user; the system does not count there
            if one.has_spoken:
                one.has_spoken, one.counted_bytes = False, None
                continue
            received = received_bytes(descriptor)
            if received is None or one.counted_bytes is None:
                one.counted_bytes = received
                continue
            one.counted_bytes = min(received, one.counted_bytes + HEARTBEATS_BYTES)
            if received > one.counted_bytes + UNFINISHED_MAX_BYTES and cut(descriptor, one.inode):
                one.counted_bytes = received
                self.incidents.append((one.address, "unfinished"))

    def cut_all(self) -> int:
        """Close every connection; whoever may still come in connects again by himself."""
        while self.socket.poll(0):  # also those that have only just come
            self.handle()
        return sum(cut(descriptor, one.inode) for descriptor, one in self._all())

    def close(self) -> None:
        """Stop watching; the watched socket may be closed before or after."""
        if not self._watched.closed:
            self._watched.disable_monitor()
        self.socket.close()

    def _note(self, event: int, value: int, endpoint: bytes) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._forget(value)
            self._door[value] = one = inspect(value, endpoint.decode(), self._clock())
            if not one.is_ipc:
                self._keep_the_door_free()
        elif event == zmq.EVENT_DISCONNECTED:
            gone = self._forget(value)
            if self._failing is not None:
                self.incidents.append((gone.address if gone else "", self._failing))
                self._failing = None
        else:  # a failed handshake names no descriptor; the event after it is its end
            self._failing = "misspoke" if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL else "left"

    def _keep_the_door_free(self) -> None:
        """Connections that say nothing use up descriptors: the one that has done so longest goes."""
        crowd = len(self._door) / self._clients_max
        if crowd <= 1:
            return
        for descriptor, one in self._door.items():
            silent = self._clock() - one.since_s > SILENT_S and not self._has_spoken(descriptor, one)
            if silent or crowd > 2:
                cut(descriptor, one.inode)
                del self._door[descriptor]
                return

    def _take_in_who_stayed(self) -> None:
        late_s = self._clock() - HANDSHAKE_S
        stayed = []
        for descriptor, one in self._door.items():
            if one.since_s > late_s:
                break
            if self._has_spoken(descriptor, one):
                stayed.append(descriptor)
        for descriptor in stayed:
            self._enter(descriptor, "")

    def _has_spoken(self, descriptor: int, one: Connection) -> bool:
        """Whether it has sent as much as it takes to be asked about."""
        if one.is_ipc:
            return True
        received = received_bytes(descriptor)
        return received is None or received >= self._greeting_bytes

    def _enter(self, descriptor: int, user: str) -> None:
        one = self._inside[descriptor] = self._door.pop(descriptor)
        one.user = user
        self._places[one.is_ipc] += 1
        self._places_of[one.is_ipc, user] += 1

    def _forget(self, descriptor: int) -> Connection | None:
        one = self._inside.pop(descriptor, None)
        if one is None:
            return self._door.pop(descriptor, None)
        self._places[one.is_ipc] -= 1
        self._places_of[one.is_ipc, one.user] -= 1
        if not self._places_of[one.is_ipc, one.user]:
            del self._places_of[one.is_ipc, one.user]
        return one

    def _is_full(self, ipc: bool, user: str) -> bool:
        # those of the socket file have places of their own, which nobody else on the machine can take
        own_max = max(4, self._clients_max // 4)
        return self._places[ipc] >= self._clients_max or (
            bool(user) and self._places_of[ipc, user] >= own_max
        )

    def _forget_closed(self) -> None:
        # should ZeroMQ ever close one without a word, its place must not be lost
        if self._clock() - self._swept_s < SWEEP_S:
            return
        self._swept_s = self._clock()
        for descriptor, one in list(self._inside.items()):
            if inode_of(descriptor) != one.inode:
                self._forget(descriptor)

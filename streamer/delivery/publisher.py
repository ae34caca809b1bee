"""The daemon's way out: XPUB sockets that never make the daemon wait."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Self

import zmq

from streamer.delivery.binding import BoundSocket, end_context
from streamer.delivery.endpoints import check_publish_endpoint
from streamer.delivery.messages import Record, encode, frame_topic
from streamer.errors import SocketError
from streamer.security.connections import Connections
from streamer.security.guard import Guard
from streamer.security.setup import Security
from streamer.security.zap import LISTEN

DRAIN_MAX = 1_000
"""Subscription messages read in one go, so that no subscriber can keep the daemon busy for ever."""
SUBSCRIPTION_MAX_BYTES = 65_536
"""Whoever sends a longer one is cut off."""
SUBSCRIPTIONS_WAITING_MAX = 100
CLIENTS_MAX = 256


class Publisher:
    """Publishes records; to be made, used and closed on one thread.

    ZeroMQ drops what a slow subscriber does not fetch: `send_high_water` messages wait for each subscriber.
    Addresses that other machines can reach have a socket of their own, with keys, and need a guard.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        send_high_water: int = 10_000,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        guard: Guard | None = None,
        security: Security | None = None,
        clients_max: int = CLIENTS_MAX,
    ) -> None:
        checked = [check_publish_endpoint(text, security) for text in endpoints]
        if not checked:
            raise SocketError("there is no address to publish on", "name one with `--publish ENDPOINT`")
        self.endpoints: list[str] = []
        """Addresses as they are bound, with the port that was found where the config left it open."""
        self.sent = 0
        """Messages handed to ZeroMQ."""
        self.wanted: frozenset[bytes] = frozenset()
        """Prefixes that somebody had subscribed to when it was last looked; never changes in place."""
        self._closed = False
        self._channels: list[_Channel] = []
        self._own_context: zmq.Context[zmq.Socket[bytes]] | None = None if context else zmq.Context()
        context = context or self._own_context
        assert context is not None
        try:
            for local in (True, False):
                chosen = [endpoint for endpoint in checked if endpoint.is_local == local]
                if chosen:
                    channel = _Channel(context, send_high_water)
                    self._channels.append(channel)
                    channel.connections = _protect(channel, guard, None if local else security, clients_max)
                    channel.bind(chosen)
        except BaseException:
            self.close()
            raise
        self.endpoints = [text for channel in self._channels for text in channel.endpoints]

    @property
    def overflows(self) -> int:
        """Times that a subscriber's queue was full and it began to lose messages (nobody knows how many)."""
        return sum(channel.overflows for channel in self._channels)

    @property
    def connections(self) -> int:
        """Whoever is connected to an address that has a guard."""
        return sum(len(channel.connections) for channel in self._channels if channel.connections)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """To be polled for input: somebody subscribes or leaves."""
        return [channel.socket for channel in self._channels]

    def send(self, record: Record) -> None:
        """Publish a record; never waits."""
        self.send_parts(encode(record))

    def send_parts(self, parts: Sequence[bytes]) -> None:
        """Publish a message that is encoded already; never waits."""
        self.drain()
        for channel in self._channels:
            channel.send(parts)
        self.sent += 1

    def drain(self) -> None:
        """Take note of who has subscribed and left."""
        changed = [channel for channel in self._channels if channel.drain()]
        if changed:
            self.wanted = frozenset(prefix for channel in self._channels for prefix in channel.wanted)

    def is_wanted(self, topic: str | bytes) -> bool:
        """Whether anybody has subscribed to a prefix of this topic."""
        self.drain()
        return is_among(self.wanted, topic.encode() if isinstance(topic, str) else topic)

    def wants_frames(self, stream: str) -> bool:
        """Whether anybody has subscribed to this stream's frame scores."""
        return self.is_wanted(frame_topic(stream))

    def wait_wanted(self, topic: str | bytes, timeout_s: float) -> bool:
        """Wait until somebody subscribes to a prefix of this topic; False if nobody did in time."""
        deadline = time.monotonic() + timeout_s
        poller = zmq.Poller()
        for socket in self.sockets:
            poller.register(socket, zmq.POLLIN)
        while not self.is_wanted(topic):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            poller.poll(max(1, round(left_s * 1_000)))
        return True

    def close(self) -> None:
        """Let the last messages go out (a second at most), then close and remove the socket files."""
        if self._closed:
            return
        self._closed = True
        for channel in self._channels:
            channel.close()
        if self._own_context:
            end_context(self._own_context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def is_among(prefixes: Iterable[bytes], topic: bytes) -> bool:
    """Whether one of the prefixes is the topic's."""
    return any(topic.startswith(prefix) for prefix in prefixes)


def _protect(
    channel: _Channel, guard: Guard | None, security: Security | None, clients_max: int
) -> Connections | None:
    if guard is None:
        if security:
            raise ValueError("an address that others can reach needs a guard")
        return None
    return guard.protect(
        channel.socket,
        LISTEN if security else LISTEN.local,
        security.keys if security else None,
        clients_max=clients_max,
        message_max_bytes=SUBSCRIPTION_MAX_BYTES,
    )


class _Channel(BoundSocket):
    """One XPUB socket."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], send_high_water: int) -> None:
        options: dict[int, int] = {
            zmq.SNDHWM: send_high_water,
            zmq.XPUB_NODROP: 1,  # see _send_first
            # ZeroMQ works off all subscriptions that are there before it does anything else
            zmq.RCVHWM: SUBSCRIPTIONS_WAITING_MAX,
            zmq.RCVBUF: SUBSCRIPTION_MAX_BYTES,
        }
        super().__init__(context, zmq.XPUB, options, flag="--publish")
        self.overflows = 0
        self.wanted: set[bytes] = set()
        self.connections: Connections | None = None

    def send(self, parts: Sequence[bytes]) -> None:
        first, *rest = parts
        full = not self._send_first(first)
        for number, part in enumerate(rest, start=1):
            self.socket.send(part, zmq.NOBLOCK | (zmq.SNDMORE if number < len(rest) else 0))
        if full:
            self.socket.setsockopt(zmq.XPUB_NODROP, 1)

    def _send_first(self, part: bytes) -> bool:
        # With NODROP a full queue is an error before anything is sent: count it, then send as usual, so that
        # only the slow subscriber loses. ZeroMQ leaves it out until its queue has room: one count an episode.
        try:
            self.socket.send(part, zmq.NOBLOCK | zmq.SNDMORE)
        except zmq.Again:
            self.overflows += 1
            self.socket.setsockopt(zmq.XPUB_NODROP, 0)
            self.socket.send(part, zmq.NOBLOCK | zmq.SNDMORE)
            return False
        return True

    def drain(self) -> bool:
        """Read subscriptions; whether there were any."""
        # ZeroMQ counts subscribers itself: it tells of the first one of a prefix and of the last to leave
        for number in range(DRAIN_MAX):
            try:
                frame = self.socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return number > 0
            if self.connections:
                self.connections.note_subscription(frame)
            message = frame.bytes
            if message[:1] == b"\1":
                self.wanted.add(message[1:])
            elif message[:1] == b"\0":
                self.wanted.discard(message[1:])
        return True

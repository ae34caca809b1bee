"""The sockets that remote microphones send to: emptied without ever waiting, a bounded amount at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Self

import zmq

from streamer.capture.reception import Limits, Reception
from streamer.capture.remote_messages import LARGEST_FRAME_BYTES, Ack, FromDaemon, encode
from streamer.delivery.binding import BoundSocket, end_context
from streamer.delivery.endpoints import INGEST, check_bind_endpoint
from streamer.security.allowed import AllowList
from streamer.security.connections import Connections
from streamer.security.guard import Guard
from streamer.security.limits import allow_files
from streamer.security.setup import Security
from streamer.security.zap import SEND

TURN_MESSAGES = 2_000
"""Taken in one go; what is left waits in ZeroMQ, and beyond that at the senders."""
CLIENTS_FOR_EACH_STREAM = 4
"""Connections: a sender that comes back may be there before its former connection is known to be gone, and
nobody with one key may have more than a quarter of the places."""
OPTIONS: dict[int, int] = {
    zmq.RCVHWM: 100,  # messages of each sender: with 80 ms in each 8 s, then TCP makes it wait
    zmq.SNDHWM: 100,
    zmq.BACKLOG: 1_000,
    zmq.HEARTBEAT_IVL: 5_000,
    zmq.HEARTBEAT_TIMEOUT: 15_000,  # or connections that were cut would stay open for ever
}


class Ingest:
    """Hands messages to the reception, and its answers back; to be made, used and closed on one thread.

    It has a ZeroMQ context of its own, so that its doors can be watched on the thread that reads it.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        limits: Limits,
        *,
        reserved: Iterable[str] = (),
        security: Security | None = None,
    ) -> None:
        checked = [check_bind_endpoint(text, INGEST, security) for text in endpoints]
        self.reception = Reception(limits, reserved=reserved, may_send=self._may_send)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._bound: list[BoundSocket] = []
        self._keyed: list[bool] = []
        self._connections: list[Connections] = []
        clients_max = CLIENTS_FOR_EACH_STREAM * limits.max_streams
        allow_files(clients_max)
        self._guard = Guard(self._context, security.allowed if security else None)
        try:
            for local in (True, False):
                chosen = [endpoint for endpoint in checked if endpoint.is_local == local]
                if chosen:
                    self._keyed.append(not local)
                    self._bound.append(BoundSocket(self._context, zmq.ROUTER, OPTIONS, flag="--ingest"))
                    connections = self._guard.protect(
                        self._bound[-1].socket,
                        SEND.local if local else SEND,
                        security.keys if security and not local else None,
                        clients_max=clients_max,
                        message_max_bytes=LARGEST_FRAME_BYTES,
                    )
                    self._connections.append(connections)
                    self._bound[-1].bind(chosen)
        except BaseException:
            self.close()
            raise

    def _may_send(self, user: str | None, stream: str) -> bool:
        return user is None or self._guard.allowed.may_send(user, stream)

    @property
    def endpoints(self) -> list[str]:
        """Addresses as they are bound."""
        return [text for bound in self._bound for text in bound.endpoints]

    def filenos(self) -> list[int]:
        """Readable when something may have come; `waiting` tells, and must be asked before each sleep."""
        return [int(socket.getsockopt(zmq.FD)) for socket in self._all()]

    def waiting(self) -> bool:
        """Whether there is something: ZeroMQ's descriptors tell only of changes since the last time."""
        return any([int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN for socket in self._all()])  # noqa: C419

    def _all(self) -> list[zmq.Socket[bytes]]:
        return [*(bound.socket for bound in self._bound), *self._guard.sockets]

    def receive(self) -> None:
        """Let in who may come in, and take what has come."""
        self._guard.handle()
        for number, bound in enumerate(self._bound):
            for _ in range(TURN_MESSAGES):
                try:
                    routing = bound.socket.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                self._take(number, bound.socket, routing)

    def _take(self, number: int, socket: zmq.Socket[bytes], routing: bytes) -> None:
        if not socket.getsockopt(zmq.RCVMORE):
            return
        header = socket.recv(zmq.NOBLOCK, copy=False)
        payload = socket.recv(zmq.NOBLOCK) if header.more else None
        while socket.getsockopt(zmq.RCVMORE):  # nothing of ours: let it fall
            socket.recv(zmq.NOBLOCK)
        self._connections[number].note_message(header)
        peer = bytes([number]) + routing
        user = _told(header, "User-Id") if self._keyed[number] else None
        answer = self.reception.handle(peer, header.bytes, payload, user, _told(header, "Peer-Address"))
        if answer is not None:
            self._send(peer, answer)

    def acknowledge(self, acks: Iterable[tuple[bytes, Ack]]) -> None:
        """Tell senders what the reception says that they are to be told."""
        for peer, ack in acks:
            self._send(peer, ack)

    def _send(self, peer: bytes, message: FromDaemon) -> None:
        with contextlib.suppress(zmq.ZMQError):  # it has gone, or does not read: it will ask again
            self._bound[peer[0]].socket.send_multipart([peer[1:], encode(message)], zmq.NOBLOCK)

    def replace_allowed(self, allowed: AllowList) -> None:
        """Go on with another list of who may come in."""
        self._guard.replace_allowed(allowed)

    def close(self) -> None:
        """Close the sockets; may be called twice."""
        for bound in self._bound:
            bound.close()
        self._guard.close()
        end_context(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _told(frame: zmq.Frame, name: str) -> str:
    """What ZeroMQ knows of the connection; "" where it knows nothing."""
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""

"""The control sockets: requests in, replies out, and limits so that no client has the daemon for himself."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec
import zmq

from streamer.delivery.binding import BoundSocket
from streamer.delivery.endpoints import CONTROL as CONTROL_USE
from streamer.delivery.endpoints import Endpoint, check_bind_endpoint
from streamer.delivery.requests import (
    FRAME_MAX_BYTES,
    AnyRequest,
    Reply,
    RequestError,
    decode_request,
    encode_reply,
    error_reply,
    request_name,
)
from streamer.security.allowed import Right
from streamer.security.connections import Connections
from streamer.security.guard import Guard
from streamer.security.limits import Limiter
from streamer.security.setup import Security
from streamer.security.zap import CONTROL, Domain

log = logging.getLogger("streamer")

RATE_HZ = 50.0
BURST = 100
"""Requests of one client: so many at once, then so many a second."""
SERVE_S = 0.005
"""Requests are answered for so long; then, for as long again, only events go out."""
WAITING_MAX = 100
"""Requests that wait here for each client; then ZeroMQ lets its sender wait."""
REPLIES_MAX = 16
"""Replies that wait for a client that does not read; further ones are dropped, and it has to ask again."""

_EVERYTHING: frozenset[Right] = frozenset({"listen", "control"})
_LISTENING: frozenset[Right] = frozenset({"listen"})
_LOOPBACK = replace(CONTROL, name="control-loopback", plain=True)
_OPTIONS: dict[int, int] = {
    zmq.ROUTER_MANDATORY: 1,  # else a reply to nobody vanishes without a word
    zmq.RCVHWM: WAITING_MAX,
    zmq.SNDHWM: REPLIES_MAX,
    zmq.MAXMSGSIZE: FRAME_MAX_BYTES,
    zmq.HEARTBEAT_IVL: 10_000,
    zmq.HEARTBEAT_TIMEOUT: 30_000,  # or connections that were cut would stay open for ever
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a reply goes."""

    door: int
    envelope: tuple[bytes, ...]
    request_id: str = ""


Obey = Callable[[AnyRequest, Address], Reply | None]
"""Answers a request; None: the reply comes later. Raises RequestError."""


class ControlServer:
    """Requests on all control sockets; to be made, used and closed on one thread.

    Who may do what depends on the door: the socket file is for its owner, who may do everything; a port on
    loopback is for every user of the machine, who may listen; everybody else is known by his key.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Sequence[str],
        guard: Guard,
        *,
        security: Security | None = None,
        clients_max: int = 256,
    ) -> None:
        checked = [check_bind_endpoint(text, CONTROL_USE, security) for text in endpoints]
        self._guard = guard
        self._limiter = Limiter(RATE_HZ, BURST)
        self._doors: list[_Door] = []
        self._rests_until_s = 0.0
        try:
            for domain, rights, chosen in _kinds(checked):
                if chosen:
                    keys = security.keys if security and not domain.plain else None
                    door = _Door(context, rights)
                    self._doors.append(door)
                    door.connections = guard.protect(
                        door.socket, domain, keys, clients_max=clients_max, message_max_bytes=FRAME_MAX_BYTES
                    )
                    door.bind(chosen)
        except BaseException:
            self.close()
            raise
        self.endpoints = [text for door in self._doors for text in door.endpoints]
        """Addresses as they are bound."""

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """To be polled for input, but while it rests."""
        return [door.socket for door in self._doors]

    @property
    def rests_s(self) -> float:
        """How long it still rests; 0: it does not."""
        return max(0.0, self._rests_until_s - time.monotonic())

    def serve(self, obey: Obey) -> None:
        """Answer requests, but not for long: who asks without end must not delay events."""
        if self.rests_s:
            return
        began_s = time.monotonic()
        waiting = deque(range(len(self._doors)))
        while waiting:
            number = waiting.popleft()
            if self._serve_one(number, obey):
                waiting.append(number)
            used_s = time.monotonic() - began_s
            if used_s >= SERVE_S:
                self._rests_until_s = began_s + 2 * used_s
                return

    def _serve_one(self, number: int, obey: Obey) -> bool:
        """Answer the next request of a socket; False if there is none."""
        try:
            frames = self._doors[number].socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        self._doors[number].note(frames[-1])
        self._answer(number, frames, obey)
        return True

    def _answer(self, number: int, frames: Sequence[zmq.Frame], obey: Obey) -> None:
        peer, *rest = frames
        # a REQ socket sends an empty frame first and expects it back
        delimiter = rest[:1] if len(rest) == 2 and not len(rest[0]) else []
        address = Address(number, tuple(frame.bytes for frame in (peer, *delimiter)))
        user = _user(frames[-1])
        try:
            if not self._limiter.take(user or (number, peer.bytes)):
                # without it a client could not tell which of its requests this is about
                name = request_name(rest[-1].bytes) if rest else ""
                why = f"more than {RATE_HZ:g} requests a second"
                raise RequestError("busy", why, "ask less often", request_id=name)
            if len(rest) - len(delimiter) != 1:
                raise RequestError("bad-request", f"{len(rest)} frames, expected one")
            request = decode_request(rest[-1].bytes)
            address = replace(address, request_id=request.id)
            self._check_right(number, user, request)
            reply = obey(request, address)
        except RequestError as error:
            reply = error_reply(error)
        except Exception:  # a fault of ours; whoever met it must not be able to end the daemon with it
            log.exception("a request could not be answered")
            reply = error_reply(
                RequestError("failed", "the daemon has met a fault of its own", "see its log")
            )
        if reply is not None:
            self.reply(address, reply)

    def _check_right(self, number: int, user: str, request: AnyRequest) -> None:
        rights = self._doors[number].rights
        if rights is None:
            rights = self._guard.allowed.rights_of(user)
        if request.right not in rights:
            who = user or "whoever comes this way"
            raise RequestError("forbidden", f"{who} has no right to {request.right}")

    def reply(self, address: Address, reply: Reply, frames: Sequence[bytes] = ()) -> None:
        """Send a reply and the frames that belong to it; dropped where nobody takes it."""
        named = msgspec.structs.replace(reply, id=reply.id or address.request_id)
        parts = [*address.envelope, encode_reply(named), *frames]
        socket = self._doors[address.door].socket
        with contextlib.suppress(zmq.ZMQError):  # it has gone, or does not read
            try:
                socket.send_multipart(parts, zmq.NOBLOCK)
            except zmq.Again:
                # There may be room by now: ZeroMQ looks for it only now and then, or when asked for events.
                socket.getsockopt(zmq.EVENTS)
                socket.send_multipart(parts, zmq.NOBLOCK)

    def close(self) -> None:
        """Close the sockets; the last replies leave while the context ends."""
        for door in self._doors:
            door.close()


class _Door(BoundSocket):
    """One ROUTER socket, and what may be done by whoever comes through it; None: as his key allows."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], rights: frozenset[Right] | None) -> None:
        super().__init__(context, zmq.ROUTER, _OPTIONS, flag="--control")
        self.rights = rights
        self.connections: Connections | None = None

    def note(self, frame: zmq.Frame) -> None:
        """Somebody has finished a message."""
        if self.connections:
            self.connections.note_message(frame)


def _kinds(
    endpoints: Sequence[Endpoint],
) -> list[tuple[Domain, frozenset[Right] | None, list[Endpoint]]]:
    files = [endpoint for endpoint in endpoints if endpoint.path is not None]
    loopback = [endpoint for endpoint in endpoints if endpoint.path is None and endpoint.is_local]
    others = [endpoint for endpoint in endpoints if not endpoint.is_local]
    return [(CONTROL.local, _EVERYTHING, files), (_LOOPBACK, _LISTENING, loopback), (CONTROL, None, others)]


def _user(frame: zmq.Frame) -> str:
    """Whose key it was; "" where there are no keys."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""

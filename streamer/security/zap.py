"""The check at the door: ZeroMQ asks, over its ZAP protocol, about everybody who wants to connect."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import zmq

from streamer.security.allowed import AllowList, Right
from streamer.security.keys import key_text
from streamer.security.limits import Once

PLACE = "inproc://zeromq.zap.01"
"""Where ZeroMQ looks for it, in each context."""
REQUESTS_MAX = 20
"""Answered in one go: the rest of the daemon is not to wait for a storm of connections."""

_log = logging.getLogger("streamer.security")


@dataclass(frozen=True, slots=True)
class Domain:
    """A sort of door: who may pass, and whether it asks for a key at all."""

    name: str
    rights: frozenset[Right]
    """Any one of them opens it."""
    first: Right
    """The least of them."""
    plain: bool = False
    """Without keys: for what only this machine can reach."""

    @property
    def local(self) -> Domain:
        """The same door without keys."""
        return replace(self, name=f"{self.name}-local", plain=True)


LISTEN = Domain("listen", frozenset({"listen"}), "listen")
CONTROL = Domain("control", frozenset({"listen", "control"}), "listen")
"""Replay and status are for listeners, too; which request needs which right is checked at each request."""
SEND = Domain("send", frozenset({"send"}), "send")


class Places(Protocol):
    """Who keeps count of those inside."""

    def has_room(self, address: str, user: str) -> bool:
        """Whether one more may come in."""

    def let_in(self, address: str, user: str) -> None:
        """One has come in."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ZeroMQ is told: 200 come in, 300 come back later, 400 never."""

    status: bytes
    text: str
    user: str = ""


class Authenticator:
    """Answers ZeroMQ's questions; poll `socket`, then call `handle`, both on one thread.

    Everything that fails is a refusal: there is no way in but the last line of `judge`.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], allowed: AllowList | None = None) -> None:
        self.allowed = AllowList() if allowed is None else allowed
        self.doors: dict[bytes, tuple[Domain, Places]] = {}
        self._once = Once()
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        try:
            self.socket.bind(PLACE)
        except zmq.ZMQError:
            self.socket.close()
            raise

    def handle(self) -> None:
        """Answer those who wait."""
        for _ in range(REQUESTS_MAX):
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            number = parts[1] if len(parts) > 1 else b""
            try:
                verdict = self._judge(parts)
            except Exception:  # without an answer ZeroMQ would never ask again, and nobody could come in
                _log.exception("a client was refused because of a fault in this program")
                verdict = Verdict(b"500", "internal error")
            answer = [b"1.0", number, verdict.status, verdict.text.encode(), verdict.user.encode(), b""]
            self.socket.send_multipart(answer)

    def close(self) -> None:
        """To be closed after the sockets that it guards: they let nobody in without it."""
        self.socket.close()

    def _judge(self, parts: Sequence[bytes]) -> Verdict:
        if len(parts) < 6 or parts[0] != b"1.0":
            return Verdict(b"500", "no ZAP 1.0")
        door = self.doors.get(parts[2])
        address = parts[3].decode(errors="replace").partition("%")[0]
        if door is None:
            return Verdict(b"400", "no such domain")
        domain, places = door
        verdict = judge(self.allowed, domain, parts[5], parts[6:])
        if verdict.status == b"200" and not places.has_room(address, verdict.user):
            verdict = Verdict(b"300", "too many clients", verdict.user)
        if verdict.status == b"200":
            places.let_in(address, verdict.user)
        else:
            self._tell(domain, address, parts[6:], verdict)
        return verdict

    def _tell(self, domain: Domain, address: str, credentials: Sequence[bytes], verdict: Verdict) -> None:
        key = _key_of(credentials)
        more = self._once.due((domain.name, key or address, verdict.status))
        if more is None:
            return
        who = f"{verdict.user or 'a client'} from {place_of(address)}"
        again = f" ({more} more since it was last told)" if more else ""
        remedy = ""
        if key and verdict.status == b"400":
            remedy = f"; to let it in: streamer keys allow {verdict.user or 'NAME'} '{key}' --{domain.first}"
        _log.warning("%s: refused %s: %s%s%s", domain.name, who, verdict.text, again, remedy)


def judge(allowed: AllowList, domain: Domain, mechanism: bytes, credentials: Sequence[bytes]) -> Verdict:
    """Whether somebody may pass."""
    if domain.plain:
        return Verdict(b"200", "OK") if mechanism == b"NULL" else Verdict(b"400", "no keys are used here")
    key = _key_of(credentials)
    if mechanism != b"CURVE" or not key:
        return Verdict(b"400", "a key is needed here")
    client = allowed.find(key)
    if client is None:
        return Verdict(b"400", "unknown key")
    if not client.rights & domain.rights:
        return Verdict(b"400", f"{client.name} has no right to {domain.first}", client.name)
    return Verdict(b"200", "OK", client.name)


def _key_of(credentials: Sequence[bytes]) -> str:
    return key_text(credentials[0]) if credentials and len(credentials[0]) == 32 else ""


def place_of(address: str) -> str:
    """An address in words."""
    match address.split(":"):
        case ["localhost", uid, _, pid]:
            return f"user {uid} (pid {pid})"
    return address or "an unknown address"

"""The doors of a daemon, for all sockets of one context: the check, the count of who is inside, the keys."""

from __future__ import annotations

import logging
import math
import threading
from typing import Any, Self

import zmq

from streamer.security.allowed import AllowList
from streamer.security.connections import (
    HANDSHAKE_S,
    SUBSCRIPTIONS_MAX,
    UNFINISHED_MAX_BYTES,
    Connections,
    Incident,
)
from streamer.security.keys import KeyPair
from streamer.security.limits import Once, allow_files
from streamer.security.zap import Authenticator, Domain, place_of

PLACES_AND_DOOR = 3
"""Connections there can be at once for each place inside: Connections sees to it."""
KEEPALIVE_IDLE_S = 60
KEEPALIVE_PERIOD_S = 15
KEEPALIVE_COUNT = 4
"""A machine that was switched off without a word is noticed in two minutes, and its place is free again."""

PLAIN_GREETING_BYTES = 64
"""Once a client has greeted, ZeroMQ asks about it."""
CURVE_GREETING_BYTES = 64 + 202 + 257
"""Once it has greeted and has sent HELLO and INITIATE (at least so much of it)."""

_log = logging.getLogger("streamer.security")


class Guard:
    """Watches over the sockets of one context; to be made, used and closed on one thread.

    Make it before the sockets, `protect` each before it is bound, poll `sockets` and call `handle` when one
    of them is readable or it is `due_s`; close it after them. Whoever reads a socket of ROUTER or DEALER sort
    tells `note_message` of what `protect` has given him.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], allowed: AllowList | None = None) -> None:
        self._context = context
        self._door = Authenticator(context, allowed)
        self._watched: list[tuple[Domain, Connections]] = []
        self._once = Once()

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """To be polled for input."""
        return [*(connections.socket for _, connections in self._watched), self._door.socket]

    @property
    def due_s(self) -> float:
        """When to call `handle` even if none of them is, on time.monotonic()'s clock."""
        return min((connections.due_s for _, connections in self._watched), default=math.inf)

    @property
    def allowed(self) -> AllowList:
        """Who may come in, and what they may do there."""
        return self._door.allowed

    def protect(
        self,
        socket: zmq.Socket[Any],
        domain: Domain,
        keys: KeyPair | None = None,
        *,
        clients_max: int,
        message_max_bytes: int,
    ) -> Connections:
        """Guard a socket that is not bound yet: with keys, or a plain one that only this machine reaches."""
        if domain.plain != (keys is None):
            raise ValueError(f"domain {domain.name} with{'' if keys else 'out'} keys")
        name = domain.name.encode()
        if name in self._door.doors:
            raise ValueError(f"domain {domain.name} has a socket already")
        allow_files(PLACES_AND_DOOR * clients_max)
        limit_messages(socket, message_max_bytes)
        if keys is None:
            plain_server(socket, domain)
        else:
            secure_server(socket, keys, domain)
        greeting_bytes = PLAIN_GREETING_BYTES if keys is None else CURVE_GREETING_BYTES
        connections = Connections(self._context, socket, clients_max, greeting_bytes=greeting_bytes)
        self._watched.append((domain, connections))
        self._door.doors[name] = (domain, connections)
        return connections

    def handle(self) -> None:
        """Note who has come and gone, answer who asks to come in, tell of those who failed."""
        for domain, connections in self._watched:
            connections.handle()
            incidents, connections.incidents = connections.incidents, []
            for address, incident in incidents:
                self._tell(domain, address, incident)
        self._door.handle()

    def replace_allowed(self, allowed: AllowList) -> int:
        """Take over a new list; if it lets anybody do less, everybody has to show his key again.

        The number of connections that were closed for it. Those that may still come in are back at once.
        """
        before, self._door.allowed = self._door.allowed, allowed
        cut = 0
        for domain, connections in self._watched:
            if not domain.plain and _lost_access(before, allowed, domain):
                connections.handle()
                cut += connections.cut_all()
        if cut:
            _log.info("somebody may do less now: %d connections are closed, and may be made anew", cut)
        return cut

    def close(self) -> None:
        """To be called when the guarded sockets are closed."""
        for _, connections in self._watched:
            connections.close()
        self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _tell(self, domain: Domain, address: str, incident: Incident) -> None:
        more = self._once.due((domain.name, address, incident))
        if more is None:
            return
        again = f" ({more} more since it was last told)" if more else ""
        keys = "no keys are used here" if domain.plain else "it has no key, or another key for this daemon"
        why = {
            "misspoke": f"refused {{}}: it does not say what is expected ({keys})",
            "left": "refused {}: it left during the handshake",
            "oversubscribed": f"cut off {{}}: it subscribed {SUBSCRIPTIONS_MAX} times",
            "unfinished": f"cut off {{}}: it sent {UNFINISHED_MAX_BYTES // 10**6} MB and finished no message",
        }[incident].format(f"a client from {place_of(address)}")
        _log.warning("%s: %s%s", domain.name, why, again)


class GuardThread:
    """A thread that keeps a guard's doors; for programs that have no loop of their own."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in self._guard.sockets:
            poller.register(socket, zmq.POLLIN)
        while not self._stop.is_set():
            poller.poll(50)
            self._guard.handle()


def secure_server(socket: zmq.Socket[Any], keys: KeyPair, domain: Domain) -> None:
    """Let in only who knows our public key and has one that the guard lets in."""
    _ask_the_door(socket, domain)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())


def plain_server(socket: zmq.Socket[Any], domain: Domain) -> None:
    """Let in whoever can reach it, as long as there is room."""
    _ask_the_door(socket, domain)


def limit_messages(socket: zmq.Socket[Any], message_max_bytes: int) -> None:
    """Drop whoever sends more in one frame."""
    socket.setsockopt(zmq.MAXMSGSIZE, message_max_bytes)


def _ask_the_door(socket: zmq.Socket[Any], domain: Domain) -> None:
    socket.setsockopt(zmq.ZAP_DOMAIN, domain.name.encode())
    # without this ZeroMQ lets everybody in while nobody answers at the door
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.HANDSHAKE_IVL, int(HANDSHAKE_S * 1_000))
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, KEEPALIVE_PERIOD_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT)


def _lost_access(before: AllowList, after: AllowList, domain: Domain) -> bool:
    for client in before.clients.values():
        now = after.find(client.key)
        if not client.rights & domain.rights:
            continue
        if now is None or now.name != client.name or not client.rights <= now.rights:
            return True
        if "send" in client.rights and not set(client.may_use) <= set(now.may_use):
            return True
    return False

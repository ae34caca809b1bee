"""Sockets behind a guard, as a daemon has them, and clients with and without keys."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from streamer.security import connections, guard
from streamer.security.allowed import AllowList, Client, Right
from streamer.security.connections import Connections
from streamer.security.guard import Guard, GuardThread
from streamer.security.keys import KeyPair, make_pair
from streamer.security.known import Credentials, secure_client
from streamer.security.watch import Watch
from streamer.security.zap import Domain

DEADLINE_MS = 20_000
SHORT_MS = 300
"""How long something is waited for that must not come."""
HANDSHAKE_S = 3.0
ANY_PORT = "tcp://127.0.0.1:*"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A directory of one's own."""
    path = tmp_path / "private"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(scope="session")
def pairs() -> dict[str, KeyPair]:
    """The keys of everybody in these tests."""
    return {name: make_pair(name) for name in ("daemon", "bob", "eve", "mic", "boss")}


def client(pair: KeyPair, *rights: Right, streams: tuple[str, ...] = ()) -> Client:
    return Client(name=pair.name, key=pair.public, rights=frozenset(rights), streams=streams)


@pytest.fixture
def allowed(pairs: dict[str, KeyPair]) -> AllowList:
    """Bob listens, the boss also controls, mic sends, and nobody knows Eve."""
    return AllowList(
        [
            client(pairs["bob"], "listen"),
            client(pairs["boss"], "listen", "control"),
            client(pairs["mic"], "send"),
        ]
    )


class Lab:
    """A context with guarded sockets on one side, and one with clients on the other."""

    def __init__(self, pairs: dict[str, KeyPair], allowed: AllowList) -> None:
        self.pairs = pairs
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.guard = Guard(self.context, allowed)
        self._clients: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._thread: GuardThread | None = None
        self.watches: list[Watch] = []
        self._sockets: list[zmq.Socket[bytes]] = []

    def serve(
        self,
        domain: Domain,
        endpoint: str = ANY_PORT,
        *,
        kind: int = zmq.ROUTER,
        clients_max: int = 50,
        message_max_bytes: int = 10_000,
        ipv6: bool = False,
    ) -> tuple[zmq.Socket[bytes], Connections]:
        """A socket of the daemon behind such a door."""
        socket = self.make(self.context, kind)
        socket.setsockopt(zmq.IPV6, int(ipv6))
        keys = None if domain.plain else self.pairs["daemon"]
        connections = self.guard.protect(
            socket, domain, keys, clients_max=clients_max, message_max_bytes=message_max_bytes
        )
        socket.bind(endpoint)
        return socket, connections

    def open(self) -> None:
        """Now somebody answers at the doors."""
        self._thread = GuardThread(self.guard)
        self._thread.__enter__()

    def shut(self) -> None:
        """The thread of the guard ends, so that the test may use it."""
        if self._thread is not None:
            self._thread.__exit__()
            self._thread = None

    def connect(
        self,
        server: zmq.Socket[bytes] | str,
        who: str | None = None,
        *,
        knows: str = "daemon",
        kind: int = zmq.DEALER,
        watched: bool = False,
    ) -> zmq.Socket[bytes]:
        """A client; `who` is whose keys it has, `knows` whom it takes the daemon for."""
        socket = self.make(self._clients, kind)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.IPV6, int(isinstance(server, str) and "[" in server))
        if who is not None:
            pair = self.pairs[who]
            secure_client(socket, Credentials(self.pairs[knows].public, pair.public, pair.secret))
        if kind == zmq.SUB:
            socket.subscribe("")
        if watched:
            self.watches.append(Watch(socket))
        socket.connect(server if isinstance(server, str) else server.getsockopt_string(zmq.LAST_ENDPOINT))
        return socket

    def close_clients(self) -> None:
        """All that `connect` has made."""
        for watch in self.watches:
            watch.close()
        for socket in self._sockets:
            if socket.context is self._clients:
                socket.close(linger=0)

    def close(self) -> None:
        """Everything, in the order that a daemon keeps; hangs on nothing."""
        self.shut()
        self.close_clients()
        for socket in self._sockets:
            socket.close(linger=0)
        self._clients.term()
        self.guard.close()
        ending = threading.Thread(target=self.context.term, daemon=True)
        ending.start()
        ending.join(10)
        assert not ending.is_alive()

    def make(self, context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
        """A plain socket that is closed at the end."""
        socket = context.socket(kind)
        self._sockets.append(socket)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, DEADLINE_MS)
        socket.setsockopt(zmq.SNDTIMEO, DEADLINE_MS)
        return socket


@pytest.fixture
def lab(pairs: dict[str, KeyPair], allowed: AllowList, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for module in (guard, connections):
        monkeypatch.setattr(module, "HANDSHAKE_S", HANDSHAKE_S)
    made = Lab(pairs, allowed)
    yield made
    made.close()

"""Sockets that others connect to: bound to addresses, private where they are files, and closed in time."""

from __future__ import annotations

import contextlib
import errno
import os
import socket as sockets
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import zmq

from streamer.delivery.endpoints import Endpoint
from streamer.errors import SocketError

LINGER_MS = 1_000
"""How long close() lets the last messages leave, at most."""
CLOSE_MAX_S = 2.0
"""When end_context() gives up on ZeroMQ itself."""


class BoundSocket:
    """A ZeroMQ socket at one or more addresses; to be made, used and closed on one thread."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], kind: int, options: Mapping[int, int], *, flag: str
    ) -> None:
        self.endpoints: list[str] = []
        """Addresses as they are bound, with the port that was found where the config left it open."""
        self._flag = flag  # of `streamer run`, to choose another address with
        self._files: dict[Path, int] = {}  # socket file -> inode, so that only our own is removed
        self.socket = context.socket(kind)
        for option, value in options.items():
            self.socket.setsockopt(option, value)

    def bind(self, endpoints: Sequence[Endpoint]) -> None:
        """Bind to every address, or raise SocketError; the socket is to be closed then."""
        if any(endpoint.host.startswith("[") for endpoint in endpoints):
            self.socket.setsockopt(zmq.IPV6, 1)
        for endpoint in endpoints:
            self._bind(endpoint)

    def close(self) -> None:
        """Remove the socket files; the last messages leave while the context ends. May be called twice."""
        self.socket.close(linger=LINGER_MS)
        for path, inode in self._files.items():
            with contextlib.suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()
        self._files.clear()

    def _bind(self, endpoint: Endpoint) -> None:
        try:
            if endpoint.path is None:
                self.socket.bind(endpoint.text)
            else:
                self._bind_file(endpoint.text, endpoint.path)
        except (OSError, zmq.ZMQError) as error:
            raise self._bind_error(endpoint, error) from None
        self.endpoints.append(self.socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def _bind_file(self, text: str, path: Path) -> None:
        self._refuse_occupied(path)
        with _umask(0o177):  # no moment at which others could connect
            self.socket.bind(text)
        self._files[path] = path.lstat().st_ino
        path.chmod(0o600)

    def _refuse_occupied(self, path: Path) -> None:
        # ZeroMQ removes whatever lies at the path before it binds: somebody's file, a running daemon's socket
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise SocketError(
                f"{path} is there and is no socket", f"choose another with `{self._flag} ipc:///PATH`"
            )
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
            probe.settimeout(1)
            refused = probe.connect_ex(str(path)) == errno.ECONNREFUSED
        if not refused:
            raise SocketError(
                f"another program listens on {path}",
                f"stop it, or choose another with `{self._flag} ipc:///PATH`",
            )

    def _bind_error(self, endpoint: Endpoint, error: OSError | zmq.ZMQError) -> SocketError:
        if endpoint.path is not None:
            return SocketError(
                f"cannot make the socket {endpoint.path}: {os.strerror(error.errno or 0)}",
                f"choose another with `--runtime-dir DIR` or `{self._flag} ipc:///PATH`",
            )
        if error.errno == zmq.EADDRINUSE:
            return SocketError(
                f"port {endpoint.port} on {endpoint.host} is in use by another program",
                f"stop it, or choose another with `{self._flag} tcp://127.0.0.1:PORT`",
            )
        return SocketError(
            f"cannot bind {endpoint.text}: {os.strerror(error.errno or 0)}",
            f"choose another with `{self._flag} tcp://127.0.0.1:PORT`",
        )


def end_context(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Wait until the last messages have left, but not for ever."""
    # Seen with libzmq 4.3.5: when a subscriber with a full queue leaves at this very moment, term() may never
    # return, whatever the linger time. A context, unlike a socket, may be ended on any thread.
    ending = threading.Thread(target=context.term, name="context-end", daemon=True)
    ending.start()
    ending.join(CLOSE_MAX_S)


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)

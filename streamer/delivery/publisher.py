"""The daemon's way out: one XPUB socket that never makes the daemon wait."""

from __future__ import annotations

import contextlib
import errno
import os
import socket as sockets
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import zmq

from streamer.delivery.endpoints import Endpoint, check_publish_endpoint
from streamer.delivery.messages import Record, encode, frame_topic
from streamer.errors import SocketError

LINGER_MS = 1_000
"""How long close() waits at most for the last messages to leave."""
CLOSE_MAX_S = 2.0
"""When close() gives up on ZeroMQ itself."""
DRAIN_MAX = 1_000
"""Subscription messages read in one go, so that no subscriber can keep the daemon busy for ever."""


class Publisher:
    """Publishes records; to be made, used and closed on one thread.

    ZeroMQ drops what a slow subscriber does not fetch: `send_high_water` messages wait for each subscriber.
    """

    def __init__(self, endpoints: Sequence[str], *, send_high_water: int = 10_000) -> None:
        checked = [check_publish_endpoint(text) for text in endpoints]
        if not checked:
            raise SocketError("there is no address to publish on", "name one with `--publish ENDPOINT`")
        self.endpoints: list[str] = []
        """Addresses as they are bound, with the port that was found where the config left it open."""
        self.sent = 0
        """Messages handed to ZeroMQ."""
        self.overflows = 0
        """Times that a subscriber's queue was full and it began to lose messages (nobody knows how many)."""
        self._closed = False
        self._wanted: set[bytes] = set()
        self._files: dict[Path, int] = {}  # socket file -> inode, so that only our own is removed
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        try:
            self._open(checked, send_high_water)
        except BaseException:
            self.close()
            raise

    def send(self, record: Record) -> None:
        """Publish a record; never waits."""
        self._drain()
        first, *rest = encode(record)
        full = not self._send_first(first)
        for number, part in enumerate(rest, start=1):
            self._socket.send(part, zmq.NOBLOCK | (zmq.SNDMORE if number < len(rest) else 0))
        if full:
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)
        self.sent += 1

    def is_wanted(self, topic: str | bytes) -> bool:
        """Whether anybody has subscribed to a prefix of this topic."""
        self._drain()
        name = topic.encode() if isinstance(topic, str) else topic
        return any(name.startswith(prefix) for prefix in self._wanted)

    def wants_frames(self, stream: str) -> bool:
        """Whether anybody has subscribed to this stream's frame scores."""
        return self.is_wanted(frame_topic(stream))

    def wait_wanted(self, topic: str | bytes, timeout_s: float) -> bool:
        """Wait until somebody subscribes to a prefix of this topic; False if nobody did in time."""
        deadline = time.monotonic() + timeout_s
        while not self.is_wanted(topic):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            self._socket.poll(max(1, round(left_s * 1_000)), zmq.POLLIN)
        return True

    def close(self) -> None:
        """Let the last messages go out (a second at most), then close and remove the socket files."""
        if self._closed:
            return
        self._closed = True
        self._socket.close(linger=LINGER_MS)
        # Seen with libzmq 4.3.5: when a subscriber with a full queue leaves at this very moment, term() may
        # never return, whatever the linger time. A context, unlike a socket, may be ended on any thread.
        ending = threading.Thread(target=self._context.term, name="publisher-end", daemon=True)
        ending.start()
        ending.join(CLOSE_MAX_S)
        for path, inode in self._files.items():
            with contextlib.suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self, endpoints: Sequence[Endpoint], send_high_water: int) -> None:
        self._socket.setsockopt(zmq.SNDHWM, send_high_water)
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)  # see _send_first
        if any(endpoint.host.startswith("[") for endpoint in endpoints):
            self._socket.setsockopt(zmq.IPV6, 1)
        for endpoint in endpoints:
            self._bind(endpoint)

    def _bind(self, endpoint: Endpoint) -> None:
        try:
            if endpoint.path is None:
                self._socket.bind(endpoint.text)
            else:
                self._bind_file(endpoint.text, endpoint.path)
        except (OSError, zmq.ZMQError) as error:
            raise _bind_error(endpoint, error) from None
        self.endpoints.append(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def _bind_file(self, text: str, path: Path) -> None:
        _refuse_occupied(path)
        with _umask(0o177):  # no moment at which others could connect
            self._socket.bind(text)
        self._files[path] = path.lstat().st_ino
        path.chmod(0o600)

    def _send_first(self, part: bytes) -> bool:
        # With NODROP a full queue is an error before anything is sent: count it, then send as usual, so that
        # only the slow subscriber loses. ZeroMQ leaves it out until its queue has room: one count an episode.
        try:
            self._socket.send(part, zmq.NOBLOCK | zmq.SNDMORE)
        except zmq.Again:
            self.overflows += 1
            self._socket.setsockopt(zmq.XPUB_NODROP, 0)
            self._socket.send(part, zmq.NOBLOCK | zmq.SNDMORE)
            return False
        return True

    def _drain(self) -> None:
        # ZeroMQ counts subscribers itself: it tells of the first one of a prefix and of the last to leave
        for _ in range(DRAIN_MAX):
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if message[:1] == b"\1":
                self._wanted.add(message[1:])
            elif message[:1] == b"\0":
                self._wanted.discard(message[1:])


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _refuse_occupied(path: Path) -> None:
    # ZeroMQ removes whatever lies at the path before it binds: a user's file, or a running daemon's socket
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketError(f"{path} is there and is no socket", "choose another with `--publish ipc:///PATH`")
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.settimeout(1)
        refused = probe.connect_ex(str(path)) == errno.ECONNREFUSED
    if not refused:
        raise SocketError(
            f"another program listens on {path}", "stop it, or choose another with `--publish ipc:///PATH`"
        )


def _bind_error(endpoint: Endpoint, error: OSError | zmq.ZMQError) -> SocketError:
    if endpoint.path is not None:
        return SocketError(
            f"cannot make the socket {endpoint.path}: {os.strerror(error.errno or 0)}",
            "choose another with `--runtime-dir DIR` or `--publish ipc:///PATH`",
        )
    if error.errno == zmq.EADDRINUSE:
        return SocketError(
            f"port {endpoint.port} on {endpoint.host} is in use by another program",
            "stop it, or choose another with `--publish tcp://127.0.0.1:PORT`",
        )
    return SocketError(
        f"cannot publish on {endpoint.text}: {os.strerror(error.errno or 0)}",
        "choose another with `--publish tcp://127.0.0.1:PORT`",
    )

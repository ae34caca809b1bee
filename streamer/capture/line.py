"""The socket of a sender: connects for ever, and says what is in the way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Self

import zmq

from streamer.capture.link import Link
from streamer.capture.remote_messages import (
    LARGEST_FRAME_BYTES,
    RemoteMessageError,
    decode_from_daemon,
    encode,
)
from streamer.delivery.endpoints import Endpoint
from streamer.errors import SocketError
from streamer.security.known import Credentials, secure_client
from streamer.security.watch import MISFIT, REFUSED, Trouble, Watch

NO_ANSWER_S = 3.0
"""When a daemon that has not answered yet is spoken of."""
REFUSED_S = 8.0
"""ZeroMQ does not knock again where a key was refused: we do, this often."""
OPTIONS: dict[int, int] = {
    zmq.IMMEDIATE: 1,  # nothing waits for a connection: after a cut, hello comes first
    zmq.LINGER: 1_000,
    zmq.MAXMSGSIZE: LARGEST_FRAME_BYTES,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 2_000,
    zmq.CONNECT_TIMEOUT: 3_000,
    zmq.HEARTBEAT_IVL: 2_000,
    zmq.HEARTBEAT_TIMEOUT: 6_000,  # a connection that swallows everything is given up
}


class Line:
    """Carries what a link has to say, and what it is told."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: Endpoint,
        credentials: Credentials | None,
        link: Link,
        tell: Callable[[str], None],
    ) -> None:
        self._endpoint = endpoint
        self._link = link
        self._tell = tell
        self._told: Trouble | None = None
        self._speak_s = time.monotonic() + NO_ANSWER_S
        self._knock_s = 0.0
        self._socket = context.socket(zmq.DEALER)
        for option, value in OPTIONS.items():
            self._socket.setsockopt(option, value)
        self._socket.setsockopt(
            zmq.IPV6, int(endpoint.path is None)
        )  # a name may have either sort of address
        if credentials is not None:
            secure_client(self._socket, credentials)
        self._watch = Watch(self._socket)
        try:
            self._socket.connect(endpoint.text)
        except zmq.ZMQError as error:
            self.close()
            raise SocketError(f"cannot connect to {endpoint.text}: {error.strerror}", "check it") from None
        self._poller = zmq.Poller()
        for socket in (self._socket, self._watch.socket):
            self._poller.register(socket, zmq.POLLIN)

    def wait(self, timeout_s: float, descriptor: int | None = None) -> None:
        """Sleep until something comes from the daemon or on the descriptor, or is due."""
        if descriptor is not None:
            self._poller.register(descriptor, zmq.POLLIN)
        try:
            self._poller.poll(round(1000 * max(0.0, min(timeout_s, self._link.due_s()))))
        finally:
            if descriptor is not None:
                self._poller.unregister(descriptor)

    def converse(self) -> None:
        """Hear what the daemon says, then say all there is to say."""
        self._hear()
        while (found := self._link.next_message()) is not None:
            message, payload = found
            parts = [encode(message)] if payload is None else [encode(message), payload]
            try:
                self._socket.send_multipart(parts, zmq.NOBLOCK)
            except zmq.Again:  # no connection: with so little under way the queue is never full
                self._link.cut()
                break
            self._link.sent(message)
        self._look_after()

    def _hear(self) -> None:
        while True:
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            with contextlib.suppress(RemoteMessageError):  # of a later version, perhaps
                self._link.take(decode_from_daemon(parts[0]))

    def _look_after(self) -> None:
        """Say once what is in the way, and knock again."""
        trouble, now_s = self._watch.read(), time.monotonic()
        if self._link.welcome:
            self._told, self._speak_s = None, float("inf")
            return
        if trouble is not None and trouble is not self._told:
            # That nobody is there is no news when a daemon starts again, but at the very beginning it is.
            if trouble in {REFUSED, MISFIT} or now_s >= self._speak_s:
                self._told, self._speak_s = trouble, float("inf")
                self._tell(f"{trouble.message}; {trouble.remedy} (trying for ever)")
        elif now_s >= self._speak_s:
            self._speak_s = float("inf")
            self._tell("no answer yet, trying for ever")
        if trouble is not None and trouble.is_final and now_s >= self._knock_s:
            if self._knock_s:
                self._socket.disconnect(self._endpoint.text)
                self._socket.connect(self._endpoint.text)
            self._knock_s = now_s + REFUSED_S

    def say_goodbye(self) -> None:
        """The last word, where anybody listens."""
        if self._link.welcome:
            with contextlib.suppress(zmq.Again):
                self._socket.send(encode(self._link.bye()), zmq.NOBLOCK)

    def close(self) -> None:
        """Let the last messages leave, for a second at most."""
        self._watch.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

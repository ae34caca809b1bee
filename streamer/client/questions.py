"""What both sorts of Control share: requests, and replies as values or as ControlError; no waiting here."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec
import zmq

from streamer.client.sockets import Keys, default_control_endpoint, find_credentials, open_control
from streamer.delivery.endpoints import CONTROL, check_connect_endpoint
from streamer.delivery.messages import MessageError
from streamer.delivery.requests import (
    ErrorReply,
    Reply,
    Request,
    decode_reply,
    encode_request,
)
from streamer.errors import EXIT_FAILURE, EXIT_SOCKET, StreamerError
from streamer.security.watch import Watch

TIMEOUT_S = 5.0

ReplyT = TypeVar("ReplyT", bound=Reply)


class ControlError(StreamerError):
    """A request was not obeyed: `code` for programs, message and remedy for people.

    The codes are those of PROTOCOL.md, and two more: "no-answer" and "unreadable".
    """

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.code = code

    @property
    def status(self) -> int:  # type: ignore[override]
        """The exit status: nobody there is a fault of the address, a refusal is not."""
        return EXIT_SOCKET if self.code == "no-answer" else EXIT_FAILURE


class Question(Generic[ReplyT]):
    """A request under way."""

    def __init__(self, request: Request, kind: type[ReplyT]) -> None:
        self._kind = kind
        self._name = secrets.token_hex(4)
        self.frame = encode_request(msgspec.structs.replace(request, id=self._name))
        self.bodies: list[bytes] = []
        """The frames after the reply's first."""

    def read(self, parts: Sequence[bytes]) -> ReplyT | None:
        """The reply; None if the parts are the late answer to another request."""
        try:
            reply = decode_reply(parts[0], self._kind)
        except MessageError as error:
            if self._name.encode() not in parts[0]:
                return None
            raise ControlError("unreadable", error.message, error.remedy) from None
        if reply.id != self._name:
            return None
        if isinstance(reply, ErrorReply):
            raise ControlError(reply.error.code, reply.error.message, reply.error.remedy)
        self.bodies = list(parts[1:])
        return reply


class ControlFront:
    """What `Control` and `AsyncControl` have in common; see `Control`."""

    def __init__(
        self, endpoint: str | None = None, *, timeout_s: float = TIMEOUT_S, credentials: Keys = None
    ) -> None:
        self._checked = check_connect_endpoint(endpoint or default_control_endpoint(), CONTROL)
        self._credentials = find_credentials(self._checked, credentials)
        self.endpoint = self._checked.text
        self.timeout_s = timeout_s
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._open: zmq.Socket[bytes] | None = None
        self._watch: Watch | None = None
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def _socket(self) -> zmq.Socket[bytes]:
        """Connected, and anew after a request that was given up."""
        return self._open or self._connect()

    def _connect(self) -> zmq.Socket[bytes]:
        # Without IMMEDIATE: with it ZeroMQ drops a reply that has come when the daemon leaves right after it.
        try:
            self._open = self._context.socket(zmq.DEALER)
            # a daemon that wants keys may refuse them, which ZeroMQ keeps to itself
            self._watch = Watch(self._open) if self._credentials is not None else None
            open_control(self._open, self._checked, self._credentials)
        except zmq.ZMQError as error:
            self._forget()
            raise ControlError("no-answer", f"{self.endpoint}: {error.strerror}") from error
        return self._open

    def _forget(self) -> None:
        """Nobody waits for the answer any more: a daemon that comes later is not to obey."""
        watch, self._watch = self._watch, None
        if watch:
            watch.close()
        socket, self._open = self._open, None
        if socket:
            socket.close(linger=0)

    def _nobody(self) -> ControlError:
        """Why there is no answer; the request is forgotten."""
        error = self._silence()
        self._forget()
        return error

    def _silence(self) -> ControlError:
        trouble = self._watch.read() if self._watch else None
        if trouble is not None:
            return ControlError("no-answer", f"{self.endpoint}: {trouble.message}", trouble.remedy)
        return ControlError(
            "no-answer",
            f"no answer from {self.endpoint} within {self.timeout_s:g} s",
            "is the daemon running, and is that where it takes requests?",
        )

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._forget()
        self._context.term()

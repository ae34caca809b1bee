"""A client's view of its own connection: ZeroMQ tries for ever and in silence; this says what is wrong."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import zmq

from streamer.security.monitor import parse

EVENTS_MAX = 1_000
_numbers = itertools.count()
_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no connection."""

    message: str
    remedy: str
    is_final: bool = False
    """ZeroMQ does not try again after this: connect anew, later."""


UNREACHED = Trouble(
    "nobody answers at this address", "see that the daemon runs and that no firewall is between"
)
REFUSED = Trouble(
    "the daemon refuses this key",
    "let it in on the daemon's machine: `streamer keys allow NAME KEY`, then reload the daemon",
    is_final=True,
)
MISFIT = Trouble(
    "the daemon breaks off the handshake: it has another key than the one that is trusted here, or wants one",
    "compare `streamer keys show` there with `streamer keys list` here",
)
LOST = Trouble("the connection was lost", "it comes back by itself when the daemon does")


class Watch:
    """Follows one socket, made before it connects and used on its thread; `socket` may be polled."""

    def __init__(self, watched: zmq.Socket[Any]) -> None:
        self.connected = False
        self.trouble: Trouble | None = None
        """The latest; None before anything has happened, and while connected."""
        self._watched = watched
        self._reached = False
        place = f"inproc://watch-{next(_numbers)}"  # ZeroMQ lets go of a name some time after its socket
        watched.monitor(place, _EVENTS)
        # a plain socket even in a context of asyncio: nothing here ever waits
        self.socket: zmq.Socket[bytes] = watched.context.socket(zmq.PAIR, socket_class=zmq.Socket)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(place)

    def read(self) -> Trouble | None:
        """Take note of what has happened; `trouble` afterwards."""
        for _ in range(EVENTS_MAX):
            try:
                incident = parse(self.socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                break
            self._note(incident.event, incident.value)
        return self.trouble

    def close(self) -> None:
        """Stop watching; to be called before the watched socket is closed."""
        if not self._watched.closed:
            self._watched.disable_monitor()
        self.socket.close()

    def _note(self, event: int, value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.connected, self.trouble = True, None
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self.trouble = REFUSED if value == 400 else self.trouble
        elif event in {zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL}:
            self.trouble = MISFIT
        elif event == zmq.EVENT_CONNECTED:
            self._reached = True
        elif event == zmq.EVENT_DISCONNECTED:
            self.trouble = LOST if self.connected else self.trouble
            self.connected = False
        elif not self._reached:  # tried again without having met anybody
            self.trouble = UNREACHED
        else:
            self._reached = False

"""At the door of a daemon that wants keys: what stands in the way is told once, and it is tried again."""

from __future__ import annotations

import logging
import math
from typing import Any

import zmq

from streamer.delivery.endpoints import Endpoint
from streamer.security.watch import MISFIT, REFUSED, Trouble, Watch

LOOK_S = 1.0
"""How often it is looked while there is no connection."""
AGAIN_S = 10.0
"""After a refusal: ZeroMQ itself would never try again."""

_log = logging.getLogger("streamer.client")


class Knocking:
    """Follows one connection; made before it is connected, closed before its socket."""

    def __init__(self, socket: zmq.Socket[Any], endpoint: Endpoint) -> None:
        self._socket = socket
        self._endpoint = endpoint
        self._watch = Watch(socket)
        self._told: Trouble | None = None
        self._again_s = math.inf

    @property
    def trouble(self) -> Trouble | None:
        """Why there is no connection; None if there is one, or nothing has happened yet."""
        return self._watch.read()

    def look(self, now_s: float) -> float:
        """Tell what is new, and try again when it is time; when to look again."""
        trouble = self._watch.read()
        if self._watch.connected:
            self._told, self._again_s = None, math.inf
            return math.inf
        if trouble in {REFUSED, MISFIT} and trouble is not self._told:
            self._told = trouble
            _log.warning("%s: %s; %s", self._endpoint.text, trouble.message, trouble.remedy)
        if trouble is not None and trouble.is_final:
            self._again_s = min(self._again_s, now_s + AGAIN_S)
            if now_s >= self._again_s:
                self._again_s = math.inf
                self._socket.disconnect(self._endpoint.text)
                self._socket.connect(self._endpoint.text)
        return now_s + LOOK_S

    def close(self) -> None:
        """Look no longer."""
        self._watch.close()

"""What ZeroMQ's monitor of a socket tells. pyzmq's own reader of it would import all of asyncio."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

_HEAD = struct.Struct("=HI")


class Incident(NamedTuple):
    """Something happened to a connection."""

    event: int
    """One of zmq.EVENT_..."""
    value: int
    """What it is depends on the event: a descriptor, an error number, a status."""
    endpoint: bytes


def parse(parts: Sequence[bytes]) -> Incident:
    """The two parts of a message of the monitor."""
    head, endpoint = parts
    event, value = _HEAD.unpack(head)
    return Incident(event, value, endpoint)

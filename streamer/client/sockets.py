"""The two sockets of a subscriber and the one of Control, opened alike for threads and for asyncio."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq

from streamer.delivery.endpoints import CONTROL, Endpoint, check_connect_endpoint, default_connect_endpoint
from streamer.errors import SocketError
from streamer.security.keys import default_keys_directory
from streamer.security.known import Credentials, secure_client

RECEIVE_HIGH_WATER = 10_000
"""Messages that wait here for a slow reader; beyond them the newest are lost, and come by replay."""
QUESTIONS_HIGH_WATER = 10
MESSAGE_MAX_BYTES = 16 * 1024 * 1024
"""Of a longer part nothing is read: the connection is closed."""
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 5_000, 15_000
"""ZeroMQ's own heartbeat: a peer behind a cut cable is given up after the timeout, on both sides."""
LONGEST_RECONNECT_MS, CONNECT_TIMEOUT_MS = 1_000, 3_000
"""Without the timeout the system itself knocks more and more seldom while nothing comes back."""

Keys = Credentials | str | Path | None
"""Credentials, or the directory that they are in; None: the usual one, where the address wants keys."""


def control_endpoint(events: Endpoint, given: str | None) -> Endpoint:
    """Where requests are answered: as given, else beside the events, as the daemon has it by default."""
    if given is not None:
        return check_connect_endpoint(given, CONTROL)
    if events.path is not None:
        return check_connect_endpoint(f"ipc://{events.path.parent}/{CONTROL.file}", CONTROL)
    # as far from the events' port as the usual one is from theirs
    return check_connect_endpoint(f"tcp://{events.host}:{min(events.port + 1, 65_535)}", CONTROL)


def default_control_endpoint() -> str:
    """The local daemon's."""
    return default_connect_endpoint(CONTROL)


def find_credentials(endpoint: Endpoint, keys: Keys) -> Credentials | None:
    """What it takes to connect there; None on this machine, unless keys were given."""
    if isinstance(keys, Credentials):
        return keys
    if keys is None and endpoint.is_local:
        return None
    if endpoint.path is not None:
        return None  # a socket file is guarded by its mode
    return Credentials.for_client(endpoint.host, endpoint.port, Path(keys or default_keys_directory()))


def open_events(
    socket: zmq.Socket[Any],
    endpoint: Endpoint,
    prefixes: Sequence[bytes],
    credentials: Credentials | None,
) -> None:
    """Subscribe and connect."""
    socket.setsockopt(zmq.RCVHWM, RECEIVE_HIGH_WATER)
    for prefix in prefixes:
        socket.setsockopt(zmq.SUBSCRIBE, prefix)
    _connect(socket, endpoint, credentials)


def open_control(socket: zmq.Socket[Any], endpoint: Endpoint, credentials: Credentials | None) -> None:
    """Connect to where a daemon takes requests."""
    socket.setsockopt(zmq.SNDHWM, QUESTIONS_HIGH_WATER)
    _connect(socket, endpoint, credentials)


def _connect(socket: zmq.Socket[Any], endpoint: Endpoint, credentials: Credentials | None) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_MAX_BYTES)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, LONGEST_RECONNECT_MS)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
    socket.setsockopt(zmq.IPV6, int(endpoint.host.startswith("[")))
    if credentials is not None:
        secure_client(socket, credentials)
    try:
        socket.connect(endpoint.text)
    except zmq.ZMQError as error:
        raise SocketError(
            f"cannot connect to {endpoint.text}: {os.strerror(error.errno or 0)}", "check the address"
        ) from None

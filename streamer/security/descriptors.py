"""Connections of ZeroMQ's as the system sees them: looked at, and cut, by their file descriptors.

The descriptors are ZeroMQ's own and may stand for something else at any moment. Each is therefore known by
its inode as well, which no other socket has.
"""

from __future__ import annotations

import os
import socket as sockets
import struct
from dataclasses import dataclass

_PEER = struct.Struct("3i")
_TCP_INFO_RECEIVED = struct.Struct("128xQ")
"""Where Linux keeps tcpi_bytes_received."""


@dataclass(slots=True)
class Connection:
    """One that is open."""

    address: str
    """As the check at the door knows it: an IP address, or localhost:UID:GID:PID; "" if it was too quick."""
    inode: int
    """0 if it was too quick: it is never cut then."""
    since_s: float
    user: str = ""
    subscriptions: int = 0
    has_spoken: bool = False
    """It has finished a message since it was last looked at."""
    counted_bytes: int | None = None
    """What had come of it when it was first looked at after its last message."""

    @property
    def is_ipc(self) -> bool:
        """Whether it came through a socket file."""
        return is_ipc(self.address)


def is_ipc(address: str) -> bool:
    """Whether an address at the door is that of a socket file's client."""
    return address.startswith("localhost:")


def inspect(descriptor: int, endpoint: str, now_s: float) -> Connection:
    """Whose connection it is, if it is one that came in at this endpoint."""
    try:
        with sockets.socket(fileno=os.dup(descriptor)) as connection:
            here = connection.getsockname()
            if connection.family == sockets.AF_UNIX:
                told = connection.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, _PEER.size)
                pid, uid, gid = _PEER.unpack(told)
                place, address = f"ipc://{here}", f"localhost:{uid}:{gid}:{pid}"
            else:
                place, endpoint = f"tcp:{here[1]}", f"tcp:{endpoint.rpartition(':')[2]}"
                address = connection.getpeername()[0].partition("%")[0]
            if place == endpoint:
                return Connection(address, inode_of(connection.fileno()), now_s)
    except OSError:
        pass
    return Connection("", 0, now_s)  # it has gone already, and its number may be somebody else's


def cut(descriptor: int, inode: int) -> bool:
    """End a connection; ZeroMQ finds it closed by the other side."""
    try:
        with sockets.socket(fileno=os.dup(descriptor)) as connection:
            if not inode or inode_of(connection.fileno()) != inode:
                return False
            connection.shutdown(sockets.SHUT_RDWR)
    except OSError:
        return False
    return True


def received_bytes(descriptor: int) -> int | None:
    """How much has come on a TCP connection; None if this system does not count."""
    try:
        with sockets.socket(fileno=os.dup(descriptor)) as connection:
            told = connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _TCP_INFO_RECEIVED.size)
    except OSError:
        return 0
    return int(_TCP_INFO_RECEIVED.unpack(told)[0]) if len(told) == _TCP_INFO_RECEIVED.size else None


def inode_of(descriptor: int) -> int:
    """0 if there is none."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0

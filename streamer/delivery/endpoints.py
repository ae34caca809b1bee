"""Where the daemon publishes and subscribers look: the runtime directory, its lock, and addresses."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streamer.errors import SocketError

PUBLISH_PORT = 7790
"""The daemon's TCP port on loopback."""
EVENTS_SOCKET = "events.sock"
LOCK_FILE = "streamer.lock"
IPC_PATH_MAX_BYTES = 107
"""sockaddr_un.sun_path on Linux, less the closing zero."""
PORT_MAX = 65_535

_TCP = re.compile(r"tcp://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+|\*):(?P<port>[0-9]{1,5}|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked address: either an ipc path or a tcp host and port."""

    text: str
    """As ZeroMQ takes it."""
    path: Path | None = None
    host: str = ""
    port: int = 0
    """0: any free port (publishing only)."""


def runtime_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Where the sockets are: chosen by systemd, the session, the system or the temporary directory."""
    environ = os.environ if environ is None else environ
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]  # systemd lists several with colons
    if os.path.isabs(given):
        return Path(given)
    session = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(session):  # the XDG standard: a relative one is to be ignored
        return Path(session) / "streamer"
    if os.geteuid() == 0:
        return Path("/run/streamer")
    return Path(tempfile.gettempdir()) / f"streamer-{os.geteuid()}"


def default_publish_endpoints(runtime: Path) -> list[str]:
    """The addresses that a daemon publishes on when its config names none."""
    return [f"ipc://{runtime}/{EVENTS_SOCKET}", f"tcp://127.0.0.1:{PUBLISH_PORT}"]


def default_subscribe_endpoint(environ: Mapping[str, str] | None = None) -> str:
    """The ipc address if a socket of ours is there, else TCP on loopback."""
    path = runtime_directory(environ) / EVENTS_SOCKET
    ipc, tcp = default_publish_endpoints(path.parent)
    return ipc if _is_our_socket(path) else tcp


def _is_our_socket(path: Path) -> bool:
    # anybody may make a directory under /tmp: trust it only if it is our own (root's places are root's)
    try:
        owner = path.parent.lstat().st_uid
        return stat.S_ISSOCK(path.lstat().st_mode) and os.geteuid() in {owner, 0}
    except OSError:
        return False


def check_publish_endpoint(text: str) -> Endpoint:
    """Check an address to publish on: local only, since nothing is authenticated yet."""
    endpoint = _parse(text)
    if endpoint.path is not None:
        return endpoint
    # ZeroMQ binds to numbers, not names
    host = "127.0.0.1" if endpoint.host == "localhost" else endpoint.host
    if not _is_loopback(host):
        raise SocketError(
            f"{text} is not on loopback: it needs CURVE keys, which this version does not offer yet",
            f"publish on this machine only, such as tcp://127.0.0.1:{PUBLISH_PORT}",
        )
    return Endpoint(f"tcp://{host}:{endpoint.port or '*'}", host=host, port=endpoint.port)


def check_subscribe_endpoint(text: str) -> Endpoint:
    """Check an address to subscribe to."""
    endpoint = _parse(text)
    if endpoint.path is None and (endpoint.host == "*" or endpoint.port == 0):
        raise SocketError(
            f"{text} is no address to connect to", f"name host and port: tcp://127.0.0.1:{PUBLISH_PORT}"
        )
    return endpoint


def _parse(text: str) -> Endpoint:
    if text.startswith("ipc://"):
        return _parse_ipc(text)
    if text.startswith("tcp://"):
        return _parse_tcp(text)
    raise SocketError(f"{text!r} is no address", f"use ipc:///PATH or tcp://127.0.0.1:{PUBLISH_PORT}")


def _parse_ipc(text: str) -> Endpoint:
    path = text.removeprefix("ipc://")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise SocketError(f"{text!r} is not UTF-8", "choose another path") from None
    # a relative path depends on where one stands; "@name" (no file, hence no mode) and "*" go with it
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise SocketError(f"{text!r} names no absolute path of a socket file", "use ipc:///DIRECTORY/FILE")
    if size > IPC_PATH_MAX_BYTES:
        raise SocketError(
            f"{text} is too long: {size} bytes of path, {IPC_PATH_MAX_BYTES} at most",
            "choose a shorter path or `--runtime-dir DIR`",
        )
    return Endpoint(text, path=Path(path))


def _parse_tcp(text: str) -> Endpoint:
    match = _TCP.fullmatch(text)
    if not match:
        raise SocketError(
            f"{text!r} is no TCP address", f"write tcp://HOST:PORT, such as tcp://127.0.0.1:{PUBLISH_PORT}"
        )
    port = 0 if match["port"] == "*" else int(match["port"])
    if port > PORT_MAX:
        raise SocketError(f"{text}: there is no port {port}", f"choose one from 1 to {PORT_MAX}")
    return Endpoint(text, host=match["host"], port=port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class RuntimeDirectory:
    """The private directory of one daemon, locked while it runs.

    Without the lock a second daemon would take the first one's ipc socket away in silence.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def acquire(self) -> None:
        """Make the directory if need be, check that it is private, and lock it; else SocketError."""
        if self._lock is not None:
            return
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_private()
            self._lock = self._take_lock()
        except FileExistsError:
            raise self._refusal("is not a directory") from None
        except OSError as error:
            raise self._refusal(f"cannot be used: {error.strerror}") from None

    def release(self) -> None:
        """Unlock; the lock file stays, since removing it would race with the next daemon."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _refusal(self, why: str, remedy: str = "choose another with `--runtime-dir DIR`") -> SocketError:
        return SocketError(f"runtime directory {self.path} {why}", remedy)

    def _check_private(self) -> None:
        found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise self._refusal("is not a directory")
        if found.st_uid != os.geteuid():
            raise self._refusal(f"belongs to another user (uid {found.st_uid})")
        if found.st_mode & 0o077:
            mode = found.st_mode & 0o777
            raise self._refusal(f"is open to others (mode {mode:04o})", f"`chmod 700 {self.path}`")

    def _take_lock(self) -> int:
        lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = _pid_in(lock)
            os.close(lock)
            raise self._refusal(f"is in use: another streamer{holder} already runs here") from None
        except BaseException:
            os.close(lock)
            raise
        return lock


def _pid_in(lock: int) -> str:
    # the other one may have locked it and not yet written its number
    with contextlib.suppress(ValueError):
        return f" (pid {int(os.pread(lock, 32, 0))})"
    return ""

"""Where the daemon binds and clients look: addresses, the runtime directory and its lock."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streamer.errors import SocketError
from streamer.security.setup import NO_KEYS, Security, open_security

LOCK_FILE = "streamer.lock"
IPC_PATH_MAX_BYTES = 107
"""sockaddr_un.sun_path on Linux, less the closing zero."""
PORT_MAX = 65_535

_TCP = re.compile(r"tcp://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+|\*):(?P<port>[0-9]{1,5}|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Use:
    """What a socket of the daemon is for: its usual file and port, and the option that moves it."""

    verb: str
    file: str
    port: int
    option: str


PUBLISH = Use("publish", "events.sock", 7790, "`--publish ENDPOINT`")
CONTROL = Use("take requests", "control.sock", 7791, "endpoints in [control]")
INGEST = Use("take sound", "ingest.sock", 7792, "endpoints in [ingest]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked address: either an ipc path or a tcp host and port."""

    text: str
    """As ZeroMQ takes it."""
    path: Path | None = None
    host: str = ""
    port: int = 0
    """0: any free port (binding only)."""

    @property
    def is_local(self) -> bool:
        """Whether nobody outside this machine can reach it; what is not local is bound with CURVE only."""
        return self.path is not None or is_loopback(self.host)


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


def local_endpoints(runtime: Path, use: Use) -> tuple[str, str]:
    """The usual addresses on this machine: the socket file, and TCP on loopback."""
    return f"ipc://{runtime}/{use.file}", f"tcp://127.0.0.1:{use.port}"


def default_publish_endpoints(runtime: Path) -> list[str]:
    """The addresses that a daemon publishes on when its config names none."""
    return list(local_endpoints(runtime, PUBLISH))


def default_subscribe_endpoint(environ: Mapping[str, str] | None = None) -> str:
    """Where to subscribe when nobody says."""
    return default_connect_endpoint(PUBLISH, environ)


def default_connect_endpoint(use: Use, environ: Mapping[str, str] | None = None) -> str:
    """The ipc address if a socket of ours is there, else TCP on loopback."""
    runtime = runtime_directory(environ)
    ipc, tcp = local_endpoints(runtime, use)
    return ipc if _is_our_socket(runtime / use.file) else tcp


def _is_our_socket(path: Path) -> bool:
    # anybody may make a directory under /tmp: trust it only if it is our own (root's places are root's)
    try:
        owner = path.parent.lstat().st_uid
        return stat.S_ISSOCK(path.lstat().st_mode) and os.geteuid() in {owner, 0}
    except OSError:
        return False


def check_publish_endpoint(text: str, security: Security | None = None) -> Endpoint:
    """Check an address to publish on."""
    return check_bind_endpoint(text, PUBLISH, security)


def check_bind_endpoint(text: str, use: Use, security: Security | None = None) -> Endpoint:
    """Check an address to bind; one that others can reach wants a key pair and a list of who may come in."""
    endpoint = _parse(text, use)
    if endpoint.path is not None:
        return endpoint
    # ZeroMQ binds to numbers, not names
    host = "127.0.0.1" if endpoint.host == "localhost" else endpoint.host
    if not is_loopback(host):
        if host != "*" and not _is_number(host):
            raise SocketError(
                f"{text} is not on loopback, and {host} is no number of an address",
                f"name the number, or all: tcp://*:{endpoint.port or use.port}",
            )
        lacking, remedy = security.lacking() if security else NO_KEYS
        if lacking:
            raise SocketError(f"{text} is not on loopback: {lacking}", remedy)
    return Endpoint(f"tcp://{host}:{endpoint.port or '*'}", host=host, port=endpoint.port)


def check_subscribe_endpoint(text: str) -> Endpoint:
    """Check an address to subscribe to."""
    return check_connect_endpoint(text, PUBLISH)


def check_connect_endpoint(text: str, use: Use) -> Endpoint:
    """Check an address to connect to."""
    endpoint = _parse(text, use)
    if endpoint.path is None and (endpoint.host == "*" or endpoint.port == 0):
        raise SocketError(
            f"{text} is no address to connect to", f"name host and port: tcp://127.0.0.1:{use.port}"
        )
    return endpoint


def security_for(
    endpoints: Iterable[str], directory: str | Path | None = None, allowed_file: str | Path | None = None
) -> Security | None:
    """Keys and the list of clients, where an address wants them; None for a daemon of this machine alone."""
    tcp = (match for text in endpoints if (match := _TCP.fullmatch(text)))
    if all(is_loopback(match["host"]) for match in tcp):
        return None
    return open_security(directory, allowed_file)


def _parse(text: str, use: Use) -> Endpoint:
    if text.startswith("ipc://"):
        return _parse_ipc(text)
    if text.startswith("tcp://"):
        return _parse_tcp(text, use)
    raise SocketError(f"{text!r} is no address", f"use ipc:///PATH or tcp://127.0.0.1:{use.port}")


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


def _parse_tcp(text: str, use: Use) -> Endpoint:
    match = _TCP.fullmatch(text)
    if not match:
        raise SocketError(
            f"{text!r} is no TCP address", f"write tcp://HOST:PORT, such as tcp://127.0.0.1:{use.port}"
        )
    port = 0 if match["port"] == "*" else int(match["port"])
    if port > PORT_MAX:
        raise SocketError(f"{text}: there is no port {port}", f"choose one from 1 to {PORT_MAX}")
    return Endpoint(text, host=match["host"], port=port)


def is_loopback(host: str) -> bool:
    """Whether a host, as it stands in an address, is this machine's loopback."""
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


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

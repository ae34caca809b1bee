"""A client's side: which daemon has which public key, and what it takes to connect to one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import zmq

from streamer.errors import SecurityError
from streamer.security.files import editing, owners_around, read_private, write_private
from streamer.security.keys import OWN_KEY, is_key, read_pair

KNOWN_FILE = "known.toml"

_HEAD = "# Public keys of daemons, as `streamer keys trust` has put them here.\n"
_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


class Credentials(msgspec.Struct, frozen=True):
    """Keys in Z85 for one connection: the daemon's public one, and one's own pair."""

    server: str
    public: str
    secret: str

    def __repr__(self) -> str:
        return f"Credentials(server={self.server!r}, public={self.public!r})"  # never the secret

    @classmethod
    def for_client(cls, host: str, port: int, directory: Path) -> Credentials:
        """Those for a daemon that `streamer keys trust` knows; SecurityError if something is missing."""
        server = find_known(read_known(directory / KNOWN_FILE), host, port)
        if server is None:
            raise SecurityError(
                f"the key of {host}:{port} is not known",
                f"ask on that machine with `streamer keys show`, then here `streamer keys trust {host} KEY`",
            )
        own = read_pair(directory / OWN_KEY)
        if own is None:
            raise SecurityError(
                f"there is no key pair in {directory}, and {host}:{port} wants to know who you are",
                "`streamer keys new`, then on that machine `streamer keys allow`",
            )
        return cls(server, own.public, own.secret)


def secure_client(socket: zmq.Socket[Any], credentials: Credentials) -> None:
    """Talk only to the daemon that has this key; to be called before connect."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, credentials.server.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, credentials.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, credentials.secret.encode())


def parse_place(text: str) -> tuple[str, int]:
    """Host and port of HOST or HOST:PORT; port 0 stands for every port of the host."""
    match = _PLACE.fullmatch(text.removeprefix("tcp://"))
    if match is None or int(match["port"] or 0) > 65_535:
        raise SecurityError(
            f"{text!r} is no host", "write HOST or HOST:PORT, such as lab.local or [fe80::7]:7790"
        )
    return match["host"].lower(), int(match["port"] or 0)


def read_known(path: Path, owners: frozenset[int] | None = None) -> dict[str, str]:
    """HOST or HOST:PORT -> public key; empty without a file."""
    text = read_private(path, owners)
    if text is None:
        return {}
    try:
        known = tomllib.loads(text).get("servers", {})
    except ValueError as error:
        raise SecurityError(f"{path} is no TOML: {error}", "mend it, or remove it and trust anew") from None
    if not isinstance(known, dict) or not all(isinstance(key, str) and is_key(key) for key in known.values()):
        raise SecurityError(f"{path} holds something else than keys", "mend it, or remove it and trust anew")
    return known


def find_known(known: dict[str, str], host: str, port: int) -> str | None:
    """The key of a daemon: of this very port, else of its host."""
    return known.get(f"{host.lower()}:{port}") or known.get(host.lower())


def trust(directory: Path, place: str, key: str, *, replace: bool = False) -> None:
    """Remember a daemon's key; one that is known is not changed unless told to."""
    host, port = parse_place(place)
    name = f"{host}:{port}" if port else host
    if not is_key(key):
        raise SecurityError(
            f"{key!r} is no public key", "copy the 40 characters of `streamer keys show`, in '...'"
        )
    path = directory / KNOWN_FILE
    with editing(directory):
        known = read_known(path, owners_around(directory))
        if known.get(name, key) != key and not replace:
            raise SecurityError(
                f"{name} is known with another key: its keys were made anew, or somebody else answers there",
                "ask on that machine with `streamer keys show`; if it is right, use --force",
            )
        known[name] = key
        lines = [f'"{server}" = "{known[server]}"\n' for server in sorted(known)]
        write_private(path, "".join([_HEAD, "[servers]\n", *lines]), replace=True)

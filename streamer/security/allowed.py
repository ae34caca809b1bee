"""The allow list: which key belongs to whom, and what that client may do."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from streamer.errors import ConfigError
from streamer.names import NAME_PATTERN
from streamer.security.files import read_private
from streamer.security.keys import is_key

Right = Literal["listen", "control", "send"]
RIGHTS: tuple[Right, ...] = get_args(Right)
ALLOWED_FILE = "allowed.toml"

_EXPECTED = {
    "key": "the client's public key, 40 characters",
    "rights": f"a list of {', '.join(RIGHTS)}",
    "streams": "a list of names of letters, digits, _ and - (64 at most)",
}


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """One who may come in."""

    name: str
    key: str
    rights: frozenset[Right]
    streams: tuple[str, ...] = ()
    """With the right to send: the names that its streams may have; none: its own name."""

    @property
    def may_use(self) -> tuple[str, ...]:
        """The names that its streams may have."""
        return self.streams or (self.name,)

    def may_send(self, stream: str) -> bool:
        """Whether it may send sound under this name."""
        return "send" in self.rights and stream in self.may_use


class AllowList:
    """All who may come in; never changes."""

    def __init__(self, clients: Iterable[Client] = ()) -> None:
        self.clients = {client.name: client for client in clients}
        self._by_key = {client.key: client for client in self.clients.values()}

    def __len__(self) -> int:
        return len(self.clients)

    def find(self, key: str) -> Client | None:
        """Whose key it is."""
        return self._by_key.get(key)

    def rights_of(self, name: str) -> frozenset[Right]:
        """What the client of that name may do; nothing if there is none."""
        client = self.clients.get(name)
        return client.rights if client else frozenset()

    def may_send(self, name: str, stream: str) -> bool:
        """Whether the client of that name may send sound under that stream's name."""
        client = self.clients.get(name)
        return client is not None and client.may_send(stream)


def read_allowed(path: Path, owners: frozenset[int] | None = None) -> AllowList:
    """The list in a file, empty without one; ConfigError with its faults, SecurityError if it is loose."""
    text = read_private(path, owners)
    return AllowList() if text is None else parse_allowed(text, str(path))


def parse_allowed(text: str, place: str = ALLOWED_FILE) -> AllowList:
    """The list in a text; ConfigError with every fault at once."""
    try:
        tables = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError([f"{place}: no TOML: {error}"]) from None
    faults = [f"{name}: unknown, expected only tables [clients.NAME]" for name in tables if name != "clients"]
    given = tables.get("clients", {})
    if not isinstance(given, dict):
        faults, given = [*faults, "clients: expected tables [clients.NAME]"], {}
    clients = [_client(name, table, faults) for name, table in given.items()]
    known = [client for client in clients if client is not None]
    faults += _twice(known)
    if faults:
        raise ConfigError([f"{place}: {fault}" for fault in faults])
    return AllowList(known)


def _client(name: str, table: Any, faults: list[str]) -> Client | None:
    before = len(faults)
    if not re.match(NAME_PATTERN, name):
        faults.append(f"clients.{name!r}: no name, use 1 to 64 letters, digits, _ and -")
    if not isinstance(table, Mapping):
        faults.append(f"clients.{name}: expected a table, [clients.{name}]")
        return None
    unknown = [field for field in table if field not in _EXPECTED]
    faults += [f"clients.{name}.{field}: unknown, legal: {', '.join(_EXPECTED)}" for field in unknown]
    key = _field(name, table, "key", str, faults, required=True)
    if isinstance(key, str) and not is_key(key):
        faults.append(f"clients.{name}.key: {key!r}, expected {_EXPECTED['key']}")
    rights = _field(name, table, "rights", frozenset[Right], faults, required=True)
    streams = _field(name, table, "streams", tuple[_StreamName, ...], faults) or ()
    if streams and rights is not None and "send" not in rights:
        faults.append(f"clients.{name}.streams: needs the right to send")
    if len(faults) > before:
        return None
    return Client(name=name, key=key, rights=rights, streams=streams)


_StreamName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]


def _field(
    name: str, table: Mapping[str, Any], field: str, kind: Any, faults: list[str], *, required: bool = False
) -> Any:
    if field not in table:
        if required:
            faults.append(f"clients.{name}.{field}: missing, expected {_EXPECTED[field]}")
        return None
    try:
        return msgspec.convert(table[field], kind)
    except msgspec.ValidationError:
        faults.append(f"clients.{name}.{field}: {table[field]!r}, expected {_EXPECTED[field]}")
        return None


def _twice(clients: list[Client]) -> list[str]:
    first: dict[str, str] = {}
    faults = []
    for client in clients:
        if client.key in first:
            faults.append(f"clients.{client.name}.key: clients.{first[client.key]} has the same")
        first.setdefault(client.key, client.name)
    return faults

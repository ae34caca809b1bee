"""The allow list, changed by a command: what people wrote around it stays."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from streamer.errors import SecurityError
from streamer.names import NAME_PATTERN
from streamer.security.allowed import RIGHTS, AllowList, Client, Right, parse_allowed
from streamer.security.files import editing, owners_around, read_private, write_private
from streamer.security.keys import is_key

_HEAD = "# Who may come in. A running daemon reads it again on SIGHUP (systemctl reload streamer).\n"


def allow(
    path: Path, name: str, key: str | None, rights: Iterable[Right], streams: Iterable[str] = ()
) -> Client:
    """Give a client these rights as well; a new one needs its key. The client as it is then."""
    with editing(path.parent):
        text, allowed = _read(path)
        known = allowed.clients.get(name)
        if known is None:
            client = Client(name=name, key=_checked(name, key, allowed), rights=frozenset())
        elif key not in (None, known.key):
            raise SecurityError(
                f"{name} has another key", f"`streamer keys revoke {name}` first, or choose another name"
            )
        else:
            client = known
        client = msgspec.structs.replace(
            client,
            rights=client.rights | frozenset(rights),
            streams=(*client.streams, *(stream for stream in streams if stream not in client.streams)),
        )
        _write(path, _without(text, name) + _table(client), {**allowed.clients, name: client})
    return client


def revoke(path: Path, name: str, rights: Collection[Right] = ()) -> Client | None:
    """Take these rights away, or all; the client as it is then, None if nothing is left of it."""
    with editing(path.parent):
        text, allowed = _read(path)
        known = allowed.clients.get(name)
        if known is None:
            raise SecurityError(f"there is no client {name!r} in {path}", _meant(name, allowed))
        left = known.rights - frozenset(rights) if rights else frozenset()
        clients = {**allowed.clients}
        del clients[name]
        text = _without(text, name)
        client = None
        if left:
            streams = known.streams if "send" in left else ()
            client = clients[name] = msgspec.structs.replace(known, rights=left, streams=streams)
            text += _table(client)
        _write(path, text, clients)
    return client


def _read(path: Path) -> tuple[str, AllowList]:
    text = read_private(path, owners_around(path.parent))
    return (_HEAD, AllowList()) if text is None else (text, parse_allowed(text, str(path)))


def _write(path: Path, text: str, expected: dict[str, Client]) -> None:
    # the text is edited line by line: whatever else TOML allows, this must be what comes out
    if not _is_toml(text) or parse_allowed(text, str(path)).clients != expected:
        raise SecurityError(f"{path} is laid out so that it cannot be changed safely", "edit it by hand")
    write_private(path, text, replace=True)


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True


def _checked(name: str, key: str | None, allowed: AllowList) -> str:
    if key is None:
        raise SecurityError(
            f"there is no client {name!r} yet, and a new one needs its key",
            f"`streamer keys show` there prints it: streamer keys allow {name} 'KEY'",
        )
    if not is_key(key):
        raise SecurityError(
            f"{key!r} is no public key", "copy the 40 characters of `streamer keys show`, between '...'"
        )
    owner = allowed.find(key)
    if owner:
        raise SecurityError(
            f"this is the key of {owner.name}", f"use that name, or `streamer keys revoke {owner.name}` first"
        )
    if not re.match(NAME_PATTERN, name):
        raise SecurityError(f"{name!r} is no name", "use 1 to 64 letters, digits, _ and -")
    return key


def _without(text: str, name: str) -> str:
    """The text without the table of a client, from its head to its last setting."""
    lines = text.splitlines(keepends=True)
    head = re.compile(rf"\s*\[\s*clients\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*\]")
    begin = next((number for number, line in enumerate(lines) if head.match(line)), None)
    if begin is None:
        return text.rstrip() + "\n"
    last = begin
    for number in range(begin + 1, len(lines)):
        line = lines[number].strip()
        if line.startswith("["):
            break
        if line and not line.startswith("#"):
            last = number
    before, after = "".join(lines[:begin]).rstrip(), "".join(lines[last + 1 :]).strip()
    return "\n\n".join(part for part in (before, after) if part) + "\n"


def _table(client: Client) -> str:
    rights = ", ".join(f'"{right}"' for right in RIGHTS if right in client.rights)
    lines = [f"\n[clients.{client.name}]", f'key = "{client.key}"', f"rights = [{rights}]"]
    if client.streams:
        lines.append("streams = [" + ", ".join(f'"{stream}"' for stream in client.streams) + "]")
    return "\n".join(lines) + "\n"


def _meant(name: str, allowed: AllowList) -> str:
    close = difflib.get_close_matches(name, allowed.clients, n=1)
    return f"did you mean {close[0]}?" if close else "`streamer keys list` prints them"

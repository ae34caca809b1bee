"""Key pairs: made, kept in a file of mode 0600, read back. CURVE, the elliptic-curve security of ZeroMQ."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import zmq

from streamer.errors import SecurityError
from streamer.names import NAME_PATTERN
from streamer.security.files import read_private, write_private

OWN_KEY = "own.key"
"""The key pair of whoever the directory belongs to: a daemon's, a client's, or both."""
SYSTEM_KEYS = Path("/var/lib/streamer/keys")
"""Root's, and those of the system's service, which may not read what is in /etc for root alone."""

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_VALUE = {character: value for value, character in enumerate(_Z85)}
_LINE = re.compile(r'\s*(name|public-key|secret-key)\s*=\s*"([^"]*)"\s*')
_HEAD = "# The key pair of {name}. Whoever has the secret key is {name}: show this file to nobody.\n"


class KeyPair(msgspec.Struct, frozen=True):
    """Who one is: keys in Z85, 40 characters each."""

    name: str
    public: str
    secret: str

    def __repr__(self) -> str:
        return f"KeyPair({self.name!r}, {self.public!r})"  # a secret must not get into logs and tracebacks


def is_key(text: str) -> bool:
    """Whether a text is 32 bytes in Z85, and not all zero: of that public key everybody knows the secret."""
    if len(text) != 40 or any(character not in _VALUE for character in text):
        return False
    return all(_number(text[at : at + 5]) < 2**32 for at in range(0, 40, 5)) and set(text) != {"0"}


def key_text(raw: bytes) -> str:
    """The Z85 of a key's 32 bytes."""
    numbers = [int.from_bytes(raw[at : at + 4]) for at in range(0, len(raw), 4)]
    return "".join(_Z85[number // 85**place % 85] for number in numbers for place in (4, 3, 2, 1, 0))


def _number(five: str) -> int:
    number = 0
    for character in five:
        number = 85 * number + _VALUE[character]
    return number


def default_keys_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Where keys are: as STREAMER_SECURITY_KEYS says, else the user's own place, or the system's for root."""
    environ = os.environ if environ is None else environ
    if environ.get("STREAMER_SECURITY_KEYS"):
        return Path(environ["STREAMER_SECURITY_KEYS"])
    if os.geteuid() == 0:
        return SYSTEM_KEYS
    home = environ.get("XDG_CONFIG_HOME", "")
    # the XDG standard: a relative one is to be ignored
    return (Path(home) if os.path.isabs(home) else Path.home() / ".config") / "streamer/keys"


def make_pair(name: str) -> KeyPair:
    """A fresh key pair."""
    if not re.match(NAME_PATTERN, name):
        raise SecurityError(f"{name!r} is no name", "use 1 to 64 letters, digits, _ and -")
    _require_curve()
    while True:
        public, secret = (key.decode() for key in zmq.curve_keypair())
        if not public.startswith("-"):  # a command line would take it for an option
            return KeyPair(name, public, secret)


def write_pair(path: Path, pair: KeyPair, *, replace: bool = False) -> None:
    """Keep a pair; refuses to overwrite one unless told to. `zmq.auth.load_certificate` reads it, too."""
    text = (
        _HEAD.format(name=pair.name)
        + f'metadata\n    name = "{pair.name}"\n'
        + f'curve\n    public-key = "{pair.public}"\n    secret-key = "{pair.secret}"\n'
    )
    try:
        write_private(path, text, replace=replace)
    except FileExistsError:
        raise SecurityError(
            f"{path} is there already: who has been told its public key would no longer know you",
            "`streamer keys show` prints it; `streamer keys new --force` replaces it",
        ) from None


def read_pair(path: Path, owners: frozenset[int] | None = None) -> KeyPair | None:
    """The pair in a file; None if there is no file, SecurityError if it is loose or damaged."""
    text = read_private(path, owners)
    if text is None:
        return None
    _require_curve()
    found = {match[1]: match[2] for line in text.splitlines() if (match := _LINE.fullmatch(line))}
    name, public, secret = (found.get(field, "") for field in ("name", "public-key", "secret-key"))
    if not (is_key(public) and is_key(secret) and zmq.curve_public(secret.encode()).decode() == public):
        raise SecurityError(
            f"{path} holds no key pair (public-key and secret-key in Z85 that belong together)",
            "put back a copy, or make another with `streamer keys new --force`",
        )
    return KeyPair(name or path.stem, public, secret)


def _require_curve() -> None:
    if not zmq.has("curve"):
        raise SecurityError(
            "the ZeroMQ of this Python was built without CURVE", "`pip install --force-reinstall pyzmq`"
        )

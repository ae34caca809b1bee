"""What a daemon needs before it may be reached from outside: its own keys, and a list of who may come in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamer.security.allowed import ALLOWED_FILE, AllowList, read_allowed
from streamer.security.keys import OWN_KEY, KeyPair, default_keys_directory, read_pair

NO_KEYS = (
    "it needs keys and a list of clients",
    "`streamer keys new`, then `streamer keys allow NAME KEY` for each client",
)


@dataclass(frozen=True, slots=True)
class Security:
    """What was found in the directory of keys."""

    directory: Path
    allowed_file: Path
    keys: KeyPair | None
    allowed: AllowList

    def lacking(self) -> tuple[str, str]:
        """What is missing before anybody outside may be let in, and the remedy; ("", "") if nothing is."""
        if self.keys is None:
            return f"it needs a key pair, and there is none in {self.directory}", NO_KEYS[1]
        if not len(self.allowed):
            return (
                f"it needs a list of clients, and there is none in {self.allowed_file}",
                "`streamer keys allow NAME KEY` for each client",
            )
        return "", ""


def open_security(directory: str | Path | None = None, allowed_file: str | Path | None = None) -> Security:
    """Read keys and allow list; what is not there is empty, what is loose or damaged raises."""
    place = Path(directory) if directory else default_keys_directory()
    allowed = Path(allowed_file) if allowed_file else place / ALLOWED_FILE
    return Security(place, allowed, read_pair(place / OWN_KEY), read_allowed(allowed))

"""The same sound twice: found by what was decoded, whatever the files are called or how they are packed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from training.data.dataset import DataError
from training.data.sounds import I16

FILE = "duplicates.json"

Place = tuple[int, int]
"""Block and entry."""


def digest(samples: I16) -> str:
    """A name for this very sound; digital silence has none, as any two of the same length would be one."""
    return hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest() if samples.any() else ""


class Sound(msgspec.Struct, frozen=True):
    """A decoded clip as far as it matters here."""

    place: Place
    path: str
    split: str
    digest: str


def find(sounds: Iterable[Sound]) -> list[tuple[Sound, Sound]]:
    """(second, first) of each sound met again; in two splits it is an error."""
    seen: dict[str, Sound] = {}
    found = []
    for sound in sounds:
        first = seen.setdefault(sound.digest, sound) if sound.digest else sound
        if first is sound:
            continue
        if first.split != sound.split:
            raise DataError(
                f"{first.path} ({first.split}) and {sound.path} ({sound.split}):"
                " one recording is in both splits",
                "remove one of them, or split by recording",
            )
        found.append((sound, first))
    return found


def write(cache: Path, places: Iterable[Place]) -> None:
    """Keep which entries are to be left out."""
    (cache / FILE).write_bytes(msgspec.json.encode(sorted(places)))


def read(cache: Path) -> set[Place]:
    """Entries to be left out; none where an older version has prepared."""
    path = cache / FILE
    return set(msgspec.json.decode(path.read_bytes(), type=list[tuple[int, int]])) if path.exists() else set()

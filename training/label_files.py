"""Sets of labels as TOML: the recipes of this package, somebody's own, and the one of a prepared cache."""

from __future__ import annotations

import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from streamer.errors import StreamerError
from training.labels import Keyword, LabelSet, Sound

RECIPES = Path(__file__).parent / "recipes"
FILE = "labels.toml"
"""In a cache: what it was prepared for."""
SECTIONS: dict[str, type[Keyword] | type[Sound]] = {"keywords": Keyword, "sounds": Sound}


class LabelError(StreamerError):
    """A set of labels that cannot be."""


@cache
def default_labels() -> LabelSet:
    """Those of the default model."""
    return read_labels(RECIPES / "default.toml")


@cache
def known_labels() -> LabelSet:
    """What a name means where nobody says it: as in the default model. A word that only teaches it is not
    meant: a folder `cat` may well hold mewing."""
    return default_labels().only(default_labels().shipped)


def read_labels(path: Path) -> LabelSet:
    """The set that a file describes."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise LabelError(
            f"{path}: {error.strerror}", "give --labels default, data, or a TOML file"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LabelError(f"{path}: not TOML: {error}") from error
    unknown = next((name for name in content if name not in SECTIONS), None)
    if unknown:
        raise LabelError(f"{path}: {unknown!r} is unknown", "write [keywords.LABEL] or [sounds.LABEL]")
    try:
        return LabelSet(**{name: _section(name, table) for name, table in content.items()})
    except ValueError as error:
        raise LabelError(f"{path}: {error}", "write [keywords.LABEL] or [sounds.LABEL]") from error


def _section(section: str, tables: Any) -> dict[str, Any]:
    if not isinstance(tables, dict):
        raise ValueError(f"{section} holds no tables")
    found = {}
    for label, table in tables.items():
        try:
            found[label] = msgspec.convert(table, SECTIONS[section])
        except msgspec.ValidationError as error:
            legal = ", ".join(SECTIONS[section].__struct_fields__)
            raise ValueError(f"[{section}.{label}]: {error} (there are: {legal})") from None
    return found


def as_toml(labels: LabelSet) -> str:
    """All of it, defaults too, so that it means the same in a later version."""
    lines = []
    for section, tables in (("keywords", labels.keywords), ("sounds", labels.sounds)):
        for label, parameters in tables.items():
            lines.append(f"[{section}.{label}]")
            for name, value in msgspec.structs.asdict(parameters).items():
                lines.append(f"{name} = {str(value).lower()}")
            lines.append("")
    return "\n".join(lines)


def write_cached(folder: Path, labels: LabelSet) -> None:
    """At once or not at all."""
    fresh = folder / f"{FILE}.new"
    fresh.write_text(as_toml(labels), encoding="utf-8")
    os.replace(fresh, folder / FILE)


def cached_labels(folder: Path) -> LabelSet:
    """What a cache was prepared for; before there was a choice it was the default."""
    return read_labels(folder / FILE) if (folder / FILE).is_file() else default_labels()


def check_same(folder: Path, labels: LabelSet) -> None:
    """Raise LabelError where a cache was prepared for other labels."""
    cached = cached_labels(folder)
    if cached == labels:
        return
    names = [name for name in (*labels.names, *cached.names) if (name in labels) != (name in cached)]
    what = f"labels: {', '.join(names[:5])}" if names else "parameters of the same labels"
    raise LabelError(
        f"{folder} was prepared for other {what}",
        "prepare again with the labels of this run, name its own cache with --cache, or begin another run",
    )

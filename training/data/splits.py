"""Which split a recording belongs to: decided by its name alone, so that it never moves."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

from training.data.dataset import SPLITS, DataError

_GSC_BUCKETS = 2**27 - 1
"""The Speech Commands scripts count with this: "files in a class", never reached."""


def hashed_split(name: str, dev_percent: float, test_percent: float) -> str:
    """Split of a speaker or recording; more recordings beside it change nothing."""
    digest = hashlib.sha256(unicodedata.normalize("NFC", name).encode()).digest()
    percent = int.from_bytes(digest[:8], "big") / 2**64 * 100
    if percent < dev_percent:
        return "dev"
    return "test" if percent < dev_percent + test_percent else "train"


def gsc_split(file_name: str, dev_percent: float = 10, test_percent: float = 10) -> str:
    """Split by the speaker's hash exactly as the Speech Commands scripts do it."""
    speaker = re.sub("_nohash_.*$", "", file_name)
    bucket = int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16) % (_GSC_BUCKETS + 1)
    percent = bucket * (100 / _GSC_BUCKETS)
    if percent < dev_percent:
        return "dev"
    return "test" if percent < dev_percent + test_percent else "train"


def speaker_of(path: str, separator: str) -> str:
    """Speaker from a file's name ("anna_03.wav" with "_"), or from the folder it lies in ("folder")."""
    name = PurePosixPath(path)
    if separator == "folder":
        return name.parent.name
    speaker, found, _ = name.name.partition(separator)
    if not found:
        raise ValueError(f"no {separator!r} in the name, so its speaker is not known")
    return speaker


SPLIT_NAMES = {"train": "train", "training": "train", "dev": "dev", "val": "dev", "valid": "dev"}
SPLIT_NAMES |= {"validation": "dev", "development": "dev", "test": "test", "testing": "test", "eval": "test"}


def split_name(text: str) -> str:
    """A split under one of its usual names; raises ValueError."""
    try:
        return SPLIT_NAMES[text.strip().lower()]
    except KeyError:
        raise ValueError(f"split {text!r}, legal values: {', '.join(SPLITS)}") from None


def check_percent(reader: str, dev: float, test: float) -> None:
    """Raise DataError for shares that cannot be."""
    if dev < 0 or test < 0 or dev + test >= 100:
        raise DataError(f"{reader}: dev={dev:g} and test={test:g}: percent, together below 100")

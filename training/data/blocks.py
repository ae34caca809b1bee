"""The cache: blocks of int16 sound, and an index of each that says what it was made from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from training.data.activity import Spans
from training.data.dataset import Clip, DataError
from training.labels import LabelSet

RULES = 2
"""Raised when decoding or alignment changes, so that old blocks are not taken for new ones."""

Fault = tuple[str, str]


class Entry(msgspec.Struct, frozen=True):
    """A decoded clip: its place in the block, and where something is heard in it."""

    clip: Clip
    first_sample: int
    samples: int
    spans: Spans


class Block(msgspec.Struct):
    """The index of one block."""

    key: str
    """What it was made from; another key is done again."""
    entries: list[Entry]
    faults: list[Fault]
    stamp: str = ""
    """Sizes and times of the files; empty in caches older than this."""
    digests: list[str] = []
    """One for each entry, or none in caches older than this."""


def read_index(cache: Path) -> list[Block]:
    """Every block's index, in order."""
    paths = sorted(cache.glob("block-*.json"))
    if not paths:
        raise DataError(f"{cache}: nothing is prepared there", "run `python -m training prepare` first")
    return [msgspec.json.decode(path.read_bytes(), type=Block) for path in paths]


def sound_path(cache: Path, number: int) -> Path:
    """Where a block's samples lie."""
    return cache / f"block-{number:04d}.i16"


def index_path(cache: Path, number: int) -> Path:
    """Where a block's index lies."""
    return cache / f"block-{number:04d}.json"


def write_index(cache: Path, number: int, block: Block) -> None:
    """At once or not at all; it comes last, so that what it tells of is there."""
    fresh = index_path(cache, number).with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(block))
    os.replace(fresh, index_path(cache, number))


def is_done(cache: Path, number: int, folder: Path, clips: Sequence[Clip], labels: LabelSet) -> bool:
    """Whether the cache holds this block as it would be made now."""
    try:
        block = msgspec.json.decode(index_path(cache, number).read_bytes(), type=Block)
    except (OSError, msgspec.DecodeError):
        return False
    return block.key == key_of(clips, labels) and block.stamp in ("", stamp_of(folder, clips))


def key_of(clips: Sequence[Clip], labels: LabelSet) -> str:
    """Changes with anything that is told of these clips, and with what is taken for a pause inside them."""
    names = {label for clip in clips for label in (clip.label, *(mark[0] for mark in clip.marks))}
    gaps = [(label, labels.merge_gap_s(label)) for label in sorted(names)]
    return f"{RULES}-{hashlib.sha256(msgspec.json.encode((clips, gaps))).hexdigest()}"


def stamp_of(folder: Path, clips: Sequence[Clip]) -> str:
    """Changes when a file is recorded anew under its old name."""
    stamps = hashlib.sha256()
    for clip in clips:
        try:
            status = (folder / clip.path).stat()
            stamps.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
        except OSError:
            stamps.update(b"missing\n")
    return stamps.hexdigest()


def is_heard(entry: Entry) -> bool:
    """Whether it is of use: noise always, else something must stand out in it."""
    return bool(entry.spans) or entry.clip.kind == "noise"

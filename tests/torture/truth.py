"""What was told, and what should have been: events in files, in the journal, and as they are known again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from streamer.client import Control

Told = dict[str, Any]


def identity(event: Told) -> tuple[str, int, str, str, str]:
    """By which an event is known again."""
    return (event["journal"], event["seq"], event["run"], event["label"], event["phase"])


def read(path: Path) -> list[Told]:
    """The objects in a file, one a line; a line that a kill has cut off is left out."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    objects = []
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            objects.append(msgspec.json.decode(line))
    return objects


def journalled(control: str) -> tuple[list[Told], list[tuple[int, int, str]]]:
    """Every event that the journal has, and the ranges of numbers that it states as lost."""
    events: list[Told] = []
    lost: list[tuple[int, int, str]] = []
    with Control(control, timeout_s=10) as asked:
        since, more = 0, True
        while more:
            page = asked.replay(since)
            events += [msgspec.structs.asdict(event) for event in page.events]
            lost += page.reply.lost
            since, more = page.reply.through_seq, page.reply.more
    return events, lost

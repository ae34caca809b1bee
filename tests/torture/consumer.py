"""A subscriber whose output is its place: it goes on after the last line that it wrote.

    python -m tests.torture.consumer ENDPOINT FILE

Each line holds one event; a line that a kill has cut short is taken off. That is how a program gets each
event exactly once across its own kills: the effect of an event and the place are written in one go.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from streamer.client import Event, Missed, Place, Subscriber


def last_place(file: int) -> Place:
    """The place of the last whole line."""
    text = os.pread(file, os.fstat(file).st_size, 0)
    whole = text.rfind(b"\n") + 1
    os.ftruncate(file, whole)
    for line in reversed(text[:whole].splitlines()):
        fields = msgspec.json.decode(line)
        if fields["type"] == "event":
            return Place(fields["journal"], fields["seq"])
        if fields["last"] is not None:
            return Place(fields["journal"], fields["last"])
    return Place("", 0)


def main(endpoint: str, path: str) -> None:
    """Write until killed."""
    file = os.open(Path(path), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    place = last_place(file)
    with Subscriber(endpoint, since=place if place.journal else 0) as subscriber:
        for record in subscriber:
            if isinstance(record, Event | Missed):
                os.write(file, msgspec.json.encode(record) + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

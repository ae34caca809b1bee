"""What a subscriber hands over beside the daemon's own messages: places, and what is missing for good."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from streamer.delivery.messages import Count, Event, Frames, Health
from streamer.errors import StreamerError

OnSilence = Literal["wait", "raise"]
Acknowledge = Literal["next", "explicit"]


class DaemonGone(StreamerError):
    """The daemon said its last word, or has not been heard for three heartbeats."""


class Place(msgspec.Struct, frozen=True):
    """How far somebody has come: everything up to and with this number of this journal is dealt with."""

    journal: str
    seq: Count


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """Events that will not come any more, and why; stands where they would have stood."""

    v: int = 1
    type: Literal["missed"] = "missed"
    journal: str
    """The journal of these numbers; without one, the run."""
    first: int | None
    """The first number that is missing; None: nobody knows."""
    last: int | None
    """The last number that is missing; None: nobody knows how many there were."""
    reason: str
    """Why, in words."""

    @property
    def count(self) -> int | None:
        """How many events are missing; None where nobody knows."""
        return None if self.first is None or self.last is None else self.last - self.first + 1


Record = Event | Frames | Health | Missed
Since = Literal["new", "all"] | int | datetime | Place | None
"""Where to begin: with what is new (None, too), with all that is kept, after a number or place, at a time."""

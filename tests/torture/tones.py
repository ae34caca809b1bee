"""The sound of the torture: three tones, again and again, and the events that have to come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.torture.truth import Told

ROUND_S = 1.2
TONES = (("low", 0.1, 0.25), ("mid", 0.4, 0.55), ("high", 0.7, 0.9))
KNOWN = (("low", "hit", 0.1), ("mid", "hit", 0.4), ("high", "start", 0.7), ("high", "end", 0.7))
"""Label, phase and onset of the events of each round."""
TOLERANCE_S = 0.06


@dataclass(frozen=True)
class Compared:
    """Events of one stream, compared with the tones that were played."""

    found: int
    absent: int
    """Events that the tones should have given, from the first to the last one."""
    twice: int
    strange: int
    """Events that are no tone's; sound that is lost in the middle of one may leave such."""


def compare(events: Sequence[Told]) -> Compared:
    """Find the place of each among the tones, on a clock that begins with a round."""
    places: list[int] = []
    strange = 0
    for event in events:
        place = place_of(event)
        if place is None:
            strange += 1
        else:
            places.append(place)
    found = set(places)
    expected = range(min(found, default=0), max(found, default=-1) + 1)
    return Compared(len(found), len(expected) - len(found), len(places) - len(found), strange)


def place_of(event: Told) -> int | None:
    """As which event, from 0, the tones give this one; None if they do not."""
    for number, (label, phase, onset_s) in enumerate(KNOWN):
        if (event["label"], event["phase"]) == (label, phase) and not event["reason"]:
            rounds = round((event["onset_s"] - onset_s) / ROUND_S)
            if abs(event["onset_s"] - onset_s - rounds * ROUND_S) <= TOLERANCE_S:
                return rounds * len(KNOWN) + number
    return None

"""What every part of the benchmark has in common: its settings, its progress lines, its rounds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.sound import Sound

Values = dict[str, list[float]]
"""A figure's name, with unit, and what each round measured."""


@dataclass(frozen=True, slots=True)
class Bench:
    """How this run measures."""

    sound: Sound
    folder: Path
    """For what is made and thrown away."""
    rounds: int
    scale: float = 1.0
    """Of lengths and numbers; below 1 for a quick look or a test."""
    quick: bool = False
    peers: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    """What is not measured, and why."""

    def seconds(self, usual_s: float, least_s: float = 2.0) -> float:
        """A window's length at this run's scale."""
        return max(least_s, usual_s * self.scale)

    def some(self, values: Sequence[int]) -> Sequence[int]:
        """All of them, or for a quick look the first and the last."""
        return values[:: max(1, len(values) - 1)] if self.quick else values


def say(text: str) -> None:
    """A line of progress, not part of any result."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


Measure = Callable[[], dict[str, float]]


def in_turns(part: str, rounds: int, measures: dict[str, Measure]) -> dict[str, Values]:
    """Each of them once a round: what changes on the machine meanwhile meets all alike.

    A measure that fails is told, and not asked again; what failed has no values.
    """
    found: dict[str, Values] = {name: {} for name in measures}
    failed: dict[str, str] = {}
    for turn in range(rounds):
        for name, measure in measures.items():
            if name in failed:
                continue
            try:
                values = measure()
            except (RuntimeError, OSError) as error:
                failed[name] = str(error)
                say(f"{part}: {name}: {error}")
                continue
            for figure, value in values.items():
                found[name].setdefault(figure, []).append(value)
            say(f"{part} {turn + 1}/{rounds}: {name}: {told(values)}")
    return found


def told(values: dict[str, float]) -> str:
    """Figures in one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which that share of them lies, one of them."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def result(rows: dict[str, Values], **more: Any) -> dict[str, Any]:
    """What a part leaves in the results."""
    return {"rows": {name: values for name, values in rows.items() if values}, **more}

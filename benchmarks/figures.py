"""What repetitions say together: medians, spreads, ratios."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from typing import Any

from benchmarks.part import Values
from benchmarks.pictures import Bar, number

Rows = dict[str, Values]


def rows_of(results: dict[str, Any], part: str) -> Rows:
    """A part's rows; none where it was not measured."""
    found: Rows = results.get("parts", {}).get(part, {}).get("rows", {})
    return found


def median(rows: Rows, row: str, figure: str) -> float | None:
    """None: not measured."""
    values = rows.get(row, {}).get(figure)
    return statistics.median(values) if values else None


def lowest(rows: Rows, row: str, figure: str) -> float | None:
    """The best that a machine with other work to do has managed."""
    values = rows.get(row, {}).get(figure)
    return min(values) if values else None


def spread(rows: Rows, row: str, figure: str, unit: str = "") -> str:
    """The median, and in brackets the lowest and highest where they differ."""
    values = rows.get(row, {}).get(figure)
    if not values:
        return "-"
    told = f"{number(statistics.median(values))}{unit}"
    low, high = number(min(values)), number(max(values))
    return told if low == high else f"{told} ({low} - {high})"


def ratio(one: float | None, other: float | None) -> str:
    """How many times the other one."""
    return f"{one / other:.2f}" if one is not None and other else "-"


def bar(rows: Rows, row: str, figure: str, name: str = "") -> list[Bar]:
    """For a picture; empty where it was not measured."""
    values = rows.get(row, {}).get(figure)
    if not values:
        return []
    ours = row.startswith("streamer")
    return [Bar(name or row, statistics.median(values), min(values), max(values), ours)]


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """In Markdown; numbers to the right."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in body), ""]


LONGER_MS = 160
"""A hop beside the default one, for many streams."""
KINDS = ("senders", "files", f"senders at {LONGER_MS} ms", f"files at {LONGER_MS} ms")
"""Of many streams, as their rows are called."""


def counted(rows: Rows, what: str) -> list[tuple[int, str]]:
    """Rows called "what, NUMBER ..." by their number."""
    own = [row for row in rows if row.startswith(f"{what}, ")]
    return sorted((int(row.removeprefix(f"{what}, ").split()[0]), row) for row in own)


def prose(text: str) -> list[str]:
    """A paragraph as the other pages have them: lines of a hundred and twenty characters."""
    return [*textwrap.wrap(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False), ""]

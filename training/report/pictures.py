"""The curves and charts of the report, each from the figures of `training.evaluate.judge`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluate.intervals import poisson_rate, wilson
from training.report.svg import Axis, Plot, Point, picture, text

Table = Mapping[str, Any]

RATE_LOW, RATE_HIGH = 0.1, 1000.0
PERCENT = Axis(0, 1, [(0, "0 %"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1, "100 %")])
RATE = Axis(
    RATE_LOW,
    RATE_HIGH,
    [(0.1, "0"), (1, "1"), (10, "10"), (100, "100"), (1000, "1000")],
    "false alarms an hour",
    log=True,
)
SERIES = 6
"""Colours and dashes that the style sheet has."""


def det(label: str, curves: Sequence[Table], threshold: float) -> str:
    """Misses over false alarms of one label: a line a condition, and what the first's counts leave open."""
    plot = Plot(label, RATE, PERCENT)
    hours = min(curve["hours"] for curve in curves)
    if hours > 0:
        plot.box(
            (RATE_LOW, 0),
            (min(3 / hours, RATE_HIGH), 1),
            "blind",
            f"fewer than 3 in {hours:.2g} h: not known",
        )
    _doubt(plot, curves[0])
    for number, curve in enumerate(curves):
        points = _points(curve)
        plot.line(_thinned(points[_first(curve) :]), f"s{number % SERIES}")
        at = min(range(len(points)), key=lambda i: abs(curve["thresholds"][i] - threshold))
        plot.dot(points[at], f"s{number % SERIES}", _told(curve, at))
    return plot.svg()


def _first(curve: Table) -> int:
    """Below this threshold everything runs together into a few endless events."""
    return int(curve["alarms"].index(max(curve["alarms"])))


def _points(curve: Table) -> list[Point]:
    hours, clips = max(curve["hours"], 1e-9), max(1, curve["clips"])
    return [(a / hours, m / clips) for a, m in zip(curve["alarms"], curve["missed"], strict=True)]


def _doubt(plot: Plot, curve: Table) -> None:
    clips, hours = curve["clips"], curve["hours"]
    counts = list(zip(curve["alarms"], curve["missed"], strict=True))[_first(curve) :]
    # The corners of both intervals: what is surely no better, and surely no worse.
    low = [(poisson_rate(a, hours)[0], wilson(m, clips)[0]) for a, m in counts]
    high = [(poisson_rate(a, hours)[1], wilson(m, clips)[1]) for a, m in counts]
    plot.band(_thinned(low), _thinned(high), "s0")


def _thinned(points: Sequence[Point]) -> list[Point]:
    return [point for i, point in enumerate(points) if i == 0 or point != points[i - 1]]


def _told(curve: Table, at: int) -> str:
    return (
        f"{curve['condition']}, threshold {curve['thresholds'][at]:g}: "
        f"{curve['missed'][at]} of {curve['clips']} missed, {curve['alarms'][at]} false alarms"
    )


CELL = 24
SIDE, HEAD = 104, 96


def confusion(words: Table, title: str) -> str:
    """Rows are what was said, columns what was told; darker is a larger share of the row."""
    rows, columns, matrix = words["rows"], words["columns"], words["matrix"]
    parts, places = [], range(len(columns))
    for at, name in enumerate(columns):
        x = SIDE + at * CELL + CELL / 2 + 4
        parts.append(
            f'<g transform="rotate(-55 {x:g} {HEAD - 6})">{text(x, HEAD - 6, name, "tick", "start")}</g>'
        )
    for down, name in enumerate(rows):
        y, total = HEAD + down * CELL, max(1, sum(matrix[down]))
        parts.append(text(SIDE - 6, y + CELL / 2 + 4, f"{name}", "tick", "end"))
        # All of a row's cells at once: most of them stay empty.
        cells = "".join(f"M{SIDE + across * CELL} {y}h{CELL - 1}v{CELL - 1}h{1 - CELL}z" for across in places)
        parts.append(f'<path class="cell" d="{cells}"/>')
        parts += [
            _count(SIDE + across * CELL, y, count, total, f"{name}: {columns[across]}")
            for across, count in enumerate(matrix[down])
            if count
        ]
    return picture(title, SIDE + len(columns) * CELL + 40, HEAD + len(rows) * CELL + 4, parts, "matrix")


def _count(x: float, y: float, count: int, total: int, names: str) -> str:
    share = count / total
    place = f'x="{x:g}" y="{y:g}" width="{CELL - 1}" height="{CELL - 1}"'
    title = f"<title>{names} {count} of {total}</title>"
    box = f'<rect class="heat" {place} fill-opacity="{0.12 + 0.88 * share:.2f}">{title}</rect>'
    style = "count strong" if share > 0.5 else "count"
    return box + text(x + CELL / 2 - 0.5, y + CELL / 2 + 3.5, str(count), style)


BIN_MS = 40


def latency(late_ms: Sequence[int], title: str) -> str:
    """How many hits came how long after the word's end."""
    low, high = -400, 800
    bins = [0] * ((high - low) // BIN_MS)
    for value in late_ms:
        bins[min(len(bins) - 1, max(0, (value - low) // BIN_MS))] += 1
    most = max([*bins, 1])
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**6) if most / s <= 5)
    across = Axis(
        low, high, [(v, f"{v}") for v in range(low, high + 1, 200)], "milliseconds after the word's end"
    )
    plot = Plot(
        title,
        across,
        Axis(0, most * 1.05, [(v, f"{v}") for v in range(0, most + 1, step)]),
        width=460,
        height=230,
    )
    for number, count in enumerate(bins):
        first = low + number * BIN_MS
        if count:
            words = f"{first} to {first + BIN_MS} ms: {count} hits"
            plot.box((first, 0), (first + BIN_MS * 0.9, count), "bar", words)
    plot.line([(0, 0), (0, most * 1.05)], "zero")
    return plot.svg()


def over_conditions(
    title: str, conditions: Sequence[str], series: Mapping[str, Sequence[float | None]]
) -> str:
    """One line for each variant, from clean to loud noise."""
    values = [value for line in series.values() for value in line if value is not None]
    shares = all(0 <= value <= 1 for value in values)
    x = Axis(-0.3, len(conditions) - 0.7, list(enumerate(conditions)), "signal-to-noise ratio")
    plot = Plot(title, x, PERCENT if shares else _up_to(max(values)))
    for number, (name, line) in enumerate(series.items()):
        points = [(float(at), value) for at, value in enumerate(line) if value is not None]
        plot.line(points, f"s{number % SERIES}")
        for point in points:
            shown = f"{point[1]:.1%}" if shares else f"{point[1]:.3g}"
            plot.dot(point, f"s{number % SERIES} small", f"{name}, {conditions[int(point[0])]}: {shown}")
    return plot.svg()


def _up_to(most: float) -> Axis:
    steps = (scale * digit for scale in (0.001, 0.01, 0.1, 1, 10, 100, 1000, 10_000) for digit in (1, 2, 5))
    step = next((step for step in steps if most / step <= 5), most / 4)
    count = max(1, int(most / step) + 1)
    return Axis(0, step * count, [(step * at, f"{step * at:g}") for at in range(count + 1)])


def legend(names: Sequence[str]) -> str:
    """Which line is which; the dashes say it too."""
    entries = [
        f'<span class="key"><svg viewBox="0 0 34 10" aria-hidden="true">'
        f'<line class="line s{number % SERIES}" x1="1" x2="33" y1="5" y2="5"/></svg>{name}</span>'
        for number, name in enumerate(names)
    ]
    return f'<p class="legend">{"".join(entries)}</p>'

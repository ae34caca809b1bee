"""A run's curves as one picture beside its log: loss, held-out loss and learning rate over hours of sound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from training.report.svg import Axis, Plot, Point
from training.train import log

CURVES = "curves.svg"

WIDTH, HEIGHT = 560, 250
MOST_POINTS = 150
"""Of a line; more rounds are averaged, which smooths the loss as well."""

STYLE = """text { fill: #1c1f23; font: 11px system-ui, sans-serif; } .tick { fill: #5b6470; }
.title { font-size: 13px; font-weight: 600; } .axis { stroke: #5b6470; } .grid { stroke: #d9dde2; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .s0 { stroke: #0b5fa5; }
.dot { fill: #0b5fa5; stroke: none; }
"""


def draw(folder: Path) -> None:
    """Write the picture, if there is anything to draw yet."""
    entries = log.read(folder)
    if len(entries) < 2:
        return
    hours = _axis([entry["sound_hours"] for entry in entries], "hours of sound")
    plots = [_plot(hours, entries, "loss in training", "loss")]
    judged = [entry for entry in entries if "held_out_loss" in entry]
    if judged:
        plots.append(_plot(hours, judged, "loss on held-out scenes", "held_out_loss"))
    plots.append(_plot(hours, entries, "learning rate", "learning_rate"))
    (folder / CURVES).write_text(_page(plots), encoding="utf-8")


def _plot(hours: Axis, entries: Sequence[log.Entry], title: str, key: str) -> Plot:
    points = _points(entries, key)
    plot = Plot(title, hours, _axis([value for _, value in points], ""), WIDTH, HEIGHT)
    plot.line(points, "s0")
    if key == "held_out_loss":
        for at, value in points:
            plot.dot((at, value), "s0", f"{at:g} h: {value:g}")
    return plot


def _points(entries: Sequence[log.Entry], key: str) -> list[Point]:
    """(hours of sound, value), averaged where there are very many."""
    step = -(-len(entries) // MOST_POINTS)
    parts = [entries[at : at + step] for at in range(0, len(entries), step)]
    return [(_mean(part, "sound_hours"), _mean(part, key)) for part in parts]


def _mean(entries: Sequence[log.Entry], key: str) -> float:
    return float(sum(entry[key] for entry in entries) / len(entries))


def _axis(values: Sequence[float], title: str) -> Axis:
    """From the lowest to the highest, with a few round numbers between them."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = 0.0, max(high, 1e-3)
    size = 10.0 ** math.floor(math.log10((high - low) / 2))
    step = next(size * part for part in (1, 2, 5, 10) if (high - low) / (size * part) <= 6)
    ticks = [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return Axis(low, high, [(tick, f"{tick:.6g}") for tick in ticks], title)


def _page(plots: Sequence[Plot]) -> str:
    """One file that any viewer shows: the pictures below each other."""
    placed = []
    for number, plot in enumerate(plots):
        place = f'<svg y="{number * HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        placed.append(plot.svg().replace("<svg ", place, 1))
    height = HEIGHT * len(plots)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}"><style>{STYLE}</style><rect width="100%" height="100%" fill="#fdfdfc"/>'
        f"{''.join(placed)}</svg>\n"
    )

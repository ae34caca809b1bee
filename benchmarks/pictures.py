"""Small pictures as SVG, for light and dark pages: bars beside each other, lines over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 14px }
.faint { fill: #57606a; font-size: 12px }
.axis { stroke: #d0d7de; fill: none }
.ours { fill: #0969da } .other { fill: #8c959f } .spread { stroke: #24292f }
.line0 { stroke: #0969da } .line1 { stroke: #bc4c00 } .line2 { stroke: #1a7f37 } .line3 { stroke: #8250df }
.dot0 { fill: #0969da } .dot1 { fill: #bc4c00 } .dot2 { fill: #1a7f37 } .dot3 { fill: #8250df }
polyline { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .faint { fill: #9198a1 } .axis { stroke: #3d444d } .spread { stroke: #e6edf3 }
.ours { fill: #4493f8 } .other { fill: #656c76 }
.line0 { stroke: #4493f8 } .line1 { stroke: #f0883e } .line2 { stroke: #3fb950 } .line3 { stroke: #ab7df8 }
.dot0 { fill: #4493f8 } .dot1 { fill: #f0883e } .dot2 { fill: #3fb950 } .dot3 { fill: #ab7df8 }
}
</style>"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A value, and between which ones the repetitions lay."""

    name: str
    value: float
    low: float
    high: float
    ours: bool


def number(value: float) -> str:
    """Three digits, in full."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """One under the other."""
    left, right, height = 280, 90, 26
    scale = (WIDTH - left - right) / max(row.high for row in rows)
    parts = [f'<text class="title" x="8" y="20">{escape(title)}</text>']
    for place, row in enumerate(rows):
        y = 36 + place * height
        kind = "ours" if row.ours else "other"
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(row.name)}</text>')
        length = max(1.0, row.value * scale)
        parts.append(f'<rect class="{kind}" x="{left}" y="{y}" width="{length:.1f}" height="18" rx="2"/>')
        if row.high > row.low:
            at = f'x1="{left + row.low * scale:.1f}" x2="{left + row.high * scale:.1f}"'
            parts.append(f'<line class="spread" {at} y1="{y + 9}" y2="{y + 9}"/>')
        end = left + max(row.high * scale, length) + 6
        parts.append(
            f'<text class="faint" x="{end:.1f}" y="{y + 14}">{number(row.value)} {escape(unit)}</text>'
        )
    return _svg(title, 36 + len(rows) * height + 8, parts)


Series = Mapping[str, Sequence[tuple[float, float]]]


def lines(title: str, across: str, up: str, series: Series, *, log_up: bool = True) -> str:
    """Over a logarithmic axis, with a mark at each value that was measured."""
    left, top, bottom, height = 64, 52, 44, 320
    plot_w, plot_h = WIDTH - left - 24, height - top - bottom
    points = [point for line in series.values() for point in line]
    x_of = _scale([x for x, _ in points], left, left + plot_w, log=True)
    y_of = _scale([y for _, y in points] + ([] if log_up else [0.0]), top + plot_h, top, log=log_up)
    parts = [f'<text class="title" x="8" y="20">{escape(title)}</text>']
    parts.append(f'<text class="faint" x="8" y="40">{escape(up)}</text>')
    parts.append(
        f'<text class="faint" x="{WIDTH - 8}" y="{height - 6}" text-anchor="end">{escape(across)}</text>'
    )
    parts.append(f'<path class="axis" d="M{left} {top}V{top + plot_h}H{left + plot_w}"/>')
    for x in sorted({x for x, _ in points}):
        at = f'x="{x_of(x):.1f}" y="{top + plot_h + 17}" text-anchor="middle"'
        parts.append(f'<text class="faint" {at}>{x:,.0f}</text>')
    for y in _ticks([y for _, y in points], log=log_up):
        parts.append(f'<path class="axis" d="M{left} {y_of(y):.1f}h{plot_w}" stroke-dasharray="2 4"/>')
        parts.append(
            f'<text class="faint" x="{left - 6}" y="{y_of(y) + 4:.1f}" text-anchor="end">{y:,g}</text>'
        )
    for place, (name, line) in enumerate(series.items()):
        marks = [f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line]
        parts.append(f'<polyline class="line{place}" points="{" ".join(marks)}"/>')
        parts += [
            f'<circle class="dot{place}" cx="{one.split(",")[0]}" cy="{one.split(",")[1]}" r="3.5"/>'
            for one in marks
        ]
        x = left + 150 + 200 * place
        parts.append(f'<circle class="dot{place}" cx="{x}" cy="36" r="5"/>')
        parts.append(f'<text x="{x + 10}" y="40">{escape(name)}</text>')
    return _svg(title, height, parts)


def _scale(values: Sequence[float], first: float, last: float, *, log: bool) -> Callable[[float], float]:
    """Values to places."""
    low, high = min(values), max(values)
    if log:
        low, high = math.log(low), math.log(high)
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return first + ((math.log(value) if log else value) - low) / span * (last - first)

    return place


def _ticks(values: Sequence[float], *, log: bool) -> list[float]:
    """Round numbers within the values."""
    low, high = min(values), max(values)
    if log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
        return [one for one in found if low <= one <= high]
    step = 10.0 ** math.floor(math.log10(high / 2))
    return [step * count for count in range(int(high / step) + 1)]


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", STYLE, *parts, "</svg>", ""])

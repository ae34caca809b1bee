"""Just enough SVG: an area with axes, and lines, bars, dots and words in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]

LEFT, RIGHT, TOP, BOTTOM = 46, 18, 24, 36
"""Room around the area for its title and numbers."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to places along one side."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    title: str = ""
    log: bool = False

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high end; what lies beyond stays at the end."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
        return min(1.0, max(0.0, (value - low) / (high - low)))


@dataclass
class Plot:
    """One picture; places are given in the units of its axes."""

    title: str
    x: Axis
    y: Axis
    width: int = 300
    height: int = 210
    parts: list[str] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)

    def at(self, point: Point) -> Point:
        """Where a pair of values lies in the picture."""
        across = LEFT + self.x.share(point[0]) * (self.width - LEFT - RIGHT)
        down = self.height - BOTTOM - self.y.share(point[1]) * (self.height - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    def line(self, points: Sequence[Point], style: str) -> None:
        """Straight from point to point."""
        self.parts.append(f'<polyline class="line {style}" points="{_points(map(self.at, points))}"/>')

    def band(self, low: Sequence[Point], high: Sequence[Point], style: str) -> None:
        """What lies between two lines."""
        around = [*map(self.at, low), *map(self.at, reversed(high))]
        self.behind.append(f'<polygon class="band {style}" points="{_points(around)}"/>')

    def dot(self, point: Point, style: str, words: str) -> None:
        """A mark that says what it is when pointed at."""
        x, y = self.at(point)
        self.parts.append(
            f'<circle class="dot {style}" cx="{x}" cy="{y}" r="4"><title>{escape(words)}</title></circle>'
        )

    def box(self, low: Point, high: Point, style: str, words: str = "") -> None:
        """A filled rectangle."""
        (x0, y0), (x1, y1) = self.at(low), self.at(high)
        title = f"<title>{escape(words)}</title>" if words else ""
        place = (
            f'x="{x0}" y="{y1}" width="{round(max(0.0, x1 - x0), 1)}" height="{round(max(0.0, y0 - y1), 1)}"'
        )
        self.behind.append(f'<rect class="{style}" {place}>{title}</rect>')

    def words(self, point: Point, text: str, style: str = "", anchor: str = "middle") -> None:
        """A word at a place."""
        x, y = self.at(point)
        self.parts.append(_text(x, y, text, f"note {style}", anchor))

    def svg(self) -> str:
        """The finished picture."""
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        grid = [f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>']
        for value, name in self.x.ticks:
            x, _ = self.at((value, self.y.low))
            grid.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>')
            grid.append(_text(x, bottom + 14, name, "tick", "middle"))
        for value, name in self.y.ticks:
            _, y = self.at((self.x.low, value))
            grid.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
            grid.append(_text(LEFT - 5, y + 4, name, "tick", "end"))
        middle = (LEFT + right) / 2
        grid.append(_text(middle, self.height - 4, self.x.title, "tick", "middle"))
        grid.append(_text(LEFT - 38, 15, self.title, "title", "start"))
        return picture(self.title, self.width, self.height, [*grid, *self.behind, *self.parts])


def picture(title: str, width: float, height: float, parts: Sequence[str], style: str = "plot") -> str:
    """An SVG element that grows with the page and has a name for those who cannot see it."""
    return (
        f'<svg class="{style}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def text(x: float, y: float, words: str, style: str, anchor: str = "middle") -> str:
    """A word at a place in the picture's own units."""
    return _text(x, y, words, style, anchor)


def _text(x: float, y: float, words: str, style: str, anchor: str) -> str:
    place = f'x="{round(x, 1):g}" y="{round(y, 1):g}" text-anchor="{anchor}"'
    return f'<text class="{style}" {place}>{escape(words)}</text>'


def _points(points: Sequence[Point] | map[Point]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)

"""What went wrong, to look at: a spectrogram with the scores over it."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.report.svg import BOTTOM, LEFT, RIGHT, TOP, Axis, Plot

# Dark blue to pale yellow, told apart by lightness alone.
COLOURS = np.array(
    [
        (13, 8, 54),
        (62, 22, 110),
        (122, 35, 118),
        (184, 55, 96),
        (233, 99, 63),
        (250, 168, 56),
        (252, 246, 180),
    ],
    np.float64,
)
FLOOR_DB = -70.0
STEP_DB = 2.0
"""What no eye tells apart is not kept: a page has many of these pictures."""


def png(levels_db: NDArray[np.int8]) -> bytes:
    """(bands, columns), lowest band first, as a coloured picture with the lowest band at the bottom."""
    share = np.linspace(0, len(COLOURS) - 1, round(-FLOOR_DB / STEP_DB) + 1)
    steps = np.arange(len(COLOURS))
    palette = np.stack([np.interp(share, steps, COLOURS[:, c]) for c in range(3)], axis=1).astype(np.uint8)
    levels = np.clip((levels_db[::-1].astype(np.float64) - FLOOR_DB) / STEP_DB, 0, len(palette) - 1)
    pixels = np.round(levels).astype(np.uint8)
    lines = np.pad(pixels, ((0, 0), (1, 0)))  # each line begins with its filter: none
    head = struct.pack(">IIBBBBB", levels_db.shape[1], levels_db.shape[0], 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", head),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def case(drawn: Mapping[str, Any]) -> str:
    """The sound around a case, its scores as lines, the threshold, and the moment it is about."""
    begin, length = drawn["first_s"], drawn["length_s"]
    x = Axis(0, length, [(value, f"{value:g}") for value in np.arange(0, length + 0.1, 0.5)], "seconds")
    y = Axis(0, 1, [(0, "0"), (0.5, "0.5"), (1, "1")])
    plot = Plot(f"{drawn['what']}: {drawn['label']}, {drawn['condition']}", x, y, width=460, height=240)
    bands = np.stack([np.frombuffer(base64.b85decode(line), np.int8) for line in drawn["spectrum_db"]])
    encoded = base64.b64encode(png(bands)).decode()
    place = f'x="{LEFT}" y="{TOP}" width="{460 - LEFT - RIGHT}" height="{240 - TOP - BOTTOM}"'
    plot.behind.append(f'<image {place} preserveAspectRatio="none" href="data:image/png;base64,{encoded}"/>')
    plot.line([(0, drawn["threshold"]), (length, drawn["threshold"])], "threshold")
    moment = drawn["second"] - begin
    plot.line([(moment, 0), (moment, 1)], "moment")
    for number, values in enumerate(drawn["traces"].values()):
        points = [(row * drawn["row_s"], value) for row, value in enumerate(values)]
        plot.line(points, "halo")
        plot.line(points, f"trace t{number}")
    return plot.svg()

"""Where in a clip something is heard: energy against the clip's own floor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.audio import SAMPLE_RATE_HZ

FRAME_SAMPLES = 160
"""10 ms."""
RANGE_DB = 28.0
"""What lies further below the loudest moment is tail or noise."""
ABOVE_FLOOR = 0.35
"""In noise: how far up from the floor to the peak, in dB, the border lies."""
SHORTEST_S = 0.03

Spans = list[tuple[float, float]]


def energy_db(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Level of each 10 ms, smoothed over 30 ms; hum weakened so that it does not hide a quiet word."""
    level = samples.astype(np.float32) / 32768.0
    level[1:] -= 0.7 * level[:-1].copy()
    frames = level[: len(level) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    power = np.mean(frames**2, axis=1)
    if len(power) >= 3:
        power = np.convolve(power, np.full(3, 1 / 3, np.float32), mode="same")
    return np.asarray(10 * np.log10(power + 1e-10), np.float32)


def active_spans(samples: NDArray[np.int16], merge_gap_s: float) -> Spans:
    """(onset_s, offset_s) of everything that stands out; pauses up to the gap do not split it."""
    level = energy_db(samples)
    heard = level[level > -95.0]  # digital silence would pull the floor down
    if len(heard) == 0:
        return []
    peak, floor = float(heard.max()), float(np.percentile(heard, 10))
    border = max(peak - RANGE_DB, floor + ABOVE_FLOOR * (peak - floor))
    if peak - floor < 6.0:  # a steady sound: all of it
        border = floor - 3.0
    return _merge(_runs(level >= border), merge_gap_s)


def main_span(samples: NDArray[np.int16], merge_gap_s: float) -> Spans:
    """The one span that holds most energy: the word in a clip of one word."""
    spans = active_spans(samples, merge_gap_s)
    level = 10 ** (energy_db(samples) / 10)
    return [max(spans, key=lambda span: level[_frame(span[0]) : _frame(span[1])].sum())] if spans else []


def _frame(second: float) -> int:
    return round(second * SAMPLE_RATE_HZ / FRAME_SAMPLES)


def _runs(active: NDArray[np.bool_]) -> Spans:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], active, [False])).astype(np.int8)))
    frame_s = FRAME_SAMPLES / SAMPLE_RATE_HZ
    return [(float(a) * frame_s, float(b) * frame_s) for a, b in edges.reshape(-1, 2)]


def _merge(spans: Spans, gap_s: float) -> Spans:
    merged: Spans = []
    for onset, offset in spans:
        if merged and onset - merged[-1][1] <= gap_s:
            merged[-1] = (merged[-1][0], offset)
        else:
            merged.append((onset, offset))
    return [span for span in merged if span[1] - span[0] >= SHORTEST_S]

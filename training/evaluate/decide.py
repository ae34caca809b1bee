"""The daemon's decoder for one label and any threshold at once quickly: over runs of rows, not row by row.

Its answers are those of `streamer.decoding.decoder.Decoder`, which the tests hold against each other; a curve
over a hundred thresholds needs it faster than a decoder can walk.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.decoding.decoder import smoothing_weights
from streamer.decoding.rules import LabelRule

NEVER = 2**62


@dataclass(frozen=True, slots=True)
class Rows:
    """An event in rows: from its onset to the row after its last, told when this row had been heard."""

    onset: int
    end: int
    told: int


def smooth(scores: F32, rules: list[LabelRule], row_samples: int) -> F32:
    """(T, L) as the decoder averages them."""
    weights = smoothing_weights([rule.smoothing_ms for rule in rules], 1000 * row_samples / SAMPLE_RATE_HZ)
    smoothed = np.zeros_like(scores)
    for back, weight in enumerate(weights[: len(scores)]):
        smoothed[back:] += weight * scores[: len(scores) - back]
    return smoothed


def at_threshold(rule: LabelRule, threshold: float) -> LabelRule:
    """The same rule elsewhere; its end threshold keeps its distance."""
    if rule.end_threshold is None:
        return msgspec.structs.replace(rule, threshold=threshold)
    share = rule.end_threshold / rule.threshold
    return msgspec.structs.replace(rule, threshold=threshold, end_threshold=share * threshold)


def decide(smoothed: F32, rule: LabelRule, row_samples: int) -> list[Rows]:
    """Events of one label from its smoothed scores (T,)."""
    return list(_events(smoothed.astype(np.float64), rule, row_samples)) if rule.enabled else []


def _events(scores: NDArray[np.float64], rule: LabelRule, row_samples: int) -> Iterator[Rows]:
    needed = max(1, _rows(rule.min_ms, row_samples))
    risen = _runs(scores >= rule.threshold, needed)
    if not risen:
        return
    fallen = _runs(scores < rule.end_level, 1)
    quiet_rows = _ceil(_samples(rule.refractory_ms), row_samples)
    free = 0
    while (onset := _first(risen, free, needed)) is not None:
        told = onset + needed - 1
        if rule.kind == "keyword":
            yield Rows(onset, told + 1, told)
            free = max(told + 1 + quiet_rows, _first_or_never(fallen, told + 1))
            continue
        end, last, forced = _end(fallen, rule, row_samples, onset, told + 1, len(scores))
        yield Rows(onset, end, told)
        free = last + 1 + quiet_rows
        if forced:
            free = max(free, _first_or_never(fallen, last + 1))


Runs = list[tuple[int, int]]


def _end(
    fallen: Runs, rule: LabelRule, row_samples: int, onset: int, after: int, length: int
) -> tuple[int, int, bool]:
    """(row after the sound's last, row in which that is known, whether it was ended by force)."""
    release = max(1, _rows(rule.release_ms, row_samples))
    fell = _first(fallen, after, release)
    known = NEVER if fell is None else fell + release - 1
    longest = _samples(rule.max_ms)
    forced = max(after, onset + _ceil(longest, row_samples) - 1) if longest else NEVER
    if min(known, forced) >= length:
        return length, length, False
    if fell is not None and known <= forced:
        return fell, known, False
    return forced + 1, forced, True


def _runs(mask: NDArray[np.bool_], shortest: int) -> Runs:
    """[first, end) of consecutive true rows, long ones only."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    pairs = edges.reshape(-1, 2)
    return [(int(a), int(b)) for a, b in pairs[pairs[:, 1] - pairs[:, 0] >= shortest]]


def _first(runs: Runs, row: int, length: int) -> int | None:
    """Where, at this row or later, so many rows of a run begin."""
    at = max(0, bisect_left(runs, (row, 0)) - 1)
    for first, end in runs[at:]:
        begin = max(first, row)
        if end - begin >= length:
            return begin
    return None


def _first_or_never(runs: Runs, row: int) -> int:
    found = _first(runs, row, 1)
    return NEVER if found is None else found


def _samples(ms: float) -> int:
    return round(ms * SAMPLE_RATE_HZ / 1000)


def _rows(ms: float, row_samples: int) -> int:
    return _ceil(_samples(ms), row_samples)


def _ceil(samples: int, row_samples: int) -> int:
    return -(-samples // row_samples)

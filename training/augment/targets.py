"""What the network should say at every frame: yes, no, or nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from streamer.features.settings import HOP_SAMPLES, WINDOW_SAMPLES
from training.labels import LabelSet

NO, YES, UNSURE = 0, 1, 2

WORD_HOLD_S = 0.3
"""A keyword is wanted from its end until so long after it; somewhat earlier and later is not scored. Wanted
earlier, it is guessed from its beginning."""
WORD_MAYBE_SHARE, WORD_MAYBE_S = 0.5, 0.25
WORD_AFTER_S = 0.5
SOUND_AFTER_S = 0.5

Codes = NDArray[np.uint8]
"""(frames, labels) of NO, YES, UNSURE."""
Column = NDArray[np.uint8]
"""Those of one label, changed in place."""


def blank(frames: int, labels: LabelSet) -> Codes:
    """Nothing is heard."""
    return np.zeros((frames, len(labels.names)), np.uint8)


def frame_of(second: float) -> int:
    """The first frame whose middle lies at or after this time."""
    hop_s, middle_s = HOP_SAMPLES / 16_000, WINDOW_SAMPLES / 32_000
    return max(0, int(np.ceil((second - middle_s) / hop_s - 1e-6)))


def mark(codes: Codes, labels: LabelSet, label: str, onset_s: float, offset_s: float) -> None:
    """A keyword or a sound is heard from here to there."""
    column = codes[:, labels.column(label)]
    if labels.is_keyword(label):
        mark_keyword(column, onset_s, offset_s)
    else:
        mark_sound(column, onset_s, offset_s, labels.sounds[label].lead_s)


def mark_keyword(column: Column, onset_s: float, offset_s: float) -> None:
    """A hit is wanted around the word's end."""
    length_s = offset_s - onset_s
    _maybe(column, offset_s - min(WORD_MAYBE_SHARE * length_s, WORD_MAYBE_S), offset_s + WORD_AFTER_S)
    _sure(column, offset_s, offset_s + WORD_HOLD_S)


def mark_sound(column: Column, onset_s: float, offset_s: float, lead_s: float) -> None:
    """Wanted while it lasts, but for the moment that it takes to know it."""
    _maybe(column, onset_s, offset_s + SOUND_AFTER_S)
    _sure(column, onset_s + min(lead_s, 0.6 * (offset_s - onset_s)), offset_s)


def mark_unsure(
    codes: Codes, labels: LabelSet, unsure: Iterable[str], onset_s: float, offset_s: float
) -> None:
    """These labels may or may not be heard here."""
    for label in unsure:
        _maybe(codes[:, labels.column(label)], onset_s, offset_s + WORD_AFTER_S)


def _maybe(column: Column, onset_s: float, offset_s: float) -> None:
    part = column[frame_of(onset_s) : frame_of(offset_s)]
    part[part == NO] = UNSURE


def _sure(column: Column, onset_s: float, offset_s: float) -> None:
    column[frame_of(onset_s) : frame_of(offset_s)] = YES


def at_stride(codes: Codes, stride: int) -> Codes:
    """One row for `stride` frames: what is known when the last of them has been heard."""
    return np.ascontiguousarray(codes[stride - 1 :: stride])

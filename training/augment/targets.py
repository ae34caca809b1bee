"""What the network should say at every frame: yes, no, or nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from streamer.features.settings import HOP_SAMPLES, WINDOW_SAMPLES
from training.labels import COLUMN, LABELS, SOUNDS

NO, YES, UNSURE = 0, 1, 2

WORD_LEAD_S = 0.05
"""A keyword is wanted from so long before its end; wanted earlier, it is guessed from its beginning ..."""
WORD_HOLD_S = 0.25
"""... until so long after it; somewhat earlier and later is not scored."""
WORD_MAYBE_SHARE, WORD_MAYBE_S = 0.5, 0.25
WORD_AFTER_S = 0.5
SOUND_AFTER_S = 0.5

Codes = NDArray[np.uint8]
"""(frames, labels) of NO, YES, UNSURE."""


def blank(frames: int) -> Codes:
    """Nothing is heard."""
    return np.zeros((frames, len(LABELS)), np.uint8)


def frame_of(second: float) -> int:
    """The first frame whose middle lies at or after this time."""
    hop_s, middle_s = HOP_SAMPLES / 16_000, WINDOW_SAMPLES / 32_000
    return max(0, int(np.ceil((second - middle_s) / hop_s - 1e-6)))


def mark_keyword(codes: Codes, label: str, onset_s: float, offset_s: float) -> None:
    """A hit is wanted around the word's end."""
    length_s = offset_s - onset_s
    _maybe(codes, label, offset_s - min(WORD_MAYBE_SHARE * length_s, WORD_MAYBE_S), offset_s + WORD_AFTER_S)
    _sure(codes, label, offset_s - WORD_LEAD_S, offset_s + WORD_HOLD_S)


def mark_sound(codes: Codes, label: str, onset_s: float, offset_s: float) -> None:
    """Wanted while it lasts, but for the moment that it takes to know it."""
    lead_s = min(SOUNDS[label].lead_s, 0.6 * (offset_s - onset_s))
    _maybe(codes, label, onset_s, offset_s + SOUND_AFTER_S)
    _sure(codes, label, onset_s + lead_s, offset_s)


def mark_unsure(codes: Codes, labels: Iterable[str], onset_s: float, offset_s: float) -> None:
    """These labels may or may not be heard here."""
    for label in labels:
        _maybe(codes, label, onset_s, offset_s + WORD_AFTER_S)


def _maybe(codes: Codes, label: str, onset_s: float, offset_s: float) -> None:
    column = codes[frame_of(onset_s) : frame_of(offset_s), COLUMN[label]]
    column[column == NO] = UNSURE


def _sure(codes: Codes, label: str, onset_s: float, offset_s: float) -> None:
    codes[frame_of(onset_s) : frame_of(offset_s), COLUMN[label]] = YES


def at_stride(codes: Codes, stride: int) -> Codes:
    """One row for `stride` frames: what is known when the last of them has been heard."""
    return np.ascontiguousarray(codes[stride - 1 :: stride])

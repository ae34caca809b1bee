"""The same scene once more, and yet another: changes to its feature rows, cheap enough for every use.

All of them are linear in the logarithm of the mel spectrum, so that one small matrix does them at once: the
pitch and the throat of the speaker (the spectrum stretched along frequency), another microphone and gain (a
smooth curve added), and a band that nobody hears (SpecAugment). Time is stretched by reading the rows faster
or slower.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.audio import F32
from streamer.features.mel import mel_scale
from streamer.features.mfcc import cepstral_matrix
from streamer.features.settings import FeatureSettings
from training.augment.effects import Random
from training.augment.targets import Codes

F64 = NDArray[np.float64]

STRETCHED_SHARE = 0.6
SLOWEST, FASTEST = 0.88, 1.13
"""Rows of the scene for each row of the changed one."""
WARPED_SHARE = 0.6
WARP = 0.13
"""Natural logarithm of the most that frequencies are stretched: about a child's throat against a man's."""
STRAIGHT_HZ = 4800.0
"""Up to here all frequencies are stretched alike; above, what is left is squeezed in below the highest."""
COLOURED_SHARE = 0.6
COLOUR, GAIN = 0.7, 0.5
"""Standard deviations, in natural logarithms of power: a curve through six points, all bands together."""
MASKED_SHARE = 0.4
WIDEST_MASK = 0.125
"""Of all bands; two masks at most."""


class Span(NamedTuple):
    """The first of some bands, and the one after the last."""

    first: int
    end: int


class RowChanger:
    """Changes rows of one kind of features."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._bands, self._size = settings.mel_bins, settings.static_size
        low, high = (float(mel) for mel in mel_scale(np.array([settings.low_hz, settings.high_hz])))
        self._mels = low + (high - low) * np.arange(1, self._bands + 1) / (self._bands + 1)
        self._hz, self._high_hz = _hz_of_mel(self._mels), settings.high_hz
        cepstral = settings.kind == "mfcc"
        self._forward = cepstral_matrix(settings).astype(np.float64) if cepstral else np.eye(self._bands)
        # Where fewer coefficients than bands are kept this gives the smooth spectrum that they stand for.
        self._back = np.linalg.pinv(self._forward)

    def change(self, rows: F32, codes: Codes, rng: Random) -> tuple[F32, Codes]:
        """Rows (T, F) and their codes (T, L), otherwise; another T where time was stretched."""
        if rng.random() < STRETCHED_SHARE:
            rows, codes = _stretched(rows, codes, rng.uniform(SLOWEST, FASTEST))
        bands = self.warp(float(np.exp(rng.uniform(-WARP, WARP)))) if rng.random() < WARPED_SHARE else None
        added = rng.normal(0, GAIN) + self._colour(rng)
        masks = [self._mask(rng) for _ in range(rng.integers(1, 3))] if rng.random() < MASKED_SHARE else []
        matrix = self._matrix(bands, masks)
        offset = added @ self._forward
        if masks:
            # A masked band stands at its mean, as a network sees a band that says nothing.
            mean = rows[:, : self._size].mean(axis=0, dtype=np.float64)
            offset += mean @ (self._matrix(bands, []) - matrix)
        return self._apply(rows, matrix.astype(np.float32), offset.astype(np.float32)), codes

    def warp(self, factor: float) -> F64:
        """(bands, bands): a row of log-mel energies times this has its frequencies divided by the factor."""
        edge_hz = STRAIGHT_HZ * min(factor, 1.0) / factor
        left = (self._high_hz - edge_hz * factor) / (self._high_hz - edge_hz)
        wanted_hz = np.where(
            self._hz <= edge_hz, self._hz * factor, self._high_hz - left * (self._high_hz - self._hz)
        )
        place = np.interp(mel_scale(wanted_hz), self._mels, np.arange(self._bands))
        below = np.minimum(place.astype(int), self._bands - 2)
        matrix = np.zeros((self._bands, self._bands))
        column = np.arange(self._bands)
        matrix[below, column] = 1 - (place - below)
        matrix[below + 1, column] = place - below
        return matrix

    def _colour(self, rng: Random) -> F64:
        if rng.random() >= COLOURED_SHARE:
            return np.zeros(self._bands)
        knots = rng.normal(0, COLOUR, 6)
        return np.interp(np.linspace(0, 5, self._bands), np.arange(6), knots)

    def _mask(self, rng: Random) -> Span:
        wide = int(rng.integers(1, max(2, round(WIDEST_MASK * self._bands) + 1)))
        first = int(rng.integers(0, self._bands - wide))
        return Span(first, first + wide)

    def _matrix(self, bands: F64 | None, masks: list[Span]) -> F64:
        middle = np.eye(self._bands) if bands is None else bands.copy()
        for mask in masks:
            middle[:, mask.first : mask.end] = 0.0
        return self._back @ middle @ self._forward

    def _apply(self, rows: F32, matrix: F32, offset: F32) -> F32:
        parts = [rows[:, at : at + self._size] @ matrix for at in range(0, rows.shape[1], self._size)]
        parts[0] += offset  # only the static part: a constant has no derivative
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _hz_of_mel(mels: F64) -> F64:
    return 700.0 * (np.exp(mels / 1127.0) - 1.0)


def _stretched(rows: F32, codes: Codes, factor: float) -> tuple[F32, Codes]:
    """Every `factor`-th row, between neighbours in proportion; a code is that of the nearest row."""
    place = np.arange(int((len(rows) - 1) / factor)) * factor
    below = place.astype(int)
    share = (place - below).astype(np.float32)[:, None]
    between = rows[below]
    between += share * (rows[below + 1] - between)
    return between, codes[np.minimum((place + 0.5).astype(int), len(codes) - 1)]

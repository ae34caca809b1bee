"""Log-mel rows in, cepstral rows out."""

from __future__ import annotations

import numpy as np

from streamer.audio import F32
from streamer.features.mel import LogMel
from streamer.features.settings import FeatureSettings


def cepstral_matrix(settings: FeatureSettings) -> F32:
    """Orthonormal DCT-II with Kaldi's lifter folded in: (mel_bins, coefficients)."""
    bins, kept = settings.mel_bins, settings.coefficients or 0
    order = np.arange(kept)
    dct = np.sqrt(2.0 / bins) * np.cos(np.pi / bins * (np.arange(bins)[:, None] + 0.5) * order)
    dct[:, 0] = np.sqrt(1.0 / bins)
    if settings.lifter:
        dct *= 1.0 + 0.5 * settings.lifter * np.sin(np.pi * order / settings.lifter)
    return np.ascontiguousarray(dct, np.float32)


class Mfcc:
    """Windows to cepstral rows, as independent of each other as the log-mel rows they come from."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._log_mel = LogMel(settings)
        self._matrix = cepstral_matrix(settings)
        self.size = settings.static_size

    def rows(self, frames: F32) -> F32:
        """(T, WINDOW_SAMPLES) to (T, coefficients)."""
        rows: F32 = np.matmul(self._log_mel.rows(frames)[:, None, :], self._matrix)[:, 0, :]
        return rows

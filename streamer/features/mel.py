"""Windows in, log-mel rows out. Knows nothing of streaming: every row depends on its window alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.features.settings import FFT_SIZE, WINDOW_SAMPLES, FeatureSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

INT16_SCALE = 32_768.0
"""Kaldi counts samples as int16 does; our -1..1 is brought there, so that its log floor means the same."""

LOG_FLOOR = np.float32(np.finfo(np.float32).eps)
"""Smallest mel energy, as in Kaldi: keeps digital silence finite."""

ROWS_AT_ONCE = 128
"""Long inputs are worked through in pieces that stay in the processor's cache."""


def povey_window() -> NDArray[np.float64]:
    """Kaldi's default window: a Hann window to the power 0.85, which goes to zero at both ends."""
    phase = 2 * np.pi * np.arange(WINDOW_SAMPLES) / (WINDOW_SAMPLES - 1)
    return np.asarray((0.5 - 0.5 * np.cos(phase)) ** 0.85)


def mel_scale(hz: NDArray[np.floating]) -> NDArray[np.floating]:
    """Kaldi's mel scale (HTK's formula with a natural logarithm)."""
    return np.asarray(1127.0 * np.log1p(hz / 700.0))


def mel_weights(settings: FeatureSettings) -> F32:
    """Triangles over the spectrum's bins, equally wide in mel: (FFT_SIZE // 2 + 1, mel_bins)."""
    edges = mel_scale(np.array([settings.low_hz, settings.high_hz]))
    step = (edges[1] - edges[0]) / (settings.mel_bins + 1)
    left = edges[0] + step * np.arange(settings.mel_bins)
    bins = mel_scale(np.arange(FFT_SIZE // 2 + 1) * (SAMPLE_RATE_HZ / FFT_SIZE))[:, None]
    triangles = np.minimum(bins - left, left + 2 * step - bins) / step
    triangles[-1] = 0.0  # Kaldi leaves the bin at half the sample rate out
    return np.ascontiguousarray(np.maximum(triangles, 0.0), np.float32)


class LogMel:
    """Windows to log-mel rows, each row bit for bit the same whichever others it is computed with."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._window = povey_window() * INT16_SCALE
        self._preemphasis = settings.preemphasis
        self._weights = mel_weights(settings)
        self.size = settings.mel_bins

    def rows(self, frames: F32) -> F32:
        """(T, WINDOW_SAMPLES) to (T, mel_bins)."""
        out = np.empty((len(frames), self.size), np.float32)
        for start in range(0, len(frames), ROWS_AT_ONCE):
            piece = frames[start : start + ROWS_AT_ONCE]
            out[start : start + len(piece)] = self._some_rows(piece)
        return out

    def _some_rows(self, frames: F32) -> F32:
        power = self._power(frames)
        # A stack of one-row products: one call of (T, bins) x (bins, mel) would give other last bits
        # for another T.
        mel = np.matmul(power[:, None, :], self._weights)[:, 0, :]
        return np.asarray(np.log(np.maximum(mel, LOG_FLOOR)), np.float32)

    def _power(self, frames: F32) -> F32:
        """Power spectra (T, FFT_SIZE // 2 + 1); double precision up to here keeps empty bands exact."""
        level = frames.astype(np.float64)
        level -= level.mean(axis=1, keepdims=True)
        padded = np.zeros((len(level), FFT_SIZE))
        windowed = padded[:, :WINDOW_SAMPLES]
        windowed[:, 1:] = level[:, 1:] - self._preemphasis * level[:, :-1]
        windowed[:, 0] = level[:, 0] * (1.0 - self._preemphasis)
        windowed *= self._window
        spectrum = np.fft.rfft(padded, axis=1)
        return (spectrum.real**2 + spectrum.imag**2).astype(np.float32)

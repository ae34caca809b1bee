"""Sounds in, static rows out (all but the derivatives): by the compiled kernel where there is one."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from streamer.audio import F32
from streamer.features.framing import windows
from streamer.features.kernel import KernelRows
from streamer.features.mel import INT16_SCALE, LOG_FLOOR, LogMel, mel_weights, povey_window
from streamer.features.mfcc import Mfcc, cepstral_matrix
from streamer.features.settings import FeatureSettings
from streamer.kernel import library


class StaticRows(Protocol):
    """Tables that know nothing of a stream: all streams share them."""

    def rows(self, sounds: F32) -> F32:
        """(N, T * hop + overlap) sounds to the (N * T, size) rows of their windows."""
        ...


class NumpyRows:
    """Sounds to rows with numpy alone."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._stage = Mfcc(settings) if settings.kind == "mfcc" else LogMel(settings)

    def rows(self, sounds: F32) -> F32:
        """(N, T * hop + overlap) sounds to the (N * T, size) rows of their windows."""
        return self._stage.rows(windows(sounds))


@lru_cache(maxsize=16)
def static_rows(settings: FeatureSettings) -> StaticRows:
    """What these settings mean."""
    kernel = library()
    if kernel is None:
        return NumpyRows(settings)
    return KernelRows(
        kernel,
        settings,
        window=povey_window() * INT16_SCALE,
        mel=mel_weights(settings),
        floor=float(LOG_FLOOR),
        cepstral=cepstral_matrix(settings) if settings.kind == "mfcc" else None,
    )

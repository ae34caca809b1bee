"""The compiled form of mel.py and mfcc.py, where it was built; without it numpy does the same.

Rows agree to the last few bits of float32, not exactly: the order of sums differs.
"""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.audio import F32
from streamer.features.settings import FFT_SIZE, HOP_SAMPLES, WINDOW_SAMPLES, FeatureSettings
from streamer.kernel import address

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALF = FFT_SIZE // 2
_POINTER = ctypes.c_void_p


class _Tables(ctypes.Structure):
    """As `streamer_tables` in kernel.c."""

    _fields_ = (
        ("window", _POINTER),
        ("turns", _POINTER),
        ("unpack", _POINTER),
        ("first_bin", _POINTER),
        ("width", _POINTER),
        ("triangles", _POINTER),
        ("cepstral", _POINTER),
        ("preemphasis", ctypes.c_double),
        ("floor", ctypes.c_float),
        ("mel_bins", ctypes.c_int32),
        ("coefficients", ctypes.c_int32),
    )


class KernelRows:
    """Sounds to static rows, by the kernel."""

    def __init__(
        self,
        kernel: ctypes.CDLL,
        settings: FeatureSettings,
        *,
        window: NDArray[np.float64],
        mel: F32,
        floor: float,
        cepstral: F32 | None,
    ) -> None:
        self.size = settings.static_size
        self._call = kernel.streamer_rows
        self._call.argtypes = [_POINTER, _POINTER, *[ctypes.c_int64] * 3, _POINTER]
        self._call.restype = None
        first = [int(np.argmax(column > 0)) for column in mel.T]
        width = [int(np.count_nonzero(column)) for column in mel.T]
        triangles = [column[at : at + count] for column, at, count in zip(mel.T, first, width, strict=True)]
        self._kept: list[NDArray[Any]] = [  # for as long as the pointers are used
            np.ascontiguousarray(window, np.float64),
            _turns(),
            _pairs(np.arange(_HALF) / FFT_SIZE),
            np.array(first, np.int32),
            np.array(width, np.int32),
            np.ascontiguousarray(np.concatenate(triangles), np.float32),
        ]
        if cepstral is not None:
            self._kept.append(np.ascontiguousarray(cepstral, np.float32))
        pointers = [address(array) for array in self._kept]
        self._tables = _Tables(
            *pointers,
            *([None] if cepstral is None else []),
            settings.preemphasis,
            floor,
            settings.mel_bins,
            settings.coefficients or 0,
        )
        self.place = ctypes.addressof(self._tables)
        """Of the tables, for C."""

    def rows(self, sounds: F32) -> F32:
        """(N, T * hop + overlap) sounds, one after another in memory, to (N * T, size) rows."""
        streams, samples = sounds.shape
        frames = 1 + (samples - WINDOW_SAMPLES) // HOP_SAMPLES
        rows = np.empty((streams * frames, self.size), np.float32)
        self._call(self.place, address(sounds), streams, samples, frames, address(rows))
        return rows


def _turns() -> NDArray[np.float64]:
    """What the points of each group of four are turned by: once, twice and three times, (64, 3, 2)."""
    steps = np.arange(_HALF // 4)[:, np.newaxis] * np.array([1, 2, 3]) / _HALF
    return _pairs(steps)


def _pairs(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns backwards as pairs of cosine and sine, exact to the last bit."""
    flat = [(math.cos(2 * math.pi * turn), -math.sin(2 * math.pi * turn)) for turn in turns.ravel().tolist()]
    return np.array(flat, np.float64)

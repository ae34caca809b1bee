"""What the features of a model are: the settings a bundle names, and their hash."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from streamer.audio import SAMPLE_RATE_HZ

ALGORITHM = 1
"""Raised whenever the same settings would give other numbers; part of the hash."""

WINDOW_SAMPLES = 400
"""25 ms at 16 kHz."""
HOP_SAMPLES = 160
"""10 ms at 16 kHz."""
FFT_SIZE = 512
"""The window's length, rounded up to a power of two as Kaldi does."""


class FeatureSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kaldi-style features: 25 ms Povey windows every 10 ms, DC removed, no dither, int16 scale."""

    kind: Literal["mfcc", "log-mel"] = "mfcc"
    mel_bins: Annotated[int, msgspec.Meta(ge=13, le=80)] = 40
    coefficients: Annotated[int, msgspec.Meta(ge=13, le=40)] | None = 40
    """Cepstral coefficients kept, the zeroth among them; None with log-mel."""
    low_hz: Annotated[float, msgspec.Meta(ge=0, lt=SAMPLE_RATE_HZ / 2)] = 20.0
    high_hz: Annotated[float, msgspec.Meta(gt=0, le=SAMPLE_RATE_HZ / 2)] = 8000.0
    preemphasis: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.97
    lifter: Annotated[float, msgspec.Meta(ge=0)] = 22.0
    """Cepstral lifter; 0 switches it off. Unused with log-mel."""
    delta_order: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0
    """How many time derivatives follow the static rows; each costs two frames of latency."""

    def __post_init__(self) -> None:
        if self.low_hz >= self.high_hz:
            raise ValueError("low_hz must be below high_hz")
        if self.kind == "mfcc" and (self.coefficients is None or self.coefficients > self.mel_bins):
            raise ValueError("coefficients must be given and at most mel_bins with mfcc")
        if self.kind == "log-mel" and self.coefficients is not None:
            raise ValueError("coefficients must be null with log-mel")

    @property
    def static_size(self) -> int:
        """Width of a row before deltas."""
        return self.mel_bins if self.coefficients is None else self.coefficients

    @property
    def size(self) -> int:
        """Width of a row as the model sees it."""
        return self.static_size * (1 + self.delta_order)

    @property
    def sha256(self) -> str:
        """Hash of every setting and of the algorithm: equal hashes mean equal rows."""
        named = {"algorithm": ALGORITHM, **msgspec.to_builtins(self)}
        return hashlib.sha256(msgspec.json.encode(named, order="sorted")).hexdigest()


def frame_count(samples: int) -> int:
    """How many whole windows lie in so many samples (Kaldi's snip-edges rule)."""
    return 0 if samples < WINDOW_SAMPLES else 1 + (samples - WINDOW_SAMPLES) // HOP_SAMPLES

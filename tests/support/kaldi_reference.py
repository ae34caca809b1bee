"""torchaudio's Kaldi features, the independent reference for ours, where they are installed."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.features.settings import FeatureSettings

INT16_SCALE = 32_768.0


def available() -> bool:
    """Whether both are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "torchaudio"))


def _torchaudio() -> Any:
    """torchaudio without its compiled part, which does not load beside every build of torch."""
    if "torchaudio" not in sys.modules:
        stand_in: Any = types.ModuleType("torchaudio._extension")
        stand_in._IS_TORCHAUDIO_EXT_AVAILABLE = False
        stand_in._IS_ALIGN_AVAILABLE = False
        stand_in.fail_if_no_align = lambda function: function
        stand_in._check_cuda_version = lambda: None
        sys.modules["torchaudio._extension"] = stand_in
    import torchaudio
    import torchaudio.compliance.kaldi
    import torchaudio.functional

    return torchaudio


def kaldi_rows(
    samples: NDArray[np.float32], settings: FeatureSettings, *, double: bool = True
) -> NDArray[np.float64]:
    """(n,) samples at 16 kHz to the (T, size) rows that torchaudio computes, dither off."""
    import torch

    torchaudio = _torchaudio()
    kind = torch.float64 if double else torch.float32
    before = torch.get_default_dtype()
    # Its mel banks and its DCT are made in the default type, whatever the samples are.
    torch.set_default_dtype(kind)
    try:
        sound = torch.from_numpy(samples.astype(np.float64)).to(kind)[None] * INT16_SCALE
        rows = _static(torchaudio.compliance.kaldi, sound, settings)
        columns = [rows]
        for _ in range(settings.delta_order):
            columns.append(torchaudio.functional.compute_deltas(columns[-1].T[None], win_length=5)[0].T)
        return np.asarray(torch.cat(columns, dim=1).double().numpy())
    finally:
        torch.set_default_dtype(before)


def _static(kaldi: Any, sound: Any, settings: FeatureSettings) -> Any:
    common = {
        "sample_frequency": 16_000.0,
        "dither": 0.0,
        "energy_floor": 0.0,
        "snip_edges": True,
        "num_mel_bins": settings.mel_bins,
        "low_freq": settings.low_hz,
        "high_freq": settings.high_hz,
        "preemphasis_coefficient": settings.preemphasis,
    }
    if settings.kind == "log-mel":
        return kaldi.fbank(sound, **common)
    return kaldi.mfcc(sound, num_ceps=settings.coefficients, cepstral_lifter=settings.lifter, **common)

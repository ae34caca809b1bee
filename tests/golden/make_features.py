"""Makes features.npz: torchaudio's features of a fixed signal, for machines that have no torchaudio.

    python -m tests.golden.make_features

The signal is stored with them as int16, since no two versions of a library owe us the same random numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamer.features.settings import FeatureSettings
from tests.support import signals
from tests.support.kaldi_reference import kaldi_rows

FILE = Path(__file__).with_name("features.npz")

SETTINGS = {
    "mfcc_13_of_23": FeatureSettings(mel_bins=23, coefficients=13),
    "mfcc_40_of_40": FeatureSettings(),
    "mfcc_20_of_64_no_lifter_2_deltas": FeatureSettings(
        mel_bins=64, coefficients=20, lifter=0.0, delta_order=2
    ),
    "log_mel_40": FeatureSettings(kind="log-mel", mel_bins=40, coefficients=None),
    "log_mel_80_band": FeatureSettings(
        kind="log-mel", mel_bins=80, coefficients=None, low_hz=125.0, high_hz=7600.0
    ),
}


def main() -> None:
    sound = np.concatenate(
        (signals.vowels(0.25), np.zeros(1000, np.float32), signals.chirp(0.15), signals.noise(0.1))
    )
    stored = np.round(np.clip(sound, -1, 1) * 32_767).astype(np.int16)
    rows = {name: kaldi_rows(stored / np.float32(32_768), settings) for name, settings in SETTINGS.items()}
    np.savez_compressed(
        FILE, signal=stored, **{name: value.astype(np.float32) for name, value in rows.items()}
    )
    print(f"{FILE}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()

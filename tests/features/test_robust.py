"""Whatever a microphone may deliver after cleaning, every feature is a finite number."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.audio import F32
from streamer.features.extractor import Extractor
from streamer.features.settings import FeatureSettings
from streamer.intake import LOUDEST
from tests.support.signals import noise, seconds

TINY = np.finfo(np.float32)
AT_S = seconds(0.5)


def constant(value: float) -> F32:
    return np.full(8000, value, np.float32)


SOUNDS = {
    "digital silence": constant(0.0),
    "negative zero": constant(-0.0),
    "DC": constant(0.5),
    "full DC": constant(-1.0),
    "1e-30": constant(1e-30),
    "noise at 1e-30": noise(0.5) * np.float32(1e-30),
    "smallest normal": constant(float(TINY.tiny)),
    "denormals": constant(float(TINY.smallest_subnormal)) * np.sign(noise(0.5)),
    "full scale square wave": np.sign(np.sin(2 * np.pi * 441 * AT_S)).astype(np.float32),
    "the steepest square wave": np.where(np.arange(8000) % 2, 1.0, -1.0).astype(np.float32),
    "the loudest that the pipeline lets through": LOUDEST
    * np.where(np.arange(8000) % 2, 1.0, -1.0).astype(np.float32),
    "the loudest DC": constant(LOUDEST),
    "one click": (np.arange(8000) == 4000).astype(np.float32),
    "one smallest step": (np.arange(8000) == 4000).astype(np.float32) / np.float32(32_768),
    "silence, then loud": np.concatenate((constant(0.0), LOUDEST * noise(0.5, 1.0))).clip(-LOUDEST, LOUDEST),
}

SETTINGS = {
    "mfcc": FeatureSettings(),
    "mfcc with deltas": FeatureSettings(mel_bins=23, coefficients=13, delta_order=2),
    "log-mel": FeatureSettings(kind="log-mel", mel_bins=80, coefficients=None, low_hz=0.0),
    "a narrow band": FeatureSettings(
        kind="log-mel", mel_bins=80, coefficients=None, low_hz=7000.0, high_hz=7001.0
    ),
    "a huge lifter": FeatureSettings(lifter=1e300),
    "a tiny lifter": FeatureSettings(lifter=1e-300),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("sound", SOUNDS.values(), ids=SOUNDS)
def test_rows_are_finite(sound: F32, settings: FeatureSettings) -> None:
    assert sound.dtype == np.float32
    extractor = Extractor(settings)
    rows = np.concatenate((extractor.process(sound), extractor.flush()))
    assert len(rows) == 1 + (len(sound) - 400) // 160
    assert np.isfinite(rows).all(), f"row {np.argwhere(~np.isfinite(rows))[0]}"


@pytest.mark.parametrize("name", ["digital silence", "DC", "full DC", "1e-30", "denormals"])
def test_nothing_to_hear_is_silence(name: str) -> None:
    """All at the floor, and equal: a constant offset is no sound."""
    rows = Extractor(SETTINGS["log-mel"]).process(SOUNDS[name])
    np.testing.assert_array_equal(rows, np.float32(np.log(TINY.eps)))


def test_silence_leaves_no_trace() -> None:
    """After the loudest sound and a window's length of silence the rows are those of silence alone."""
    extractor = Extractor(SETTINGS["log-mel"])
    extractor.process(SOUNDS["the loudest that the pipeline lets through"])
    extractor.process(np.zeros(400, np.float32))
    np.testing.assert_array_equal(extractor.process(np.zeros(1600, np.float32)), np.float32(np.log(TINY.eps)))

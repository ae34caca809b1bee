"""Changed rows: what stays, what moves and where to, and that codes move with them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.features.extractor import Extractor
from streamer.features.settings import FeatureSettings
from training.augment import rows as module
from training.augment.rows import RowChanger

LOG_MEL = FeatureSettings(kind="log-mel", coefficients=None)
SETTINGS = [
    FeatureSettings(),
    FeatureSettings(coefficients=13),
    FeatureSettings(delta_order=2),
    LOG_MEL,
    FeatureSettings(mel_bins=64, coefficients=40, lifter=0),
]


def tone_rows(hz: float, settings: FeatureSettings = LOG_MEL) -> F32:
    seconds = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    noise = np.random.default_rng(0).standard_normal(len(seconds)) * 1e-3
    extractor = Extractor(settings)
    return extractor.process((0.3 * np.sin(2 * np.pi * hz * seconds) + noise).astype(np.float32))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_rows_and_codes_keep_their_kind_and_fit_together(settings: FeatureSettings) -> None:
    rows = tone_rows(700.0, settings)
    codes = np.random.default_rng(1).integers(0, 3, (len(rows), 7), dtype=np.uint8)
    changer = RowChanger(settings)
    lengths = set()
    for seed in range(40):
        changed, moved = changer.change(rows, codes, np.random.default_rng(seed))
        assert changed.dtype == np.float32
        assert moved.dtype == np.uint8
        assert changed.shape == (len(moved), settings.size)
        assert np.isfinite(changed).all()
        lengths.add(len(changed))
    assert min(lengths) < len(rows) <= max(lengths)


def test_the_same_draw_gives_the_same_rows_and_leaves_the_given_ones_alone() -> None:
    rows, codes = tone_rows(500.0), np.zeros((98, 2), np.uint8)
    before, changer = rows.copy(), RowChanger(LOG_MEL)
    first, again = (changer.change(rows, codes, np.random.default_rng(3))[0] for _ in range(2))
    assert_array_equal(first, again)
    assert_array_equal(rows, before)
    assert not np.array_equal(first, changer.change(rows, codes, np.random.default_rng(4))[0])


def test_without_any_change_drawn_the_rows_come_out_as_they_went_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STRETCHED_SHARE", "WARPED_SHARE", "COLOURED_SHARE", "MASKED_SHARE", "GAIN"):
        monkeypatch.setattr(module, name, 0.0)
    rows = tone_rows(1000.0, FeatureSettings())
    changed, _ = RowChanger(FeatureSettings()).change(
        rows, np.zeros((98, 1), np.uint8), np.random.default_rng(0)
    )
    assert_allclose(changed, rows, atol=1e-3)


@pytest.mark.parametrize("factor", [0.88, 0.95, 1.05, 1.13])
@pytest.mark.parametrize("hz", [400.0, 1000.0, 2500.0])
def test_a_warped_tone_is_the_tone_at_another_pitch(factor: float, hz: float) -> None:
    warped = tone_rows(hz) @ RowChanger(LOG_MEL).warp(factor)
    heard, wanted = (np.median(rows, axis=0).argmax() for rows in (warped, tone_rows(hz / factor)))
    assert abs(int(heard) - int(wanted)) <= 1


def test_warping_by_nothing_changes_nothing() -> None:
    assert_allclose(RowChanger(LOG_MEL).warp(1.0), np.eye(40), atol=1e-9)


@pytest.mark.parametrize("factor", [0.88, 1.13])
def test_silence_stays_silence_in_every_band(factor: float) -> None:
    """A row that is the same in all bands has no frequencies to move."""
    flat = np.full((3, 40), -15.9)
    assert_allclose(flat @ RowChanger(LOG_MEL).warp(factor), flat, atol=1e-9)


def test_a_masked_band_stands_at_its_mean_and_others_are_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STRETCHED_SHARE", "WARPED_SHARE", "COLOURED_SHARE", "GAIN"):
        monkeypatch.setattr(module, name, 0.0)
    monkeypatch.setattr(module, "MASKED_SHARE", 1.0)
    rows = np.random.default_rng(5).standard_normal((50, 40)).astype(np.float32)
    changed, _ = RowChanger(LOG_MEL).change(rows, np.zeros((50, 1), np.uint8), np.random.default_rng(6))
    masked = np.ptp(changed, axis=0) < 1e-5
    assert 1 <= masked.sum() <= 10
    assert_allclose(changed[0, masked], rows.mean(axis=0)[masked], atol=1e-5)
    assert_allclose(changed[:, ~masked], rows[:, ~masked], atol=1e-5)


@pytest.mark.parametrize("factor", [0.88, 1.0, 1.13])
def test_codes_stay_with_their_rows_when_time_is_stretched(factor: float) -> None:
    rows, codes = np.zeros((1000, 4), np.float32), np.zeros((1000, 1), np.uint8)
    rows[300:600], codes[300:600] = 1.0, 1
    stretched, moved = module._stretched(rows, codes, factor)
    assert abs(int(moved.sum()) - 300 / factor) <= 2
    # Between two rows the sound is half there; the code says either.
    assert_array_equal(stretched[:, 0] > 0.5 + 1e-3, (moved[:, 0] == 1) & (stretched[:, 0] > 0.5 + 1e-3))
    assert_array_equal(stretched[:, 0] < 0.5 - 1e-3, (moved[:, 0] == 0) & (stretched[:, 0] < 0.5 - 1e-3))

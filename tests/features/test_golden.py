"""Our features against stored ones, which torchaudio made (tests/golden/make_features.py): needs no torch."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.features.extractor import Extractor
from tests.golden.make_features import FILE, SETTINGS


@pytest.mark.parametrize("name", SETTINGS)
def test_rows_are_the_stored_ones(name: str) -> None:
    with np.load(FILE, allow_pickle=False) as golden:
        assert set(golden.files) == {"signal", *SETTINGS}
        samples, expected = golden["signal"] / np.float32(32_768), golden[name]
    extractor = Extractor(SETTINGS[name])
    got = np.concatenate((extractor.process(samples), extractor.flush()))
    assert got.shape == expected.shape
    error = np.abs(got - expected)
    at = np.unravel_index(error.argmax(), error.shape)
    assert error[at] <= 3e-4, f"row {at[0]}, column {at[1]}: {got[at]!r} instead of {expected[at]!r}"

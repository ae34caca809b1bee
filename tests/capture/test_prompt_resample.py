"""The prompt resampler against soxr, and against itself in any other cut."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.capture import prompt_resample
from streamer.capture.prompt_resample import PromptResampler, open_resampler
from streamer.capture.resample import Resampler
from streamer.kernel import library

RATES_HZ = [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]


@pytest.fixture(autouse=True, params=["kernel", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with the kernel and without."""
    if request.param == "numpy":
        monkeypatch.setattr(prompt_resample, "_kernel", lambda: None)
    elif library() is None:
        pytest.skip("the kernel was not built: no C compiler, or not installed with pip")


def noise(samples: int, seed: int = 1) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def run(stage: Resampler, sound: np.ndarray, lengths: Iterable[int]) -> np.ndarray:
    """All output for the sound cut into these lengths (the rest follows in one piece)."""
    out, at = [], 0
    for length in lengths:
        out.append(stage.process(sound[at : at + length]))
        at += length
    return np.concatenate([*out, stage.process(sound[at:]), stage.flush()])


@pytest.mark.parametrize("from_hz", RATES_HZ)
def test_it_says_what_soxr_says(from_hz: int) -> None:
    sound = noise(2 * from_hz + 77)
    expected = soxr.resample(sound, from_hz, 16_000, quality="HQ")
    got = run(PromptResampler(from_hz), sound, [])
    assert got.dtype == np.float32
    assert abs(len(got) - len(expected)) <= 1
    middle = slice(400, len(expected) - 400)  # soxr has ideas of its own of what is beyond the ends
    difference = np.abs(got[middle] - expected[middle]).max()
    assert difference < 1e-5, f"{from_hz} Hz: {difference}"


@pytest.mark.parametrize("from_hz", RATES_HZ)
@pytest.mark.parametrize("size", [1, 7, 160, 4_800])
def test_any_equal_chunks_give_the_same_bits(from_hz: int, size: int) -> None:
    sound = noise(from_hz // (8 if size == 1 else 1) + 77)
    expected = run(PromptResampler(from_hz), sound, [])
    got = run(PromptResampler(from_hz), sound, [size] * (len(sound) // size))
    np.testing.assert_array_equal(got, expected)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    from_hz=st.sampled_from(RATES_HZ),
    lengths=st.lists(st.integers(0, 3_000), max_size=20),
    rest=st.integers(0, 5_000),
)
def test_chunking_never_shows(from_hz: int, lengths: list[int], rest: int) -> None:
    sound = noise(sum(lengths) + rest)
    stage = PromptResampler(from_hz)
    expected = run(stage, sound, [])
    stage.reset()
    np.testing.assert_array_equal(run(stage, sound, lengths), expected)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    from_hz=st.sampled_from([*RATES_HZ, 16_000]),
    heard=st.integers(0, 10_000),
    wanted=st.integers(1, 3_000),
)
def test_what_is_missing_is_exactly_what_is_missing(from_hz: int, heard: int, wanted: int) -> None:
    stage = open_resampler(from_hz, prompt=True)
    stage.process(noise(heard))
    missing = stage.missing_for(wanted)
    assert missing is not None
    if missing:
        given_samples = len(stage.process(noise(missing - 1)))
        assert given_samples < wanted
        given_samples += len(stage.process(noise(1)))
        assert given_samples >= wanted


@pytest.mark.parametrize("from_hz", RATES_HZ)
def test_little_is_held_back(from_hz: int) -> None:
    stage = PromptResampler(from_hz)
    for _ in range(50):
        stage.process(noise(from_hz // 100))
        assert 0 <= stage.latency_samples <= 0.007 * max(from_hz, 16_000 * 1.3)


def test_flush_ends_it_and_reset_begins_anew() -> None:
    stage, sound = PromptResampler(48_000), noise(10_000)
    first = run(stage, sound, [3_000])
    assert len(stage.flush()) == 0
    with pytest.raises(ValueError, match="reset"):
        stage.process(sound)
    stage.reset()
    np.testing.assert_array_equal(run(stage, sound, []), first)
    assert len(first) == 3_334


def test_a_rate_that_nobody_has_is_left_to_soxr() -> None:
    assert type(open_resampler(47_999, prompt=True)) is Resampler
    assert open_resampler(47_999, prompt=True).missing_for(100) is None
    assert type(open_resampler(48_000, prompt=False)) is Resampler
    assert type(open_resampler(16_000, prompt=True)) is Resampler

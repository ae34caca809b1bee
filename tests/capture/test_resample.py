"""The resampler against soxr in one call, and against itself in any other cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.capture.resample import Resampler

RATES_HZ = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]


def noise(samples: int, seed: int = 1) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def run(stage: Resampler, sound: np.ndarray, lengths: Iterable[int]) -> np.ndarray:
    """All output for the sound cut into these lengths (the rest follows in one piece)."""
    out, at = [], 0
    for length in lengths:
        out.append(stage.process(sound[at : at + length]))
        at += length
        if at >= len(sound):
            break
    return np.concatenate([*out, stage.process(sound[at:]), stage.flush()])


def assert_same(got: np.ndarray, expected: np.ndarray, what: str) -> None:
    assert got.dtype == np.float32
    assert len(got) == len(expected), f"{what}: {len(got)} samples instead of {len(expected)}"
    differing = np.flatnonzero(got != expected)
    where = differing[0] if len(differing) else None
    assert where is None, f"{what}: first mismatch at {where}: {got[where]!r} instead of {expected[where]!r}"


def equal_lengths(size: int) -> Iterator[int]:
    while True:
        yield size


def random_lengths(seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.choice([0, 1, 2, 3, int(rng.integers(0, 200)), int(rng.integers(0, 20_000))]))


@pytest.mark.parametrize("from_hz", RATES_HZ)
@pytest.mark.parametrize("extra", [0, 1, 1234])
def test_stream_equals_one_shot(from_hz: int, extra: int) -> None:
    sound = noise(from_hz + extra)
    expected = soxr.resample(sound, from_hz, 16_000, quality="HQ") if from_hz != 16_000 else sound
    got = run(Resampler(from_hz), sound, equal_lengths(480))
    assert_same(got, expected, f"{from_hz} Hz in chunks of 480")
    assert abs(len(got) - len(sound) * 16_000 / from_hz) <= 1


@pytest.mark.parametrize("from_hz", RATES_HZ)
@pytest.mark.parametrize("size", [1, 7, 160, 4_800, 65_536])
def test_any_equal_chunks_give_the_same_bits(from_hz: int, size: int) -> None:
    sound = noise(from_hz // 4 + 77 if size == 1 else 2 * from_hz + 77)
    expected = run(Resampler(from_hz), sound, [])
    got = run(Resampler(from_hz), sound, equal_lengths(size))
    assert_same(got, expected, f"{from_hz} Hz, chunks of {size}")


@pytest.mark.parametrize("from_hz", RATES_HZ)
@pytest.mark.parametrize("seed", range(3))
def test_random_chunks_give_the_same_bits(from_hz: int, seed: int) -> None:
    sound = noise(3 * from_hz + seed, seed)
    expected = run(Resampler(from_hz), sound, [])
    got = run(Resampler(from_hz), sound, random_lengths(seed))
    assert_same(got, expected, f"{from_hz} Hz, random_lengths({seed})")


def test_minutes_in_one_chunk_give_the_same_bits() -> None:
    sound = noise(150 * 48_000)
    expected = run(Resampler(48_000), sound, [])
    assert_same(run(Resampler(48_000), sound, equal_lengths(4_803)), expected, "chunks of 4803")
    assert_same(run(Resampler(48_000), sound, [3_000_001]), expected, "chunks of 3000001 and the rest")


@settings(max_examples=60, deadline=None)
@given(
    from_hz=st.sampled_from(RATES_HZ),
    lengths=st.lists(st.integers(0, 3_000), max_size=20),
    rest=st.integers(0, 5_000),
)
def test_chunking_never_shows(from_hz: int, lengths: list[int], rest: int) -> None:
    sound = noise(sum(lengths) + rest)
    expected = run(Resampler(from_hz), sound, [])
    assert_same(run(Resampler(from_hz), sound, lengths), expected, f"{from_hz} Hz, chunks {lengths}, {rest}")


@pytest.mark.parametrize("from_hz", RATES_HZ)
def test_reset_then_replay(from_hz: int) -> None:
    sound = noise(from_hz)
    stage = Resampler(from_hz)
    expected = run(stage, sound, equal_lengths(1000))
    stage.reset()
    stage.process(noise(12_345, seed=2))
    stage.reset()
    assert stage.latency_samples == 0
    assert_same(run(stage, sound, equal_lengths(1000)), expected, f"{from_hz} Hz after reset")


@pytest.mark.parametrize("from_hz", RATES_HZ)
def test_second_flush_is_empty_and_sound_after_it_is_refused(from_hz: int) -> None:
    stage = Resampler(from_hz)
    stage.process(noise(1000))
    stage.flush()
    again = stage.flush()
    assert (again.dtype, again.shape, stage.latency_samples) == (np.float32, (0,), 0)
    with pytest.raises(ValueError, match="reset"):
        stage.process(noise(10))


@pytest.mark.parametrize("from_hz", RATES_HZ)
def test_no_sound_gives_no_sound(from_hz: int) -> None:
    stage = Resampler(from_hz)
    assert len(stage.process(np.empty(0, np.float32))) == 0
    assert len(stage.flush()) == 0


@pytest.mark.parametrize("from_hz", RATES_HZ)
def test_later_sound_never_alters_earlier_output(from_hz: int) -> None:
    sound, other = noise(2 * from_hz), noise(2 * from_hz)
    other[from_hz:] = 1
    first, second = Resampler(from_hz), Resampler(from_hz)
    same_until = len(first.process(sound[:from_hz]))
    one = np.concatenate([second.process(other), second.flush()])
    assert_same(one[:same_until], run(Resampler(from_hz), sound, [])[:same_until], f"{from_hz} Hz")


@pytest.mark.parametrize("from_hz", RATES_HZ)
def test_output_is_nobody_elses_memory(from_hz: int) -> None:
    sound = noise(from_hz)
    before = sound.copy()
    stage, spoilt = Resampler(from_hz), []
    for start in range(0, from_hz, 500):
        block = sound[start : start + 500]
        given = stage.process(block)
        assert not np.shares_memory(given, sound)
        spoilt.append(given.copy())
        given[:] = np.nan
    spoilt.append(stage.flush())
    np.testing.assert_array_equal(sound, before)
    assert_same(np.concatenate(spoilt), run(Resampler(from_hz), sound, []), f"{from_hz} Hz")


@pytest.mark.parametrize("from_hz", RATES_HZ)
def test_latency_tells_what_is_held_back(from_hz: int) -> None:
    stage, taken, given = Resampler(from_hz), 0, 0
    for _ in range(100):
        given += len(stage.process(noise(from_hz // 100)))
        taken += from_hz // 100
        assert abs(stage.latency_samples - (taken - given * from_hz / 16_000)) <= 1
        assert 0 <= stage.latency_samples <= 0.12 * from_hz
    if from_hz == 16_000:
        assert stage.latency_samples == 0


@pytest.mark.parametrize("from_hz", RATES_HZ)
def test_a_strided_view_is_taken_as_it_reads(from_hz: int) -> None:
    sound = noise(2 * from_hz)
    expected = run(Resampler(from_hz), sound[::2].copy(), [])
    assert_same(run(Resampler(from_hz), sound[::2], equal_lengths(999)), expected, f"{from_hz} Hz")


@pytest.mark.parametrize("from_hz", [h for h in RATES_HZ if h > 16_000])
def test_a_tone_keeps_its_pitch_and_what_would_fold_is_removed(from_hz: int) -> None:
    seconds = np.arange(from_hz) / from_hz
    low = np.sin(2 * np.pi * 1_000 * seconds).astype(np.float32)
    high = np.sin(2 * np.pi * 0.45 * from_hz * seconds).astype(np.float32)
    middle = slice(4_000, 12_000)
    out = run(Resampler(from_hz), low, [])[middle]
    expected = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)[middle]
    assert np.abs(out - expected).max() < 1e-3
    assert np.abs(run(Resampler(from_hz), high, [])[middle]).max() < 1e-3


@pytest.mark.parametrize("from_hz", [16_000, 48_000])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (np.zeros(4), TypeError),
        (np.zeros(4, np.int16), TypeError),
        ([0.0], TypeError),
        (np.zeros((4, 1), np.float32), ValueError),
        (np.float32(0), TypeError),
    ],
)
def test_wrong_input_is_refused_not_converted(from_hz: int, bad: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="samples must"):
        Resampler(from_hz).process(bad)  # type: ignore[arg-type]


def test_nonsense_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 Hz"):
        Resampler(0)

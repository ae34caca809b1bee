"""From a source's chunks to the blocks that are sent."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio import Chunk
from streamer.capture.codecs import (
    PayloadError,
    decode_block,
    encode_block,
    quantise,
    to_float,
)
from streamer.capture.cutter import BLOCK_SAMPLES, Block, Cutter
from streamer.capture.resample import Resampler


def noise(samples: int, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)


def cut(samples: np.ndarray, rate_hz: int, cuts: list[int]) -> list[Block]:
    cutter = Cutter(rate_hz)
    blocks = []
    for first, end in zip([0, *cuts], [*cuts, len(samples)], strict=True):
        chunk = Chunk(samples[first:end], first, 0.0)
        blocks += cutter.process(chunk, captured_s=chunk.end_sample / rate_hz)
    return blocks + cutter.flush(len(samples) / rate_hz)


def joined(blocks: list[Block]) -> np.ndarray:
    assert blocks[0].first_sample == 0
    assert all(a.end_sample == b.first_sample for a, b in itertools.pairwise(blocks))
    return np.concatenate([block.samples for block in blocks])  # type: ignore[misc,arg-type]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([16_000, 48_000, 44_100, 8000]), st.lists(st.integers(0, 20_000), max_size=20))
def test_any_chunking_gives_the_same_blocks(rate_hz: int, cuts: list[int]) -> None:
    samples = noise(20_000)
    resampler = Resampler(rate_hz)
    whole = quantise(np.concatenate([resampler.process(samples), resampler.flush()]))
    blocks = cut(samples, rate_hz, sorted(cuts))
    np.testing.assert_array_equal(joined(blocks), whole)
    assert {len(block.samples) for block in blocks[:-1]} <= {BLOCK_SAMPLES}  # type: ignore[arg-type]
    # The device's clock: each block was captured when its last sample was, however late it came out.
    for block in blocks:
        assert block.captured_s == pytest.approx(block.end_sample / 16_000, abs=2e-3)


def test_a_loss_at_the_source_is_a_gap_of_its_own_length() -> None:
    cutter = Cutter(48_000)
    blocks = cutter.process(Chunk(noise(48_000), 0, 0.0), 1.0)
    blocks += cutter.process(Chunk(noise(48_000), 144_000, 0.0), 4.0)
    blocks += cutter.flush(4.0)
    lost = [block for block in blocks if block.samples is None]
    assert [(block.first_sample, block.end_sample) for block in lost] == [(16_000, 48_000)]
    assert (blocks[0].first_sample, blocks[-1].end_sample) == (0, 64_000)
    assert all(a.end_sample == b.first_sample for a, b in itertools.pairwise(blocks))


def test_a_loss_of_one_sample_is_never_glued_over() -> None:
    """At 48 kHz that is a third of a sample; a hundred of them do not shift the clock."""
    cutter = Cutter(48_000)
    blocks, at = [], 0
    for _ in range(100):
        blocks += cutter.process(Chunk(noise(4799), at, 0.0), 0.0)
        at += 4800
    blocks += cutter.flush(0.0)
    assert sum(block.samples is None for block in blocks) == 99
    assert all(a.end_sample == b.first_sample for a, b in itertools.pairwise(blocks))
    assert blocks[-1].end_sample == pytest.approx(160_000, abs=2)


def test_what_is_no_number_does_not_spoil_what_follows() -> None:
    bad = noise(48_000)
    bad[1000:1010] = np.nan
    bad[2000] = np.inf
    bad[3000] = 1e30
    clean = bad.copy()
    clean[1000:1010] = clean[2000] = clean[3000] = 0.0
    cutter = Cutter(48_000)
    blocks = cutter.process(Chunk(bad, 0, 0.0), 1.0) + cutter.flush(1.0)
    np.testing.assert_array_equal(joined(blocks), joined(cut(clean, 48_000, [])))
    assert cutter.bad_samples == 12


def test_quantising_is_exact_for_what_was_16_bits() -> None:
    every = np.arange(-(2**15), 2**15).astype(np.int16)
    np.testing.assert_array_equal(quantise(to_float(every)), every)
    loud = np.array([1.0, -1.0, 1.7, -20.0], np.float32)
    assert quantise(loud).tolist() == [32_767, -32_768, 32_767, -32_768]


@pytest.mark.parametrize("codec", ["pcm16", "flac"])
@pytest.mark.parametrize("samples", [1, 15, 1280, 32_000])
def test_a_block_comes_back_as_it_was(codec: str, samples: int) -> None:
    block = np.random.default_rng(samples).integers(-(2**15), 2**15, samples).astype(np.int16)
    payload = encode_block(block, codec)
    np.testing.assert_array_equal(decode_block(payload, codec, samples), block)
    for wrong in (samples - 1, samples + 1):
        with pytest.raises(PayloadError):
            decode_block(payload, codec, wrong)


def test_flac_is_smaller_where_it_is_quiet() -> None:
    assert len(encode_block(quantise(noise(BLOCK_SAMPLES) * 0.02), "flac")) < 1600 < 2 * BLOCK_SAMPLES


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_flac_block_is_refused_or_has_its_length(data: st.DataObject) -> None:
    payload = bytearray(encode_block(quantise(noise(1280)), "flac"))
    for _ in range(data.draw(st.integers(1, 5))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(payload)))
    try:
        block = decode_block(bytes(payload[:end]), "flac", 1280)
    except PayloadError:
        return
    assert (block.dtype, block.shape) == (np.int16, (1280,))


@pytest.mark.parametrize("payload", [b"", b"fLaC", b"RIFF" + bytes(100), b"OggS" + bytes(100), bytes(5000)])
def test_what_is_no_flac_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_block(payload, "flac", 1280)


def test_a_flac_of_another_sort_is_refused() -> None:
    import io

    import soundfile

    for rate_hz, shape in ((8000, 1280), (16_000, (1280, 2))):
        file = io.BytesIO()
        soundfile.write(file, np.zeros(shape, np.int16), rate_hz, format="FLAC")
        with pytest.raises(PayloadError, match="expected one channel"):
            decode_block(file.getvalue(), "flac", 1280)

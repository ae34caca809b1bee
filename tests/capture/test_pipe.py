"""Raw PCM through a real pipe, cut at any byte."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.capture.pipe import READ_BYTES, PcmPipeSource
from streamer.capture.source import EndOfSound
from streamer.errors import SoundError

TYPES = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}


class Pipe:
    """Both ends of a pipe, each closed once."""

    def __init__(self) -> None:
        self.out, self._in = os.pipe()

    def write(self, data: bytes) -> None:
        os.write(self._in, data)

    def end(self) -> None:
        if self._in >= 0:
            os.close(self._in)
            self._in = -1

    def close(self) -> None:
        self.end()
        os.close(self.out)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def opened(fd: int, *arguments: object, **options: object) -> PcmPipeSource:
    source = PcmPipeSource(fd, 16_000, *arguments, **options)  # type: ignore[arg-type]
    source.open()
    return source


def encode(frames: np.ndarray, format: str) -> bytes:
    if format == "f32le":
        return frames.astype("<f4").tobytes()
    scale = 2.0 ** (15 if format == "s16le" else 31)
    return np.round(frames * scale).astype(TYPES[format]).tobytes()


@settings(max_examples=100, deadline=None)
@given(
    format=st.sampled_from(list(TYPES)),
    channels=st.integers(1, 3),
    cuts=st.lists(st.integers(1, 50), max_size=30),
    dangling=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_cut_gives_the_same_sound(
    format: str, channels: int, cuts: list[int], dangling: int, seed: int
) -> None:
    frames = np.random.default_rng(seed).uniform(-1, 0.999, (100, channels)).astype(np.float32)
    frame_bytes = np.dtype(TYPES[format]).itemsize * channels
    data = encode(frames, format) + b"\x55" * min(dangling, frame_bytes - 1)
    pipe, found, end, at = Pipe(), [], 0, 0
    source = opened(pipe.out, channels, format)
    try:
        for size in [*cuts, len(data)]:
            pipe.write(data[at : at + size])
            at += size
            if at - size >= len(data):
                break
            chunk = source.read()
            if chunk is None:
                continue
            assert chunk.first_sample == end
            end = chunk.end_sample
            found.append(chunk.samples)
        pipe.end()
        with pytest.raises(EndOfSound):
            source.read()
    finally:
        pipe.close()
    sound = np.concatenate(found)
    np.testing.assert_allclose(sound, frames.astype(float).mean(axis=1), rtol=0, atol=2**-15)
    assert source.dangling_bytes == min(dangling, frame_bytes - 1)
    assert (source.warning is not None) == (source.dangling_bytes > 0)


@pytest.mark.parametrize(
    ("format", "values", "expected"),
    [
        ("s16le", [-(2**15), -1, 0, 1, 2**15 - 1], [-1, -(2**-15), 0, 2**-15, 1 - 2**-15]),
        ("s32le", [-(2**31), 0, 2**30], [-1, 0, 0.5]),
        ("f32le", [-1.5, np.nan, np.inf, 0.25], [-1.5, np.nan, np.inf, 0.25]),
    ],
)
def test_full_scale_is_exact(pipe: Pipe, format: str, values: list[float], expected: list[float]) -> None:
    source = opened(pipe.out, 1, format)
    pipe.write(np.array(values, TYPES[format]).tobytes())
    chunk = source.read()
    assert chunk is not None
    np.testing.assert_array_equal(chunk.samples, np.array(expected, np.float32))


def test_nothing_yet_is_none_and_never_blocks(pipe: Pipe) -> None:
    source = opened(pipe.out)
    assert source.read() is None
    assert source.fileno() == pipe.out
    assert not select.select([source.fileno()], [], [], 0)[0]
    pipe.write(b"\1")
    assert source.read() is None  # half a sample
    pipe.write(b"\0\1\0")
    chunk = source.read()
    assert chunk is not None
    assert len(chunk.samples) == 2
    assert source.read() is None


def test_a_full_pipe_is_one_read(pipe: Pipe) -> None:
    source = opened(pipe.out)
    pipe.write(bytes(READ_BYTES))
    chunk = source.read()
    assert chunk is not None
    assert len(chunk.samples) == READ_BYTES // 2
    assert source.read() is None


def test_time_is_taken_at_the_read(pipe: Pipe, clock) -> None:
    source = opened(pipe.out, utc_clock_s=clock)
    pipe.write(bytes(320))
    clock.now_s = 77.0
    chunk = source.read()
    assert chunk is not None
    assert chunk.captured_utc_s == 77.0


def test_end_inside_a_sample_is_counted_and_told(pipe: Pipe) -> None:
    source = opened(pipe.out, 2)
    pipe.write(bytes(4 * 10 + 3))
    pipe.end()
    chunk = source.read()
    assert chunk is not None
    assert len(chunk.samples) == 10
    for _ in range(2):
        with pytest.raises(EndOfSound):
            source.read()
    assert source.dangling_bytes == 3
    assert source.warning is not None
    assert "3 bytes are left over" in source.warning


def test_end_without_sound_is_told(pipe: Pipe) -> None:
    source = opened(pipe.out)
    pipe.end()
    with pytest.raises(EndOfSound):
        source.read()
    assert source.warning is not None
    assert "without any sound" in source.warning


def test_the_descriptor_is_left_as_it_was(pipe: Pipe) -> None:
    blocking = os.get_blocking(pipe.out)
    source = opened(pipe.out)
    pipe.write(bytes(10))
    source.read()
    assert os.get_blocking(pipe.out) == blocking
    source.close()
    source.close()
    os.fstat(pipe.out)  # still open: it is the caller's
    assert source.fileno() is None
    with pytest.raises(EndOfSound):
        source.read()


def test_a_pipe_that_somebody_made_non_blocking_is_not_at_its_end(pipe: Pipe) -> None:
    os.set_blocking(pipe.out, False)
    source = opened(pipe.out)
    assert source.read() is None


def test_a_redirected_file_is_read_without_epoll(tmp_path: Path) -> None:
    path = tmp_path / "x.raw"
    path.write_bytes(np.arange(1000, dtype="<i2").tobytes())
    fd = os.open(path, os.O_RDONLY)
    try:
        source = opened(fd)
        assert source.fileno() is None  # epoll refuses regular files
        assert source.next_due_s() == 0
        chunk = source.read()
        assert chunk is not None
        assert len(chunk.samples) == 1000
        with pytest.raises(EndOfSound):
            source.read()
    finally:
        os.close(fd)


def fault(source: PcmPipeSource) -> str:
    with pytest.raises(SoundError) as caught:
        source.open()
    assert "arecord" in caught.value.remedy
    assert "\n" not in str(caught.value)
    return caught.value.message


def test_a_terminal_is_refused_with_an_example() -> None:
    main, terminal = os.openpty()
    try:
        assert "is a terminal" in fault(PcmPipeSource(terminal, 16_000))
    finally:
        os.close(main)
        os.close(terminal)


def test_a_closed_descriptor_is_refused() -> None:
    spare = Pipe()
    spare.close()
    assert "is closed" in fault(PcmPipeSource(spare.out, 16_000))


def test_a_directory_is_refused(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert "is a directory" in fault(PcmPipeSource(fd, 16_000))
    finally:
        os.close(fd)


def test_a_wav_file_in_the_pipe_is_noticed(pipe: Pipe) -> None:
    source = opened(pipe.out)
    pipe.write(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(28))
    with pytest.raises(SoundError, match=r"WAV file, not raw PCM.*-t raw"):
        source.read()


def test_unknown_format_and_nonsense_numbers_are_refused() -> None:
    with pytest.raises(SoundError, match="s16le, s32le, f32le"):
        PcmPipeSource(0, 16_000, format="u8")
    with pytest.raises(SoundError, match="at least 1"):
        PcmPipeSource(0, 16_000, channels=0)


def test_description_names_what_is_read() -> None:
    text = PcmPipeSource(0, 48_000, 2, "f32le").description
    assert text == "standard input (f32le, 48000 Hz, 2 channels)"

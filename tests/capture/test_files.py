"""Files: every format, every fault, and the pace of a microphone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.capture.files import SoundFileSource
from streamer.capture.source import EndOfSound
from streamer.errors import EXIT_SOUND, SoundError


def noise(seconds: float, rate_hz: int, channels: int = 1, seed: int = 1) -> np.ndarray:
    frames = 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate_hz), channels))
    return np.clip(frames, -0.99, 0.99).astype(np.float32)


def read_all(source: SoundFileSource) -> np.ndarray:
    """All sound of an open source that is not paced; checks that the chunks join."""
    found, at = [np.empty(0, np.float32)], 0
    while True:
        try:
            chunk = source.read()
        except EndOfSound:
            return np.concatenate(found)
        assert chunk is not None
        assert chunk.first_sample == at
        assert chunk.samples.dtype == np.float32
        found.append(chunk.samples)
        at = chunk.end_sample


def write(path: Path, frames: np.ndarray, rate_hz: int = 16_000, subtype: str | None = None) -> Path:
    soundfile.write(path, frames, rate_hz, subtype=subtype)
    return path


def cut(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def opened(path: Path, **options: object) -> SoundFileSource:
    source = SoundFileSource(path, realtime=False, **options)  # type: ignore[arg-type]
    source.open()
    return source


FORMATS = [
    ("wav", "PCM_16", 2**-15),
    ("wav", "PCM_24", 2**-23),
    ("wav", "FLOAT", 0),
    ("wav", "PCM_U8", 2**-7),
    ("flac", "PCM_16", 2**-15),
    ("flac", "PCM_24", 2**-23),
    ("aiff", "PCM_16", 2**-15),
]


@pytest.mark.parametrize(("suffix", "subtype", "step"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 192_000])
def test_formats_rates_and_channels(
    tmp_path: Path, suffix: str, subtype: str, step: float, channels: int, rate_hz: int
) -> None:
    frames = noise(0.25, rate_hz, channels)
    source = opened(write(tmp_path / f"x.{suffix}", frames, rate_hz, subtype))
    assert (source.rate_hz, source.channels, source.total_samples) == (rate_hz, channels, len(frames))
    assert f"{rate_hz} Hz" in source.description
    np.testing.assert_allclose(read_all(source), frames.astype(float).mean(axis=1), rtol=0, atol=step + 1e-6)
    assert source.warning is None


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_lossy_formats(tmp_path: Path, suffix: str, channels: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 32_000)
    path = write(tmp_path / f"x.{suffix}", np.repeat(tone[:, None], channels, axis=1), 32_000)
    source = opened(path)
    sound = read_all(source)
    assert len(sound) == len(tone)
    middle = slice(4_000, -4_000)  # the encoders fade in and out
    assert np.corrcoef(sound[middle], tone[middle])[0, 1] > 0.999
    assert source.warning is None


@pytest.mark.parametrize("block_s", [0.00001, 0.01, 0.1, 60.0])
@pytest.mark.parametrize(
    ("suffix", "subtype"), [("flac", None), ("wav", None), ("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", None)]
)
def test_block_size_does_not_change_the_sound(
    tmp_path: Path, suffix: str, subtype: str | None, block_s: float
) -> None:
    """In particular where the decoder carries state from block to block, as MP3 and Opus do."""
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 48_000)
    path = write(tmp_path / f"x.{suffix}", np.stack([tone, tone[::-1]], axis=1), 48_000, subtype)
    frames, _ = soundfile.read(path, dtype="float32", always_2d=True)  # in one piece
    expected = (frames[:, 0] + frames[:, 1]) / np.float32(2)
    np.testing.assert_array_equal(read_all(opened(path, block_s=block_s)), expected)


def test_nan_and_infinity_pass_as_they_are(tmp_path: Path) -> None:
    frames = np.array([0.5, np.nan, np.inf, -np.inf, 3.0], np.float32)
    source = opened(write(tmp_path / "x.wav", frames, subtype="FLOAT"))
    np.testing.assert_array_equal(read_all(source), frames)


# -- pace ---------------------------------------------------------------------------------------------


@pytest.fixture
def paced(tmp_path: Path, clock):
    path, began_s = write(tmp_path / "x.wav", noise(0.25, 16_000)), clock()
    source = SoundFileSource(
        path, realtime=True, clock_s=clock, utc_clock_s=lambda: 5000.0 + clock() - began_s
    )
    source.open()
    yield source
    source.close()


def test_a_block_comes_when_its_last_sample_would_have(paced: SoundFileSource, clock) -> None:
    assert paced.live
    assert paced.fileno() is None
    assert paced.read() is None
    assert paced.next_due_s() == pytest.approx(0.1)
    clock.advance(0.099)
    assert paced.read() is None
    assert paced.next_due_s() == pytest.approx(0.001)
    clock.advance(0.001 + 1e-9)
    assert paced.next_due_s() == 0
    chunk = paced.read()
    assert chunk is not None
    assert (chunk.first_sample, len(chunk.samples)) == (0, 1600)
    assert chunk.captured_utc_s == pytest.approx(5000.1)
    assert paced.read() is None


def test_what_is_wanted_comes_in_one_piece_at_its_moment(tmp_path: Path, clock) -> None:
    sound = noise(0.7, 16_000)
    path = write(tmp_path / "x.wav", sound, subtype="FLOAT")
    source = SoundFileSource(path, realtime=True, clock_s=clock)
    source.open()
    chunks = []
    # more than what was read before anybody knew, less than usual, nothing new, far too much, beyond the end
    for wanted, length in ((1_680, 1_680), (3_120, 1_440), (3_120, 1_600), (50_000, 4_000), (50_000, 2_480)):
        source.want(wanted)
        assert source.next_due_s() == pytest.approx(length / 16_000)
        assert source.read() is None
        clock.advance(length / 16_000 + 1e-9)
        chunks.append(source.read())
        assert len(chunks[-1].samples) == length
    assert source.next_due_s() == 0.0
    with pytest.raises(EndOfSound):
        source.read()
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), sound[:, 0])
    source.close()


def test_the_last_short_block_is_due_at_the_end_of_the_sound(paced: SoundFileSource, clock) -> None:
    clock.advance(0.2 + 1e-9)
    for _ in range(2):
        assert paced.read() is not None
    assert paced.next_due_s() == pytest.approx(0.05)
    clock.advance(0.05 + 1e-9)
    chunk = paced.read()
    assert chunk is not None
    assert chunk.end_sample == 4000
    assert paced.next_due_s() == 0
    with pytest.raises(EndOfSound):
        paced.read()


def test_a_late_reader_catches_up_without_loss(paced: SoundFileSource, clock) -> None:
    clock.advance(100.0)
    assert len(read_all(paced)) == 4000
    assert (paced.lost_samples, paced.overruns) == (0, 0)


def test_unpaced_never_waits(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "x.wav", noise(1, 16_000)))
    assert not source.live
    assert source.next_due_s() == 0
    assert len(read_all(source)) == 16_000


def test_a_loop_never_ends_and_counts_on(tmp_path: Path, clock) -> None:
    frames = noise(0.25, 16_000)
    path = write(tmp_path / "x.wav", frames, subtype="FLOAT")
    began_s = clock()
    source = SoundFileSource(
        path, realtime=True, loop=True, clock_s=clock, utc_clock_s=lambda: clock() - began_s
    )
    source.open()
    clock.advance(1.0 + 1e-9)
    found, at = [], 0
    while (chunk := source.read()) is not None:
        assert chunk.first_sample == at
        at = chunk.end_sample
        assert chunk.captured_utc_s == pytest.approx(at / 16_000)
        found.append(chunk.samples)
    np.testing.assert_array_equal(np.concatenate(found), np.tile(frames[:, 0], 4))
    assert source.next_due_s() == pytest.approx(0.1)
    source.close()


def test_only_a_block_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 16_000, 1) as file:
        for _ in range(30):
            file.write(np.zeros(60 * 16_000, np.float32))  # 30 min: 115 MB as float32
    script = (
        "import resource, sys\n"
        "from streamer.capture.files import SoundFileSource\n"
        "import numpy, soundfile\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "source = SoundFileSource(sys.argv[1], realtime=False)\n"
        "source.open(); source.read(); before = peak()\n"
        "for _ in range(10_000): source.read()\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8_000  # KiB


# -- faults -------------------------------------------------------------------------------------------


def fault(path: Path) -> SoundError:
    with pytest.raises(SoundError) as caught:
        SoundFileSource(path, realtime=False).open()
    assert "\n" not in str(caught.value)
    assert str(path) in caught.value.message
    assert caught.value.remedy
    assert caught.value.status == EXIT_SOUND
    return caught.value


def test_missing_file(tmp_path: Path) -> None:
    assert "No such file" in fault(tmp_path / "none.wav").message


def test_directory(tmp_path: Path) -> None:
    assert "is a directory" in fault(tmp_path).message


def test_zero_length_file(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.touch()
    assert "is empty" in fault(path).message


@pytest.mark.parametrize("name", ["x.wav", "x.txt", "x.raw", "x.flac"])
@pytest.mark.parametrize("content", [b"not sound at all\n" * 100, b"RIFF", b"fLaC", b"\0" * 1000])
def test_no_sound_file(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert "not a sound file" in fault(path).message


def test_headerless_raw(tmp_path: Path) -> None:
    path = tmp_path / "x.raw"
    path.write_bytes(bytes(3200))
    assert "not a sound file" in fault(path).message


def test_zero_samples(tmp_path: Path) -> None:
    assert "no sound" in fault(write(tmp_path / "x.wav", noise(0, 16_000))).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", noise(0.1, 16_000))
    path.chmod(0)
    assert "Permission" in fault(path).message


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "fifo.wav"
    os.mkfifo(path)
    assert "not a regular file" in fault(path).message


# Samples have a fixed place in these: all before the cut comes, and the header tells what is missing.
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "w64", "rf64"])
@pytest.mark.parametrize("channels", [1, 2])
def test_truncated_pcm(tmp_path: Path, suffix: str, subtype: str, channels: int) -> None:
    frames = noise(1, 16_000, channels)
    whole = read_all(opened(write(tmp_path / f"x.{suffix}", frames, subtype=subtype)))
    source = opened(cut(tmp_path / f"x.{suffix}", 0.5))
    sound = read_all(source)
    assert 7_800 < len(sound) < 8_000
    np.testing.assert_array_equal(sound, whole[: len(sound)])
    assert source.warning is not None
    assert f"{16_000 - len(sound)} of 16000 samples are missing" in source.warning


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("block_s", [0.01, 0.1, 10.0])
def test_truncated_flac(tmp_path: Path, keep: float, block_s: float) -> None:
    """libsndfile fails in the middle of a read: what it decoded before that is delivered."""
    path = write(tmp_path / "x.flac", noise(3, 16_000))
    whole = read_all(opened(path))
    source = opened(cut(path, keep), block_s=block_s)
    sound = read_all(source)
    assert len(whole) * keep - 5_000 < len(sound) < len(whole)
    np.testing.assert_array_equal(sound, whole[: len(sound)])
    assert source.warning is not None
    assert f"{len(whole) - len(sound)} of {len(whole)} samples are missing" in source.warning


def test_flac_cut_before_its_first_block(tmp_path: Path) -> None:
    assert "no sound" in fault(cut(write(tmp_path / "x.flac", noise(3, 16_000)), 0.01)).message


def test_damaged_flac_gives_what_comes_before(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", noise(3, 16_000))
    whole = read_all(opened(path))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    path.write_bytes(data)
    source = opened(path)
    sound = read_all(source)
    assert 10_000 < len(sound) <= len(whole)
    np.testing.assert_array_equal(sound[:10_000], whole[:10_000])


def test_flac_of_unknown_length(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", noise(1, 16_000))
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO's 36 bits of total samples: 0 means unknown, as a live encoder writes it
    data[22:26] = bytes(4)
    path.write_bytes(data)
    source = opened(path)
    assert len(read_all(source)) == 16_000
    assert source.total_samples is None
    assert source.warning is None


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.9])
def test_truncated_ogg(tmp_path: Path, keep: float) -> None:
    """Ogg does not say how long it is; a missing end mark shows the cut."""
    path = write(tmp_path / "x.ogg", noise(5, 16_000))
    whole = read_all(opened(path))
    source = opened(cut(path, keep))
    sound = read_all(source)
    assert 0 < len(sound) < len(whole)
    np.testing.assert_array_equal(sound, whole[: len(sound)])
    assert source.warning is not None
    assert "cut short" in source.warning


def test_truncated_mp3(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp3", noise(5, 16_000))
    source = opened(cut(path, 0.5))
    sound = read_all(source)
    assert 0.4 * 80_000 < len(sound) < 0.6 * 80_000
    assert source.warning is not None
    assert f"{80_000 - len(sound)} of 80000" in source.warning


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x00\xff\xff\x7f"])
def test_a_streamed_wav_header_is_no_cut(tmp_path: Path, size: bytes) -> None:
    path = write(tmp_path / "x.wav", noise(1, 16_000))
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = size
    path.write_bytes(data)
    source = opened(path)
    assert len(read_all(source)) == 16_000
    assert source.warning is None


def test_a_damaged_loop_goes_on(tmp_path: Path) -> None:
    path = cut(write(tmp_path / "x.flac", noise(3, 16_000)), 0.5)
    length = len(read_all(opened(path)))
    source = opened(path, loop=True)
    end = 0
    while end < 3 * length:
        chunk = source.read()
        assert chunk is not None
        assert chunk.first_sample == end
        end = chunk.end_sample
    assert source.warning is not None
    source.close()


def test_a_file_that_vanishes_in_a_loop_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", noise(0.15, 16_000))
    source = opened(path, loop=True)
    assert len(source.read().samples) + len(source.read().samples) == 2_400
    path.unlink()
    with pytest.raises(SoundError, match="No such file"):
        source.read()


def test_close_twice_and_open_again(tmp_path: Path) -> None:
    source = SoundFileSource(write(tmp_path / "x.wav", noise(0.3, 16_000)), realtime=False)
    source.close()
    for _ in range(2):
        source.open()
        source.read()
        source.close()
        source.close()
        with pytest.raises(EndOfSound):
            source.read()
    source.open()
    assert len(read_all(source)) == 4_800


def test_import_loads_no_audio_library() -> None:
    script = (
        "import sys, streamer.capture.files, streamer.capture.pipe, streamer.capture.resample\n"
        "import streamer.capture.microphone\n"
        "print([name for name in ('sounddevice', 'soundfile', 'soxr') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""`training record`: what is a take and what is not; from files, from a wayward source, from a microphone."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.audio import F32, SAMPLE_RATE_HZ, Chunk
from streamer.capture.source import EndOfSound
from streamer.errors import DeviceError
from tests.support import virtual_microphone
from tests.support.virtual_microphone import VirtualMicrophone
from training import record_sound
from training.cli import main
from training.data.sounds import I16
from training.data.spec import open_dataset
from training.record import Recorder, TakeShelf
from training.record_sound import heard
from training.record_takes import LONGEST_S, MARGIN_S, PIECE_S, PieceCutter, Take, TakeCutter

Part = tuple[float, float]
"""(length in seconds, level of a tone; 0: a pause)."""

missing = virtual_microphone.available()


def sound(*parts: Part, noise: float = 0.002, rate_hz: int = SAMPLE_RATE_HZ) -> F32:
    """Tones and pauses over faint noise."""
    rng, pieces = np.random.default_rng(4), []
    for length_s, level in parts:
        seconds = np.arange(int(length_s * rate_hz)) / rate_hz
        pieces.append(level * np.sin(2 * np.pi * 500 * seconds))
    whole = np.concatenate(pieces)
    return np.asarray(whole + noise * rng.standard_normal(len(whole)), np.float32)


def as_int16(samples: F32) -> I16:
    return np.asarray(samples * 32767, np.int16)


def cut(samples: F32) -> list[Take]:
    cutter = TakeCutter()
    return [*cutter.feed(as_int16(samples)), *cutter.end()]


@pytest.mark.parametrize("noise", [0.0, 0.0003, 0.003])
def test_what_stands_between_pauses_is_a_take(noise: float) -> None:
    takes = cut(sound((1, 0), (0.4, 0.3), (0.9, 0), (0.2, 0.1), (1.2, 0), (0.6, 0.2), (0.1, 0), noise=noise))
    assert [take.length_s for take in takes] == [pytest.approx(s, abs=0.04) for s in (0.4, 0.2, 0.6)]
    assert not any(take.fault or take.is_clipped for take in takes)
    for take in takes[:2]:
        assert len(take.samples) / SAMPLE_RATE_HZ == pytest.approx(take.length_s + 2 * MARGIN_S, abs=0.02)


def test_a_short_pause_belongs_to_the_take() -> None:
    (take,) = cut(sound((1, 0), (0.3, 0.3), (0.3, 0), (0.3, 0.3), (1, 0)))
    assert take.length_s == pytest.approx(0.9, abs=0.04)


def test_how_the_sound_arrives_changes_nothing(rng: np.random.Generator) -> None:
    parts = [(rng.uniform(0.6, 1.5), 0.0) if n % 2 else (rng.uniform(0.1, 0.8), 0.2) for n in range(13)]
    samples = as_int16(sound(*parts))
    whole = TakeCutter()
    expected = [*whole.feed(samples), *whole.end()]
    assert len(expected) == 7
    cutter, found, at = TakeCutter(), [], 0
    while at < len(samples):
        size = int(rng.integers(1, 9000))
        found += cutter.feed(samples[at : at + size])
        at += size
    found += cutter.end()
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)


def test_noise_clicks_and_talk_without_end_are_no_takes() -> None:
    assert cut(sound((8, 0), noise=0.05)) == []
    assert cut(sound((2, 0), (0.03, 0.3), (2, 0))) == []
    assert cut(sound((2, 0), (0.4, 0.01), (2, 0), noise=0.005)) == [], "a rustle"
    assert cut(np.zeros(50_000, np.float32)) == []
    long, good = cut(sound((1, 0), (LONGEST_S + 1, 0.3), (1, 0), (0.5, 0.3), (1, 0)))
    assert "without a pause" in long.fault
    assert not good.fault


def test_too_loud_is_told() -> None:
    (take,) = cut(np.clip(sound((1, 0), (0.4, 1.5), (1, 0)), -1, 1))
    assert take.is_clipped


def test_noise_is_kept_whole() -> None:
    cutter = PieceCutter()
    samples = as_int16(sound((25.5, 0)))
    pieces = [*cutter.feed(samples[:7]), *cutter.feed(samples[7:]), *cutter.end()]
    assert [piece.length_s for piece in pieces] == [PIECE_S, PIECE_S, pytest.approx(5.5)]
    np.testing.assert_array_equal(np.concatenate([piece.samples for piece in pieces]), samples)
    assert PieceCutter().end() == []


def record(*arguments: object) -> int:
    return main(["record", *map(str, arguments)])


WORDS: tuple[Part, ...] = ((1, 0), (0.4, 0.3), (1, 0), (0.5, 0.3), (1, 0))


def test_recordings_are_cut_into_a_folder_to_train_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, long = tmp_path / "recordings", tmp_path / "long.wav"
    stereo = np.repeat(sound(*WORDS, rate_hz=44_100)[:, None], 2, axis=1)
    soundfile.write(long, stereo, 44_100)
    assert record("Front door", "--out", out, "--speaker", "Anna", "--input", long) == 0
    told = capsys.readouterr()
    assert "2 takes recorded" in told.out
    assert re.search(r"^2: 0\.5\d s, anna-002\.flac$", told.err, re.MULTILINE)
    first = (out / "front_door" / "anna-001.flac").read_bytes()
    assert record("front_door", "--out", out, "--speaker", "anna", "--input", long, long) == 0
    assert (out / "front_door" / "anna-001.flac").read_bytes() == first, "nothing is overwritten"
    assert record("noise", "--out", out, "--speaker", "hall", "--input", long) == 0
    assert record("unknown", "--out", out, "--speaker", "emil", "--input", long) == 0
    clips = open_dataset(f"folders:{out}?kind=keyword&speaker=-").clips
    found = {(clip.kind, clip.label, clip.speaker) for clip in clips}
    assert found == {("keyword", "front_door", "anna"), ("noise", "", ""), ("keyword", "unknown", "emil")}
    assert sum(clip.label == "front_door" for clip in clips) == 6
    assert not list(out.rglob("*.new"))


@pytest.mark.parametrize(
    ("level", "advice"), [(0.0, "is the microphone muted?"), (0.003, "speak up or come nearer")]
)
def test_nothing_to_keep_is_one_line(
    tmp_path: Path, level: float, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", sound((3, 0), noise=level), SAMPLE_RATE_HZ)
    assert record("hello", "--out", tmp_path / "out", "--input", tmp_path / "a.wav") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("training: no take: nothing stood out; ")
    assert advice in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["a/b"], 1, "label 'a/b': must be"),
        (["hello", "--speaker", ".."], 1, "label '..': must be"),
        (["hello", "--input", "none.wav"], 6, "cannot read none.wav"),
        (["hello", "--device", "no such microphone"], 4, ""),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], status: int, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(*arguments, "--out", tmp_path / "out") == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"training: {reason}")
    assert "; " in line or ": must be" in line
    assert not (tmp_path / "out").exists()


class Script:
    """A live source at 8 kHz that gives what it is told to: chunks, None, errors."""

    live, rate_hz, description, lost_samples, overruns = True, 8_000, 'microphone "script"', 0, 0

    def __init__(self, *steps: Chunk | BaseException | None) -> None:
        self._steps: Iterator[Chunk | BaseException | None] = iter(steps)
        self.is_open, self.given = False, 0

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def read(self) -> Chunk | None:
        step = next(self._steps, EndOfSound())
        self.given += 1
        if isinstance(step, BaseException):
            raise step
        return step

    def fileno(self) -> None:
        return

    def next_due_s(self) -> float:
        return 0.0


def chunk(samples: F32, first_sample: int = 0) -> Chunk:
    return Chunk(samples, first_sample, 0.0)


def test_lost_sound_is_never_glued_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = sound((1, 0), (0.4, 0.3), (1, 0), (0.2, 0.3), rate_hz=8_000)
    two = sound((0.2, 0.3), (1, 0), (0.5, 0.3), (1, 0), rate_hz=8_000)
    recorder = Recorder(TakeShelf(tmp_path, "me"), 99)
    recorder.record(Script(chunk(one), None, chunk(two, len(one) + 50)), TakeCutter())
    told = capsys.readouterr().err
    assert "some sound was lost" in told
    lengths_s = [float(length) for length in re.findall(r"^\d+ of 99: (\S+) s", told, re.MULTILINE)]
    assert lengths_s == [pytest.approx(0.4, abs=0.04), pytest.approx(0.5, abs=0.04)]


def test_the_end_keeps_what_is_there(tmp_path: Path) -> None:
    source = Script(chunk(sound((1, 0), (0.4, 0.3), (0.4, 0), rate_hz=8_000)), *[None] * 3, RuntimeError())
    recorder = Recorder(TakeShelf(tmp_path, "me"), 99)
    recorder.is_over = lambda: source.given > 2
    recorder.record(source, TakeCutter())
    assert [path.name for path in tmp_path.iterdir()] == ["me-001.flac"]
    assert not source.is_open


def test_enough_is_enough(tmp_path: Path) -> None:
    samples = sound(*[part for _ in range(5) for part in ((1.0, 0.0), (0.4, 0.3))], rate_hz=8_000)
    recorder = Recorder(TakeShelf(tmp_path, "me"), 2)
    recorder.record(Script(chunk(samples), RuntimeError("read on")), TakeCutter())
    assert (recorder.taken, len(list(tmp_path.iterdir()))) == (2, 2)


def test_seconds_are_counted_and_the_first_click_is_left_out() -> None:
    click = np.zeros(8_000, np.float32)
    click[:100] = 1.0
    pieces = [
        piece
        for piece in heard(Script(*[chunk(click, 8_000 * n) for n in range(9)]), 2.5)
        if piece is not None
    ]
    samples = np.concatenate(pieces)
    assert 2.5 <= len(samples) / SAMPLE_RATE_HZ < 3.7
    assert np.abs(samples[: int(0.6 * SAMPLE_RATE_HZ)]).max() < 0.2


def test_a_microphone_that_falls_silent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_sound, "STALL_S", 0.05)
    with pytest.raises(DeviceError, match=r'microphone "script" has given no sound .* `streamer devices`'):
        list(heard(Script(*[None] * 100_000), 9.0))


@pytest.mark.virtmic
@pytest.mark.skipif(missing is not None, reason=str(missing))
def test_takes_from_a_microphone(tmp_path: Path) -> None:
    words = sound(*[part for _ in range(8) for part in ((0.9, 0.0), (0.5, 0.3))], rate_hz=48_000)
    soundfile.write(tmp_path / "words.wav", words, 48_000)
    command = [
        sys.executable,
        "-m",
        "training",
        "record",
        "hello",
        "--device",
        "virtmic",
        "--out",
        str(tmp_path),
    ]
    with (
        VirtualMicrophone(tmp_path) as server,
        subprocess.Popen(
            command,
            env=server.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stderr
        assert 'microphone "virtmic"' in process.stderr.readline()
        assert 'now "hello", 20 times' in process.stderr.readline()
        server.play(tmp_path / "words.wav", latency_ms=500)
        assert process.stderr.readline().startswith("1 of 20: 0.5")
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    kept = list((tmp_path / "hello").iterdir())
    assert f"{len(kept)} takes recorded" in told

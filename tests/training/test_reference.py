"""The reference run on small sounds: interrupted, gone on with, finished, and not done twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the trainer needs the `train` extra")

from streamer.inference.bundle import load_bundle
from tests.support.recordings import write_sound
from training.reference import is_newer, main
from training.train import checkpoint
from training.train.log import read
from training.train.loop import Run

HZ = {"low": 500.0, "high": 1500.0, "unknown": 3000.0}
STEPS = ["prepare", "train", "draft", "thresholds", "tuned", "report", "bundle", "check"]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """For two words that are tones."""
    for split in ("train", "dev"):
        for label, hz in HZ.items():
            for take in range(6):
                off = 1 + 0.01 * (take + (0.5 if split == "dev" else 0.0))
                sound = tmp_path / "data" / split / label / f"{take}.wav"
                write_sound(sound, hz * off, length_s=0.8, at=[(0.2, 0.5 + 0.02 * take)])
    data = f"folders:{tmp_path / 'data'}?kind=keyword"
    where = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "models" / "tones")]
    return ["--data", data, *where, "--version", "1.2", "--preset", "tiny", "--rounds", "20"]


def steps(told: str) -> dict[str, str]:
    """What was said of each step first."""
    found: dict[str, str] = {}
    for line in told.splitlines():
        if line.startswith("== "):
            name, _, rest = line[3:].partition(": ")
            if name in STEPS:
                found.setdefault(name, rest)
    return found


@pytest.mark.slow
def test_from_recordings_to_a_checked_bundle(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "cache" / "reference" / "tones" / "run"
    play_round = Run.play_round

    def interrupted(self: Run, *round_: object) -> float:
        if self.round == 5:
            signal.raise_signal(signal.SIGINT)
        return play_round(self, *round_)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Run, "play_round", interrupted)
        assert main(command) == 130
    told = capfd.readouterr().out
    assert list(steps(told)) == ["prepare", "train"]
    assert told.endswith("== stopped; the same command goes on from here\n")
    assert checkpoint.load(run)[1]["round"] == 6

    assert main(command) == 0
    told = capfd.readouterr().out
    assert list(steps(told)) == STEPS
    assert "--resume" in steps(told)["train"]
    assert all(f"== {name} took " in told for name in STEPS)
    assert [entry["round"] for entry in read(run)] == list(range(1, 21))
    bundle = load_bundle(tmp_path / "models" / "tones")
    assert set(bundle.label_names) == {"low", "high"}
    assert (bundle.manifest.name, bundle.manifest.version) == ("tones", "1.2")
    assert {"card", "report", "page", "onnx", "onnx-int8", "torch"} <= set(bundle.manifest.files)
    assert bundle.manifest.provenance.checkpoint.startswith("best.pt")
    assert "tones 1.2" in bundle.file("page").read_text()
    assert "onnx-int8: 0." in told

    assert main(command) == 0
    told = capfd.readouterr().out
    again = steps(told)
    assert [name for name in STEPS if again[name].endswith("is up to date")] == [
        "train",
        "draft",
        "thresholds",
        "tuned",
        "report",
    ]

    assert main([*command, "--rounds", "30"]) == 1
    assert "--rounds is another there" in capfd.readouterr().err


def test_data_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", f"folders:{tmp_path / 'none'}", "--cache", str(tmp_path / "cache")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_step_is_done_again_when_anything_that_it_was_made_of_is_newer(tmp_path: Path) -> None:
    made_of, product = [tmp_path / "a", tmp_path / "b"], tmp_path / "c"
    for path in made_of:
        path.touch()
    assert not is_newer(product, made_of)
    product.touch()
    assert is_newer(product, made_of)
    later = product.stat().st_mtime_ns + 10**9
    os.utime(made_of[1], ns=(later, later))
    assert not is_newer(product, made_of)

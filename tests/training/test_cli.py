"""The trainer's commands: help for each, errors in one line, and the whole way on a toy pack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.inference.bundle import load_bundle
from tests.support.recordings import write_sound
from training.cli import main

COMMANDS = ("datasets", "download", "record", "prepare", "train", "evaluate", "export", "compare", "report")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"example: python -m training {command}" in " ".join(capsys.readouterr().out.split())


def test_it_runs_as_a_module() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "training", "--help"], capture_output=True, text=True, check=True
    )
    assert all(command in answer.stdout for command in COMMANDS)


def test_a_missing_pack_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "--data", str(tmp_path), "--cache", str(tmp_path / "cache")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("training: ")
    assert "no reader given" in lines[0]


def test_data_of_any_layout_is_prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label, hz in (("yes", 440.0), ("no", 660.0)):
        for take in range(5):
            write_sound(tmp_path / "mine" / label / f"ann-{take}.wav", hz + take)
    write_sound(tmp_path / "more" / "up" / "bob-1.wav", 880.0)
    more = [
        "--data",
        f"folders:{tmp_path / 'mine'}?kind=keyword&split=train",
        f"folders:{tmp_path / 'more'}?kind=keyword&split=train",
    ]
    assert main(["prepare", *more, "--cache", str(tmp_path / "cache"), "--processes", "1"]) == 0
    told = capsys.readouterr()
    assert "11 clips, 0 unusable" in told.out
    assert "keywords: no, yes\n  other words and sounds: up (1 train recordings of 5)" in told.out
    assert "yes: no recording in the dev split" in told.err
    assert main(["datasets", *more[1:]]) == 0
    assert "up" in capsys.readouterr().out


def test_a_reader_that_has_heard_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        answer = subprocess.run(
            [sys.executable, "-m", "training", "datasets"],
            check=False,
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_missing_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="the trainer needs the `train` extra")
    assert main(["train", "--resume", "--run", str(tmp_path)]) == 1
    assert "no checkpoint there" in capsys.readouterr().err


def test_train_and_export_on_a_toy_pack(
    toy_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the trainer needs the `train` extra")
    cache, run = ["--cache", str(toy_cache)], str(tmp_path / "run")
    small = ["--streams", "2", "--hidden", "16", "--scene-s", "5"]
    assert main(["train", *cache, "--run", run, "--rounds", "1", *small]) == 0
    assert main(["export", *cache, run, "--out", str(tmp_path / "toy"), "--drop", "rain"]) == 0
    bundle = load_bundle(tmp_path / "toy")
    assert "rain" not in bundle.label_names
    assert bundle.manifest.provenance.command.startswith("python -m training train --rounds 1")
    assert str(tmp_path) not in (tmp_path / "toy" / "manifest.json").read_text()

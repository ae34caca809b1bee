"""`training datasets` and `training download`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from tests.support.recordings import write_sound, write_text
from training.data import command_datasets, command_download
from training.data.public import SETS
from training.data.spec import READERS


def datasets(*arguments: str) -> None:
    """Run `training datasets`."""
    parser = argparse.ArgumentParser()
    command_datasets.add_arguments(parser)
    command_datasets.run(parser.parse_args(arguments))


def test_everything_that_can_be_read_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    datasets()
    told = capsys.readouterr().out
    for reader in READERS.values():
        assert f"\n  {reader.name} " in told
        assert all(f"{option.name}=" in told for option in reader.options)
    assert all(name in told for name in SETS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Labels of two speakers, and a file that is no sound."""
    for number, name in enumerate(("anna_1", "anna_2", "emil_1")):
        write_sound(tmp_path / "yes" / f"{name}.wav", 400 + 50 * number, length_s=36.0)
    write_text(tmp_path / "yes/anna_3.wav", "not a sound")
    write_text(tmp_path / "yes/notes.txt", "mine")
    return tmp_path


def test_a_data_set_in_figures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datasets("--json", f"folders:{folder}?speaker=_&dev=10")
    figures = json.loads(capsys.readouterr().out)
    assert figures["recordings"] == 4
    assert figures["labels"] == {"yes": {"train": 3, "dev": 1, "test": 0}}
    assert figures["hours"] == {"train": 0.02, "dev": 0.01}
    assert figures["speakers"] == {"train": 1, "dev": 1}
    assert figures["left_out"] == {"not sound files": 1}
    ((path, reason),) = figures["faults"]
    assert path == "yes/anna_3.wav"
    assert "not a sound file" in reason


def test_a_data_set_in_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datasets(f"folders:{folder}?speaker=_&dev=10")
    told = capsys.readouterr().out
    assert "4 recordings (keyword 4); train 0.02 h, dev 0.01 h" in told
    assert "fault: yes/anna_3.wav: not a sound file" in told
    assert "left out: 1: not sound files" in told


def test_marks_are_counted_by_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sound(tmp_path / "a.wav")
    write_text(tmp_path / "a.txt", "0\t0.1\train", "0.1\t0.2\train", "0.1\t0.3\tmusic")
    datasets("--json", f"audacity:{tmp_path}?split=train")
    assert {label: n["train"] for label, n in json.loads(capsys.readouterr().out)["labels"].items()} == {
        "rain": 2,
        "music": 1,
    }


def test_a_set_that_is_already_there_is_told_how_to_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    command_download.add_arguments(parser)
    (tmp_path / "esc50").mkdir()
    command_download.run(parser.parse_args(["esc50", "--to", str(tmp_path)]))
    told = capsys.readouterr().out
    assert "CC BY-NC 3.0" in told
    assert f"read it as 'esc50:{tmp_path / 'esc50'}'" in told

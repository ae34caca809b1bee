"""From folders of recordings to what the daemon hears, in under a minute: prepare, train, export, run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="the trainer needs the `train` extra")

from streamer.cli import main as streamer
from streamer.inference.bundle import load_bundle
from tests.support.recordings import write_sound
from training.cli import main as training
from training.train.log import read

WORDS_HZ = {"yes": 500.0, "no": 1500.0}
OTHER_HZ = 3000.0
TAKES = 6
LENGTH_S = 0.8
WORD_S = 0.35


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Each word is a tone, a little different in every take."""
    folder = tmp_path / "recordings"
    for split in ("train", "dev"):
        for label, hz in {**WORDS_HZ, "unknown": OTHER_HZ}.items():
            for take in range(TAKES):
                off = 1 + 0.01 * (take + (0.5 if split == "dev" else 0.0))
                at = [(0.2, 0.5 + 0.02 * take)]
                write_sound(folder / split / label / f"{take}.wav", hz * off, length_s=LENGTH_S, at=at)
    return folder


def scene(path: Path) -> list[tuple[str, float]]:
    """Nine seconds of sound; (word, when it begins) of those in it that are to be heard."""
    spoken = [("yes", 1.0), ("no", 2.6), ("", 4.2), ("yes", 5.8), ("no", 7.4)]
    seconds = np.arange(9 * 16_000) / 16_000
    sound = 1e-4 * np.random.default_rng(3).standard_normal(len(seconds))
    for label, at_s in spoken:
        heard = (seconds >= at_s) & (seconds < at_s + WORD_S)
        sound[heard] += 0.3 * np.sin(2 * np.pi * 1.02 * WORDS_HZ.get(label, OTHER_HZ) * seconds[heard])
    soundfile.write(path, sound, 16_000)
    return [(label, at_s) for label, at_s in spoken if label]


@pytest.fixture
def made(recordings: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The run and its bundle."""
    cache, run, bundle = ["--cache", str(tmp_path / "cache")], tmp_path / "run", tmp_path / "tones"
    data = f"folders:{recordings}?kind=keyword"
    assert training(["prepare", *cache, "--data", data, "--processes", "1"]) == 0
    assert training(["train", *cache, "--preset", "tiny", "--run", str(run)]) == 0
    assert training(["export", *cache, str(run), "--out", str(bundle)]) == 0
    return run, bundle


def test_from_recordings_to_hits(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, bundle = made
    assert set(load_bundle(bundle).label_names) == set(WORDS_HZ)
    assert load_bundle(bundle).manifest.provenance.command == "python -m training train --preset tiny"
    judged = [entry["held_out_loss"] for entry in read(run) if "held_out_loss" in entry]
    assert judged[-1] < judged[0]

    spoken = scene(tmp_path / "scene.wav")
    capsys.readouterr()
    assert streamer(["replay", str(tmp_path / "scene.wav"), "--model", str(bundle)]) == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [hit["label"] for hit in hits] == [label for label, _ in spoken]
    for hit, (_, at_s) in zip(hits, spoken, strict=True):
        assert at_s < hit["detected_s"] < at_s + WORD_S + 0.5

    assert training(["train", "--resume", "--run", str(run), "--rounds", "99"]) == 1
    assert "--rounds is another there" in capsys.readouterr().err
    cache = ["--cache", str(tmp_path / "cache")]
    assert training(["train", "--resume", "--run", str(run), *cache]) == 0
    assert "best held-out loss" in capsys.readouterr().out

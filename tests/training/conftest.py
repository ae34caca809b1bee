"""A tiny audio pack made by numpy: tones for words, noise for sounds."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.audio import F32, SAMPLE_RATE_HZ
from training.data.pack import COLUMNS, read_pack
from training.data.prepare import prepare

Row = dict[str, str]


def tone(hz: float, before_s: float = 0.3, length_s: float = 0.4, after_s: float = 0.3) -> F32:
    """A tone between two silences."""
    seconds = np.arange(int(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    sound = 0.3 * np.sin(2 * np.pi * hz * seconds)
    quiet = [np.zeros(int(pause_s * SAMPLE_RATE_HZ)) for pause_s in (before_s, after_s)]
    return np.concatenate((quiet[0], sound, quiet[1])).astype(np.float32)


def row(path: str, **changes: str) -> Row:
    """A line of the manifest: a clip of `yes` unless told otherwise."""
    base = dict.fromkeys(COLUMNS, "")
    base.update(kind="keyword", label="yes", split="train", duration_s="1", collection="toy", licence="CC0")
    return {**base, "path": path, **changes}


class PackMaker:
    """Writes clips and manifest into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Row] = []

    def add(self, path: str, samples: F32 | None, rate_hz: int = SAMPLE_RATE_HZ, **changes: str) -> None:
        """One clip; without samples only its line."""
        self.rows.append(row(path, **changes))
        if samples is not None:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(self.folder / path, samples, rate_hz)

    def write(self, columns: tuple[str, ...] = COLUMNS) -> Path:
        """The manifest."""
        with (self.folder / "manifest.csv").open("w", newline="") as table:
            writer = csv.DictWriter(table, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)
        return self.folder


@pytest.fixture
def pack_maker(tmp_path: Path) -> PackMaker:
    """An empty pack."""
    (tmp_path / "pack").mkdir()
    return PackMaker(tmp_path / "pack")


@pytest.fixture(scope="session")
def toy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pack, prepared: two keywords, other words, one sound, speech, noise."""
    folder = tmp_path_factory.mktemp("toy")
    maker, rng = PackMaker(folder), np.random.default_rng(5)
    clips: list[tuple[str, Callable[[int], F32], dict[str, str]]] = [
        ("yes", lambda n: tone(500 + n), {}),
        ("no", lambda n: tone(1500 + n), {"label": "no"}),
        ("word", lambda n: tone(3000 + n), {"label": "house"}),
        (
            "rain",
            lambda n: (0.1 * rng.standard_normal(32_000)).astype(np.float32),
            {"kind": "event", "label": "rain"},
        ),
        ("talk", lambda n: tone(250 + n, length_s=1.5), {"kind": "speech", "label": ""}),
        (
            "hiss",
            lambda n: (0.01 * rng.standard_normal(32_000)).astype(np.float32),
            {"kind": "noise", "label": ""},
        ),
    ]
    for name, make, changes in clips:
        for number in range(3):
            split = "dev" if number == 2 else "train"
            maker.add(f"{name}/{number}.wav", make(10 * number), split=split, **changes)
    prepare(read_pack(maker.write()), folder / "cache", processes=1)
    return folder / "cache"

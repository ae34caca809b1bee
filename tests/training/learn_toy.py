"""Learns a toy task in as many processes as torchrun starts: python learn_toy.py FOLDER."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from training.augment.targets import YES
from training.label_files import default_labels
from training.train.feed import Rendered
from training.train.loop import Run
from training.train.place import find_place
from training.train.settings import TrainSettings

SETTINGS = TrainSettings(
    rounds=6,
    streams=4,
    scene_s=4.0,
    chunk_rows=33,
    hidden=16,
    front=16,
    warmup_steps=2,
    learning_rate=1e-2,
    dropout=0.0,
    feature_noise=0.0,
    half_precision=False,
    judge_every=3,
    labels=default_labels().only(("yes", "rain")),
)


def stream(round_number: int, number: int) -> Rendered:
    """Label 0 is on for 20 rows after a pulse in the first feature."""
    rng = np.random.default_rng((round_number, number))
    rows, codes = rng.standard_normal((399, 40)).astype(np.float32), np.zeros((133, 2), np.uint8)
    for pulse in rng.integers(0, 110, 3):
        rows[3 * pulse : 3 * pulse + 3, 0] += 5.0
        codes[pulse : pulse + 20, 0] = YES
    return rows, codes


def scenes(round_number: int, streams: range) -> Rendered:
    """Stacked."""
    parts = [stream(round_number, number) for number in streams]
    return np.stack([rows for rows, _ in parts]), np.stack([codes for _, codes in parts])


def learn(folder: Path, settings: TrainSettings = SETTINGS) -> None:
    """This process's share of the streams; a run that is there already goes on."""
    torch.set_num_threads(1)
    with find_place("cpu") as place:
        streams = place.streams(settings.streams)

        def rounds(first: int) -> Iterator[Rendered]:
            while True:
                yield scenes(first, streams)
                first += 1

        run = Run(settings, folder, place)
        if (folder / "latest.pt").exists():
            run.resume()
        held_out = [scenes(1000, range(4))] if place.leads else []
        run.train(rounds, held_out=held_out, report=lambda line: None)


def threads() -> list[str]:
    """Names of this process's threads, as far as the system tells them."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


if __name__ == "__main__":
    learn(Path(sys.argv[1]))
    # A thread that waits for other processes can abort this one when it ends: rarely, and then mysteriously.
    left = [name for name in threads() if "gloo" in name]
    sys.exit(f"left running: {left}" if left else 0)

"""Two processes under torchrun learn what one learns from the same streams."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the trainer needs the `train` extra")

import torch

from streamer.errors import StreamerError
from tests.training import learn_toy
from training.train import checkpoint
from training.train.feed import Feed
from training.train.log import read
from training.train.place import Place
from training.train.settings import TrainSettings

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_processes_lose_as_much_as_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    learn_toy.learn(one)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*torchrun, str(Path(learn_toy.__file__)), str(two)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr

    alone, shared = read(one), read(two)
    assert len(shared) == len(alone) == learn_toy.SETTINGS.rounds, "only one of the processes logs"
    for figure in ("loss", "held_out_loss"):
        expected = [entry[figure] for entry in alone if figure in entry]
        np.testing.assert_allclose(
            [e[figure] for e in shared if figure in e], expected, rtol=2e-2
        )  # rounding differs, and grows
    assert alone[-1]["loss"] < 0.9 * alone[0]["loss"], "nothing was learnt: the test would show nothing"
    assert checkpoint.load(one)[1]["state"][0].shape == checkpoint.load(two)[1]["state"][0].shape
    learn_toy.learn(two)  # one process can take over from two


def test_streams_are_shared_without_overlap() -> None:
    places = [Place(torch.device("cpu"), rank, 4) for rank in range(4)]
    streams = [stream for place in places for stream in place.streams(16)]
    assert streams == list(range(16))
    with pytest.raises(StreamerError, match="--streams 8"):
        places[0].streams(9)


def test_each_process_renders_its_own_streams(toy_cache: Path) -> None:
    settings = TrainSettings(streams=2, scene_s=3.0)
    with Feed(toy_cache, settings, workers=1) as both:
        rows, codes = next(both.rounds(5))
    for number in range(2):
        with Feed(toy_cache, settings, 1, range(number, number + 1)) as one:
            own_rows, own_codes = next(one.rounds(5))
        np.testing.assert_array_equal(own_rows, rows[number : number + 1])
        np.testing.assert_array_equal(own_codes, codes[number : number + 1])
    assert not np.array_equal(rows[0], rows[1])

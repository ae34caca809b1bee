"""The loop: it learns, it carries state, and it goes on exactly where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the trainer needs the `train` extra")

import torch

from streamer.errors import StreamerError
from training.augment.targets import NO, UNSURE, YES
from training.label_files import default_labels
from training.train import checkpoint
from training.train.feed import Feed, Rendered
from training.train.loop import LOG, Run
from training.train.loss import Average, frame_loss
from training.train.settings import TrainSettings

TOY = TrainSettings(
    rounds=4,
    streams=4,
    scene_s=4.0,
    chunk_rows=33,
    hidden=16,
    layers=1,
    front=16,
    warmup_steps=1,
    learning_rate=1e-2,
    feature_noise=0.0,
    half_precision=False,
    labels=default_labels().only(("yes", "rain")),
)


def toy_rounds(first: int) -> Iterator[Rendered]:
    """Label 0 is on 20 rows after a pulse in the first feature: only a carried state can know it."""
    number = first
    while True:
        rng = np.random.default_rng(number)
        rows = rng.standard_normal((4, 399, 40)).astype(np.float32) * 0.1
        codes = np.zeros((4, 133, 2), np.uint8)
        for stream in range(4):
            for pulse in rng.integers(0, 110, 3):
                rows[stream, 3 * pulse : 3 * pulse + 3, 0] += 5.0
                codes[stream, pulse : pulse + 20, 0] = YES
        yield rows, codes
        number += 1


def weights(run: Run) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in run.network.state_dict().items()}


def test_the_loss_falls_on_a_task_that_needs_memory(tmp_path: Path) -> None:
    import msgspec

    run = Run(msgspec.structs.replace(TOY, rounds=15), tmp_path)
    run.train(toy_rounds, save_every=1000, report=lambda line: None)
    losses = [json.loads(line)["loss"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert np.mean(losses[-3:]) < 0.6 * losses[0]


def test_state_goes_on_from_chunk_to_chunk_without_its_gradient(tmp_path: Path) -> None:
    run = Run(TOY, tmp_path)
    rows, codes = next(toy_rounds(0))
    before = run.state[0].clone()
    run.learn(torch.from_numpy(rows[:, :30]), torch.from_numpy(codes[:, :10]))
    assert not torch.equal(run.state[0], before)
    assert not run.state[0].requires_grad


def test_resume_gives_the_same_weights(tmp_path: Path) -> None:
    whole = Run(TOY, tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    whole.train(toy_rounds, report=lambda line: None)

    (tmp_path / "parts").mkdir()
    first = Run(TOY, tmp_path / "parts")
    stopped = Interrupted()
    with pytest.raises(Interrupted):
        first.train(lambda at: stopping(toy_rounds(at), 2, stopped), save_every=1, report=lambda line: None)
    second = Run(TOY, tmp_path / "parts")
    second.resume()
    assert second.round == 2
    second.train(toy_rounds, report=lambda line: None)

    for name, value in weights(whole).items():
        np.testing.assert_array_equal(value, weights(second)[name], err_msg=name)
    for name, average in whole.average.weights.items():
        assert torch.equal(average, second.average.weights[name]), name


class Interrupted(Exception):
    """Stands for a power cut."""


def stopping(rounds: Iterator[Rendered], after: int, error: Exception) -> Iterator[Rendered]:
    for _ in range(after):
        yield next(rounds)
    raise error


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    import msgspec

    Run(TOY, tmp_path).save()
    other = Run(msgspec.structs.replace(TOY, seed=9), tmp_path)
    with pytest.raises(StreamerError, match="other settings"):
        other.resume()


def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StreamerError, match="no checkpoint there"):
        checkpoint.load(tmp_path)
    (tmp_path / checkpoint.LATEST).write_bytes(b"nonsense")
    with pytest.raises(StreamerError, match="not a checkpoint"):
        checkpoint.load(tmp_path)


def test_unsure_rows_cost_nothing_and_wrong_ones_do() -> None:
    logits = torch.tensor([[[4.0], [4.0], [-4.0]]])
    one = torch.ones(1)
    unsure = torch.full((1, 3, 1), UNSURE, dtype=torch.uint8)
    assert frame_loss(logits, unsure, 1.0, one).item() == 0.0
    right = torch.tensor([[[YES], [YES], [NO]]], dtype=torch.uint8)
    assert frame_loss(logits, right, 1.0, one) < frame_loss(-logits, right, 1.0, one)
    assert frame_loss(logits, right, 1.0, 2 * one).item() == pytest.approx(
        2 * frame_loss(logits, right, 1.0, one).item()
    )


def test_a_sure_false_alarm_costs_more_the_surer_it_is_and_hits_cost_the_same() -> None:
    codes, weights = torch.full((1, 1, 1), NO), torch.ones(1)

    def ratio(logit: float, code: int) -> float:
        logits, wanted = torch.full((1, 1, 1), logit), torch.full_like(codes, code)
        return float(frame_loss(logits, wanted, 1.0, weights, 2.0) / frame_loss(logits, wanted, 1.0, weights))

    assert ratio(-6.0, NO) == pytest.approx(1.0, abs=0.01)
    assert ratio(0.0, NO) == pytest.approx(1.5)
    assert ratio(6.0, NO) == pytest.approx(3.0, abs=0.05)
    assert ratio(6.0, YES) == ratio(-6.0, YES) == 1.0


def test_the_average_follows_the_weights() -> None:
    network = torch.nn.Linear(1, 1)
    average = Average(network, decay=0.9)
    with torch.no_grad():
        network.weight.fill_(3.0)
    for _ in range(200):
        average.update(network)
    assert average.weights["weight"].item() == pytest.approx(3.0, abs=0.01)


def test_real_scenes_train_and_log(toy_cache: Path, tmp_path: Path) -> None:
    settings = TrainSettings(rounds=2, streams=2, scene_s=4.0, hidden=16, front=16, chunk_rows=40)
    with Feed(toy_cache, settings, workers=1) as feed:
        Run(settings, tmp_path).train(feed.rounds, report=lambda line: None)
    entries = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [entry["round"] for entry in entries] == [1, 2]
    assert all(np.isfinite(entry["loss"]) for entry in entries)
    assert checkpoint.load(tmp_path)[0] == settings

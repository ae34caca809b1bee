"""Held-out scenes, early stopping, interruptions: what is kept, and that going on changes nothing."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="the trainer needs the `train` extra")

import torch

from streamer.errors import MissingExtra, StreamerError
from training.augment.targets import YES
from training.label_files import default_labels
from training.train import checkpoint
from training.train.board import Board
from training.train.curves import CURVES
from training.train.feed import Rendered
from training.train.held_out import Patience, has_labels
from training.train.log import read
from training.train.loop import Run
from training.train.place import find_place, takes_bfloat16
from training.train.settings import PRESETS, TrainSettings, preset

# All that is random is in use: dropout needs two layers.
TOY = TrainSettings(
    rounds=5,
    streams=4,
    scene_s=4.0,
    chunk_rows=33,
    hidden=16,
    front=16,
    warmup_steps=2,
    dropout=0.3,
    judge_every=2,
    labels=default_labels().only(("yes", "rain")),
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Two threads wait for each other longer than they learn, with networks as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quiet(line: str) -> None:
    """Nobody listens."""


def noise(number: int, streams: int = 4) -> Rendered:
    rng = np.random.default_rng(number)
    rows = rng.standard_normal((streams, 399, 40)).astype(np.float32)
    return rows, (YES * (rng.random((streams, 133, 2)) < 0.1)).astype(np.uint8)


def rounds(first: int) -> Iterator[Rendered]:
    while True:
        yield noise(first)
        first += 1


def interrupted(at: int, how: Callable[[], Any]) -> Callable[[int], Iterator[Rendered]]:
    def play(first: int) -> Iterator[Rendered]:
        for number, scenes in enumerate(rounds(first), first):
            if number == at:
                how()
            yield scenes

    return play


def train(folder: Path, settings: TrainSettings = TOY, **more: Any) -> Run:
    """A whole run with held-out scenes."""
    run = Run(settings, folder)
    run.train(more.pop("source", rounds), held_out=[noise(1000)], report=quiet, save_every=1, **more)
    return run


def contents(path: Path) -> dict[str, Any]:
    """A checkpoint without the clock."""
    return {name: value for name, value in checkpoint.load(path)[1].items() if name != "seconds"}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return folder


class PowerCutError(Exception):
    """Stands for one."""


def power_cut() -> None:
    """Ends the run without a chance to save."""
    raise PowerCutError


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("how", [power_cut, lambda: signal.raise_signal(signal.SIGINT)])
def test_a_run_resumed_after_any_round_ends_the_same(
    at: int, how: Callable[[], Any], whole: Path, tmp_path: Path
) -> None:
    with pytest.raises((PowerCutError, KeyboardInterrupt)):
        train(tmp_path, source=interrupted(at, how))
    torch.manual_seed(99)  # another process would not have gone on with our random numbers either
    again = Run(TOY, tmp_path)
    again.resume()
    assert 0 < again.round < TOY.rounds or at == 4
    again.train(rounds, held_out=[noise(1000)], report=quiet, save_every=1)
    for name in (checkpoint.LATEST, checkpoint.BEST):
        one, other = contents(whole / name), contents(tmp_path / name)
        for part in one:
            assert same(one[part], other[part]), f"{name}: {part}"
    assert [entry["loss"] for entry in read(whole)] == [entry["loss"] for entry in read(tmp_path)]


def test_rounds_that_are_played_again_are_logged_once(tmp_path: Path) -> None:
    run = Run(TOY, tmp_path)
    with pytest.raises(PowerCutError):
        run.train(interrupted(4, power_cut), report=quiet, save_every=3)
    again = Run(TOY, tmp_path)
    again.resume()
    assert again.round == 3
    again.train(rounds, report=quiet)
    assert [entry["round"] for entry in read(tmp_path)] == [1, 2, 3, 4, 5]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    run = Run(TOY, tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run.train(interrupted(1, lambda: signal.raise_signal(signal.SIGINT)), report=said.append)
    assert checkpoint.load(tmp_path)[1]["round"] == 2
    assert said[-1] == "saved after round 2"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_write_that_fails_leaves_the_checkpoint_as_it_was(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path)

    def full_disk(content: object, file: Any) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        run.save()
    assert same(contents(tmp_path), contents(whole))


def test_patience_counts_judgements_without_gain() -> None:
    patience = Patience(2)
    assert [patience.take(loss, n) for n, loss in enumerate((3.0, 2.0, 2.5, 1.0, 1.5), 1)] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert not patience.is_over
    patience.take(1.0, 6)  # as good is no gain
    assert patience.is_over
    assert (patience.best_loss, patience.best_round) == (1.0, 4)
    endless = Patience(0, best_loss=0.0, without_gain=1000)
    assert not endless.is_over


@pytest.mark.parametrize(("limit", "ends_at"), [(2, 6), (0, 12)])
def test_a_network_that_only_gets_worse_is_stopped(limit: int, ends_at: int, tmp_path: Path) -> None:
    # Learns that label 0 is always on, is judged where it is never on.
    settings = msgspec.structs.replace(TOY, rounds=12, patience=limit, average_decay=0.1)

    def always(first: int) -> Iterator[Rendered]:
        for rows, codes in rounds(first):
            codes[..., 0] = YES
            yield rows, codes

    never = noise(1000)[0], np.zeros((4, 133, 2), np.uint8)
    run = Run(settings, tmp_path)
    said: list[str] = []
    run.train(always, held_out=[never], report=said.append)
    assert run.round == ends_at
    judged = {e["round"]: e["held_out_loss"] for e in read(tmp_path) if "held_out_loss" in e}
    assert list(judged) == list(range(2, ends_at + 1, 2))
    assert min(judged, key=lambda number: judged[number]) == 2
    assert checkpoint.load(tmp_path / checkpoint.BEST)[1]["round"] == 2
    assert any("stopped early" in line for line in said) == (limit > 0)
    assert str(tmp_path / checkpoint.BEST) in said[-1]

    again = Run(settings, tmp_path)
    again.resume()
    again.train(always, held_out=[never], report=quiet)
    assert again.round == ends_at, "what is over stays over"


def test_judging_changes_nothing_in_training(whole: Path, tmp_path: Path) -> None:
    run = Run(TOY, tmp_path)
    run.train(rounds, report=quiet)
    for name in ("network", "average", "optimiser", "state", "randoms"):
        assert same(contents(whole)[name], contents(tmp_path)[name]), name


def test_a_checkpoint_from_before_there_was_patience_can_be_resumed(whole: Path, tmp_path: Path) -> None:
    content = torch.load(whole / checkpoint.LATEST, weights_only=True)
    content["random"] = content.pop("randoms")[0]["cpu"]
    settings = json.loads(content["settings"])
    for name in ("patience", "judge_every", "held_out_scenes", "preset"):
        del settings[name]
    del content["patience"]
    torch.save({**content, "settings": json.dumps(settings)}, tmp_path / checkpoint.LATEST)
    loaded, _ = checkpoint.load(tmp_path)
    run = Run(loaded, tmp_path)
    run.resume()
    assert run.round == TOY.rounds
    assert torch.equal(torch.get_rng_state(), content["random"])


def test_the_curves_are_a_picture(whole: Path) -> None:
    from xml.etree import ElementTree

    tree = ElementTree.parse(whole / CURVES)
    words = {node.text for node in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert {"loss in training", "loss on held-out scenes", "learning rate", "hours of sound"} <= words
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}polyline"))) == 3


def test_tensorboard_gets_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path / "board")

        def add_scalar(self, name: str, value: float, at: int) -> None:
            told.append((name, value, at))

        def close(self) -> None:
            told.append(("closed", 0.0, 0))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    with Board(tmp_path / "board") as board:
        train(tmp_path, watch=board.write)
    losses = [(entry["round"], entry["loss"]) for entry in read(tmp_path)]
    assert [(at, value) for name, value, at in told if name == "loss"] == losses
    assert [at for name, _, at in told if name == "held_out_loss"] == [2, 4, 5]
    assert told[-1][0] == "closed"


def test_tensorboard_itself_reads_what_was_written(tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs the `board` extra"
    )
    with Board(tmp_path) as board:
        for number, loss in ((1, 0.5), (2, 0.25)):
            board.write({"round": number, "loss": loss, "learning_rate": 1e-3, "sound_hours": 0.1 * number})
    written = reader.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in written.Scalars("loss")] == [(1, 0.5), (2, 0.25)]
    assert set(written.Tags()["scalars"]) == {"loss", "learning_rate", "sound_hours"}


def test_without_tensorboard_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'streamer\[board\]'"):
        Board(tmp_path)
    Board(None).write({"round": 1, "loss": 1.0})


def test_no_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StreamerError, match="--device cpu"), find_place("cuda"):
        pass
    with find_place("auto") as place:
        assert place.device.type == "cpu"


@pytest.mark.parametrize("half", [True, False])
def test_weights_and_state_stay_float32_in_either_precision(half: bool, tmp_path: Path) -> None:
    run = Run(msgspec.structs.replace(TOY, half_precision=half, dropout=0.0), tmp_path)
    seen: list[torch.dtype] = []
    run.network.head.register_forward_hook(lambda module, given, logits: seen.append(logits.dtype))
    loss = run.play_round(*noise(0))
    assert np.isfinite(loss)
    assert set(seen) == {torch.bfloat16 if half else torch.float32}
    tensors = [*run.network.state_dict().values(), *run.average.weights.values(), *run.state]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


def test_no_recurrent_layer_is_left_to_float16() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    recurrent, convolution = torch.nn.LSTM(4, 4), torch.nn.Conv1d(4, 4, 1)
    assert takes_bfloat16(recurrent, cpu)
    assert takes_bfloat16(convolution, gpu)
    assert not takes_bfloat16(torch.nn.Sequential(convolution, recurrent), gpu)


def test_a_preset_is_named_in_the_command_that_repeats_it() -> None:
    assert preset("reference") == TrainSettings()
    assert preset("tiny").command == "python -m training train --preset tiny"
    assert set(PRESETS["tiny"]) <= set(TrainSettings.__struct_fields__)
    changed = msgspec.structs.replace(preset("tiny"), hidden=8, half_precision=False)
    assert changed.command == "python -m training train --preset tiny --hidden 8 --precision float32"


def test_a_dev_split_without_labels_is_found_out(toy_cache: Path) -> None:
    assert has_labels(toy_cache, "dev")
    assert not has_labels(toy_cache, "test")

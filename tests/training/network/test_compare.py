"""`compare` on toy rounds: equal cost, equal data, one table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the trainer needs the `train` extra")
pytest.importorskip("onnx", reason="graphs are written with onnx")

import msgspec

from training.augment.targets import NO, UNSURE, YES
from training.compare import Outcome, as_text, compare, plan
from training.export.export import Wanted, export
from training.label_files import default_labels
from training.network.quality import mean_average_precision
from training.network.specs import FAMILIES
from training.train import checkpoint
from training.train.feed import Rendered
from training.train.settings import TrainSettings

TOY = TrainSettings(
    rounds=12,
    streams=4,
    scene_s=3.0,
    chunk_rows=25,
    warmup_steps=1,
    learning_rate=1e-2,
    half_precision=False,
    dropout=0.15,
    feature_noise=0.1,
    average_decay=0.9,
    labels=default_labels().only(("yes", "rain")),
)
WANTED_COST = 4e5


def toy_rounds(first: int) -> Iterator[Rendered]:
    """`yes` is on while the first feature is high, `rain` for ten rows after the second one was."""
    number = first
    while True:
        rng = np.random.default_rng(number)
        rows = rng.normal(0, 0.1, (4, 300, 40)).astype(np.float32)
        codes = np.full((4, 100, 2), NO, np.uint8)
        for stream in range(4):
            for at in rng.integers(0, 80, 3):
                rows[stream, 3 * at : 3 * at + 15, 0] += 2
                codes[stream, at : at + 5, 0] = YES
                rows[stream, 3 * at + 9 : 3 * at + 12, 1] += 2
                codes[stream, at + 4 : at + 14, 1] = YES
        number += 1
        yield rows, codes


def run(families: list[str], folder: Path, said: list[str] | None = None) -> dict[str, Outcome]:
    held_out = next(toy_rounds(1000))
    plans = plan(families, TOY, WANTED_COST)
    outcomes = compare(plans, toy_rounds, [held_out], folder, (said if said is not None else []).append)
    return {outcome.network: outcome for outcome in outcomes}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Outcome], Path, list[str]]:
    folder, said = tmp_path_factory.mktemp("compare"), list[str]()
    return run(list(FAMILIES), folder, said), folder, said


def test_every_family_learns_at_equal_cost(outcomes: tuple[dict[str, Outcome], Path, list[str]]) -> None:
    found, _, said = outcomes
    assert list(found) == sorted(FAMILIES, key=lambda family: found[family].frame_loss)
    for family, outcome in found.items():
        assert outcome.multiply_adds_per_frame * 100 == pytest.approx(WANTED_COST, rel=0.15), family
        assert outcome.precision > 0.5, f"{family}: {outcome}"
        assert outcome.parameters > 1000
        assert (outcome.microseconds_per_frame is None) == (family == "bidirectional")
    assert len(said) == len(FAMILIES) * TOY.rounds


def test_the_table_has_a_line_for_each(outcomes: tuple[dict[str, Outcome], Path, list[str]]) -> None:
    *lines, legend = as_text(list(outcomes[0].values())).splitlines()
    assert "10 ms frame" in legend
    assert len({len(line) for line in lines}) == 1, "columns must line up"
    assert [line.split()[0] for line in lines[1:]] == list(outcomes[0])
    assert "offline" in next(line for line in lines if line.startswith("bidirectional"))


@pytest.mark.parametrize("family", ["gru", "conv"])
def test_what_was_compared_can_be_exported(
    outcomes: tuple[dict[str, Outcome], Path, list[str]], tmp_path: Path, family: str
) -> None:
    settings, _ = checkpoint.load(outcomes[1] / family)
    assert settings.network.type == family
    wanted = Wanted(name="toy", version="1", description="a toy")
    differences = export(outcomes[1] / family, tmp_path / "bundle", wanted)
    assert differences["onnx"] < 1e-4


def test_a_network_does_as_well_in_other_company(
    outcomes: tuple[dict[str, Outcome], Path, list[str]], tmp_path: Path
) -> None:
    alone = run(["gru"], tmp_path)["gru"]
    assert alone.frame_loss == pytest.approx(outcomes[0]["gru"].frame_loss, rel=1e-6)


def test_plans_differ_in_nothing_but_the_network() -> None:
    plans = plan(["lstm", "conv", "lstm"], TOY, WANTED_COST)
    assert [settings.family for settings in plans] == ["lstm", "conv"]
    for settings in plans:
        same = msgspec.structs.replace(
            settings, family=TOY.family, hidden=TOY.hidden, front=TOY.front, layers=TOY.layers
        )
        assert same == TOY
    default = TrainSettings()
    assert plan(["lstm"], default) == [default]


def test_average_precision_of_known_ranks() -> None:
    codes = np.array([[YES, NO], [NO, NO], [YES, NO], [UNSURE, NO]], np.uint8)[None]
    logits = np.array([[3.0, 0], [2, 0], [1, 0], [9, 0]], np.float32)[None]
    assert mean_average_precision(logits, codes) == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(mean_average_precision(logits, np.zeros_like(codes)))


def test_the_command(toy_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training.cli import main

    table = tmp_path / "table.json"
    small = [
        "--networks",
        "lstm",
        "conv",
        "--cost=0.5",
        "--rounds=1",
        "--streams=2",
        "--scene-s=4",
        "--scenes=2",
    ]
    assert main(["compare", "--cache", str(toy_cache), *small, "--json", str(table)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == {"network", "lstm", "conv", "mult-adds"}
    assert {entry["network"] for entry in json.loads(table.read_text())} == {"lstm", "conv"}

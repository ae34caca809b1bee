"""`training compare`: networks of equal cost learn from the same scenes, and one table says how they did."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from training.label_files import cached_labels
from training.network.cost import FRAMES_PER_S, at_cost, cost
from training.network.specs import FAMILIES, NotForTheDaemon
from training.train.held_out import held_out_scenes
from training.train.settings import TrainSettings

if TYPE_CHECKING:
    from training.train.feed import Rendered
    from training.train.loop import Rounds, Run

NAME = "compare"
HELP = "train several networks of equal cost on the same scenes and print one table"
EXAMPLE = "compare --networks lstm gru conv --rounds 100"

DEEP = {"conv": 8, "attention": 3}
"""Layers of the families for which the settings' two are too few."""
HOP_FRAMES = 8
"""The daemon's usual step, 80 ms."""
CALLS = 200

TITLES = ("network", "layers", "hidden", "parameters", "mult-adds", "us", "loss", "precision", "minutes")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of the table."""

    network: str
    hidden: int
    layers: int
    parameters: int
    multiply_adds_per_frame: float
    microseconds_per_frame: float | None
    """Of one stream at the daemon's usual step, through onnxruntime; None: the daemon cannot run it."""
    frame_loss: float
    precision: float
    minutes: float
    """Of learning alone."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of compare."""
    names, add = list(FAMILIES), parser.add_argument
    add("--networks", nargs="+", choices=names, default=names[:-1], metavar="NAME", help=", ".join(names))
    add(
        "--cost",
        type=float,
        metavar="M",
        help="million multiply-adds a second of sound (default: the LSTM's)",
    )
    add("--rounds", type=int, default=100, help="of training for each (default: %(default)s)")
    add("--streams", type=int, default=16, help="scenes side by side (default: %(default)s)")
    add("--scene-s", type=float, default=60.0, help="length of a scene (default: %(default)s)")
    add("--scenes", type=int, default=32, help="held-out scenes (default: %(default)s)")
    add("--seed", type=int, default=1)
    add("--workers", type=int, default=1, help="processes that render scenes (default: %(default)s)")
    add("--threads", type=int, default=1, help="threads that learn (default: %(default)s)")
    add("--out", type=Path, help="keep the checkpoints in this folder, for `export`")
    add("--json", type=Path, metavar="FILE", help="write the table as JSON, too")


def run(options: argparse.Namespace) -> None:
    """Render, train, judge, print."""
    import torch

    from training.train.feed import Feed

    torch.set_num_threads(options.threads)
    base = _settings(options)
    plans = plan(options.networks, base, 1e6 * options.cost if options.cost else None)
    scenes = held_out_scenes(options.cache, base, options.scenes)
    with Feed(options.cache, base, options.workers) as feed, tempfile.TemporaryDirectory() as aside:
        outcomes = compare(plans, feed.rounds, scenes, options.out or Path(aside), _say)
    print(as_text(outcomes))
    if options.json:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _settings(options: argparse.Namespace) -> TrainSettings:
    """The reference run's, shortened; its easy part by as much."""
    long = TrainSettings()
    return TrainSettings(
        rounds=options.rounds,
        easy_rounds=max(1, long.easy_rounds * options.rounds // long.rounds),
        streams=options.streams,
        scene_s=options.scene_s,
        seed=options.seed,
        labels=cached_labels(options.cache),
    )


def plan(
    networks: Sequence[str], base: TrainSettings, multiply_adds_per_s: float | None = None
) -> list[TrainSettings]:
    """The same settings for each family, as wide as this cost allows; None: what the settings cost."""
    wanted, plans = multiply_adds_per_s or cost(base.network).multiply_adds_per_s, []
    for family in dict.fromkeys(networks):
        # A width that every family can share out among heads; only its proportion to `front` matters.
        layers, wide = DEEP.get(family, base.layers), {"hidden": 8 * base.hidden, "front": 8 * base.front}
        rough = msgspec.structs.replace(base, family=family, layers=layers, **wide)
        spec = at_cost(rough.network, wanted)
        front = getattr(spec, "front", base.front)
        plans.append(msgspec.structs.replace(rough, hidden=spec.hidden, front=front))
    return plans


def compare(
    plans: Sequence[TrainSettings],
    rounds: Rounds,
    scenes: Sequence[Rendered],
    folder: Path,
    report: Callable[[str], None],
) -> list[Outcome]:
    """Train all of them side by side, so that each round is rendered once; best loss first."""
    from training.train.loop import Run

    runs = [Run(settings, folder / settings.family) for settings in plans]
    for run, loss in _train(runs, rounds):
        report(f"round {run.round}/{run.settings.rounds}  {run.settings.family}  loss {loss:.4f}")
    for run in runs:
        run.save()
    return sorted((_outcome(run, scenes) for run in runs), key=lambda outcome: outcome.frame_loss)


def _train(runs: Sequence[Run], rounds: Rounds) -> Iterator[tuple[Run, float]]:
    import torch

    # Each network draws random numbers of its own: its result does not depend on its company.
    random = [torch.Generator().manual_seed(run.settings.seed).get_state() for run in runs]
    source = rounds(0)
    for _ in range(runs[0].settings.rounds):
        rows, codes = next(source)
        for number, run in enumerate(runs):
            begun = time.monotonic()
            torch.set_rng_state(random[number])
            run.network.train()
            loss = run.play_round(rows, codes)
            random[number] = torch.get_rng_state()
            run.seconds += time.monotonic() - begun
            yield run, loss


def _outcome(run: Run, scenes: Sequence[Rendered]) -> Outcome:
    from training.network.quality import judge

    spec = run.settings.network
    run.network.load_state_dict(run.average.weights)
    quality = judge(run.network, scenes, run.settings.chunk_rows)
    price = cost(spec)
    return Outcome(
        network=spec.type,
        hidden=spec.hidden,
        layers=spec.layers,
        parameters=price.parameters,
        multiply_adds_per_frame=price.multiply_adds_per_s / FRAMES_PER_S,
        microseconds_per_frame=_microseconds(run),
        frame_loss=quality.frame_loss,
        precision=quality.precision,
        minutes=run.seconds / 60,
    )


def _microseconds(run: Run) -> float | None:
    import numpy as np

    from streamer.inference.bundle import load_bundle
    from streamer.inference.model import open_classifier

    with tempfile.TemporaryDirectory() as folder:
        try:
            _write(run, Path(folder) / "timed")
        except NotForTheDaemon:
            return None
        classifier = open_classifier(load_bundle(Path(folder) / "timed"))
    frames = max(1, round(HOP_FRAMES / classifier.stride)) * classifier.stride
    rows = np.zeros((1, frames, classifier.n_features), np.float32)
    state, taken_s = classifier.initial_state(), []
    for _ in range(CALLS):
        begun = time.perf_counter()
        _, state = classifier.step(rows, state)
        taken_s.append(time.perf_counter() - begun)
    return 1e6 * float(np.median(taken_s)) / frames


def _write(run: Run, folder: Path) -> None:
    from streamer.inference.bundle import Provenance
    from training.export.bundle_writer import write_bundle
    from training.export.onnx_graph import network_graph, network_state
    from training.network.specs import streaming

    settings = run.settings
    weights = {name: value.numpy() for name, value in run.average.weights.items()}
    write_bundle(
        folder,
        name="timed",
        version="0",
        description="",
        labels=[settings.labels.rule(label) for label in settings.labels.names],
        features=settings.features,
        network=streaming(settings.network),
        state=network_state(settings.network),
        files={"onnx": ("model.onnx", network_graph(settings.network, weights).SerializeToString())},
        provenance=Provenance(data=[], licences=[], git_revision="", trained_utc="", command=""),
        metrics={},
    )


def as_text(outcomes: Sequence[Outcome]) -> str:
    """The table for people."""
    lines = [_line(TITLES), *(_line(_cells(outcome)) for outcome in outcomes)]
    return "\n".join([*lines, "mult-adds and us (onnxruntime, one stream) are those of a 10 ms frame"])


def _cells(outcome: Outcome) -> tuple[str, ...]:
    us = outcome.microseconds_per_frame
    return (
        outcome.network,
        str(outcome.layers),
        str(outcome.hidden),
        f"{outcome.parameters:,}",
        f"{outcome.multiply_adds_per_frame:,.0f}",
        "offline" if us is None else f"{us:.1f}",
        f"{outcome.frame_loss:.4f}",
        f"{outcome.precision:.3f}",
        f"{outcome.minutes:.1f}",
    )


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:<14}" + "".join(f"{cell:>12}" for cell in cells[1:])

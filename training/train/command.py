"""`training train`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from streamer.errors import StreamerError
from training.label_files import cached_labels
from training.train.settings import OPTIONS, PRESETS, TrainSettings, preset

if TYPE_CHECKING:
    from training.train.board import Board
    from training.train.feed import Feed, Rendered
    from training.train.log import Entry
    from training.train.loop import Run
    from training.train.place import Place

NAME = "train"
HELP = "train on endless streams put together from the prepared clips"
EXAMPLE = "train --run .cache/training/run --rounds 700"

GROUPS = {
    "the loop": ("rounds", "streams", "learning_rate", "clip_norm", "seed"),
    "the scenes": ("scene_s", "easy_rounds", "kept_hours", "rooms"),
    "the network": ("family", "hidden", "layers", "dropout"),
    "class balance": ("positive_weight", "hard_negative_weight", "keyword_weight"),
    "when to stop": ("patience", "judge_every", "held_out_scenes"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of train."""
    add = parser.add_argument
    add(
        "--run",
        type=Path,
        dest="folder",
        default=Path(".cache/training/run"),
        help="log, curves and checkpoints go into this folder (default: %(default)s)",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="go on from the run's checkpoint, as if it had never stopped"
    )
    again.add_argument(
        "--overwrite", action="store_true", help="begin anew where another run is: its files are removed"
    )
    add(
        "--begin-from",
        type=Path,
        metavar="RUN",
        help="begin with another run's averaged weights, the best ones if it kept them",
    )
    add(
        "--preset",
        choices=list(PRESETS),
        default="reference",
        help="what the options below begin with; tiny is for tests (default: %(default)s)",
    )
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            _add_setting(group, name)
    where = parser.add_argument_group("where it learns")
    where.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if any")
    where.add_argument(
        "--precision",
        choices=("bf16", "float32"),
        help="of products, but for recurrent layers on a GPU; the rest is always float32 (default: bf16)",
    )
    where.add_argument("--workers", type=int, default=1, help="processes that render scenes (default: 1)")
    where.add_argument("--threads", type=int, default=1, help="threads that learn (default: 1)")
    where.add_argument(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="write the log for TensorBoard there, too: needs `pip install 'streamer[board]'`",
    )


def _add_setting(group: Any, name: str) -> None:
    default = getattr(TrainSettings(), name)
    group.add_argument(
        f"--{name.replace('_', '-')}",
        type=type(default),
        metavar="NAME" if isinstance(default, str) else "N",
        help=f"{OPTIONS[name]} (default: {default})",
    )


def run(options: argparse.Namespace) -> None:
    """Train until the rounds are done, nothing is gained any more, or somebody interrupts."""
    import torch

    from training.train.board import Board
    from training.train.feed import Feed
    from training.train.loop import Run
    from training.train.place import find_place

    if not (options.resume or options.overwrite):
        _check_free(options.folder)
    torch.set_num_threads(options.threads)
    settings = settings_of(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    with find_place(options.device) as place:
        this = Run(settings, options.folder, place)
        if options.resume:
            this.resume()
        elif options.begin_from:
            this.begin_from(options.begin_from)
        with (
            Board(options.tensorboard if place.leads else None) as board,
            Feed(options.cache, settings, options.workers, place.streams(settings.streams)) as feed,
        ):
            held_out = _held_out(options.cache, settings, place)
            if place.leads:
                _train(this, options, feed, held_out, board)
            else:
                this.train(feed.rounds, report=_say_nothing)


def _check_free(folder: Path) -> None:
    """Hours of training are not lost by a forgotten option."""
    from training.train.checkpoint import rounds_done

    done = rounds_done(folder)
    if done is not None:
        raise StreamerError(
            f"{folder}: holds a run already, of {done} rounds",
            "go on with it: --resume; begin anew in its place: --overwrite; or name another folder: --run",
        )


def _train(
    this: Run, options: argparse.Namespace, feed: Feed, held_out: list[Rendered], board: Board
) -> None:
    """As the process that leads, which shows what is going on."""
    from training.train import checkpoint
    from training.train.progress import Progress

    if options.overwrite:
        checkpoint.clear(options.folder)

    def watch(entry: Entry) -> None:
        board.write(entry)
        progress.show(entry)

    with Progress(this.settings.rounds, this.round) as progress:
        try:
            this.train(feed.rounds, held_out=held_out, report=progress.say, watch=watch)
        except KeyboardInterrupt:
            if (options.folder / checkpoint.LATEST).exists():
                again = ["--resume", "--run", str(options.folder), "--cache", str(options.cache)]
                progress.say(f"go on with: python -m training train {shlex.join(again)}")
            raise


def settings_of(options: argparse.Namespace) -> TrainSettings:
    """From the command line, or from the checkpoint that is resumed."""
    given = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    if options.precision:
        given["half_precision"] = options.precision == "bf16"
    if not options.resume:
        return msgspec.structs.replace(preset(options.preset), labels=cached_labels(options.cache), **given)
    from training.train import checkpoint

    saved = checkpoint.load(options.folder)[0]
    changed = [name for name, value in given.items() if name != "patience" and getattr(saved, name) != value]
    if changed:
        name = "precision" if changed[0] == "half_precision" else changed[0].replace("_", "-")
        raise StreamerError(
            f"--resume goes on with the checkpoint's settings; --{name} is another there",
            "leave it out, or begin another run",
        )
    return msgspec.structs.replace(saved, patience=given.get("patience", saved.patience))


def _held_out(cache: Path, settings: TrainSettings, place: Place) -> list[Rendered]:
    from training.train.held_out import has_labels, held_out_scenes

    if not place.leads or not settings.held_out_scenes:
        return []
    if not has_labels(cache):
        print(
            "training: nothing with a label is in the dev split: no held-out figures, no early stopping",
            file=sys.stderr,
        )
        return []
    return held_out_scenes(cache, settings, settings.held_out_scenes)


def _say_nothing(line: str) -> None:
    """Only one process speaks."""

"""The trainer's commands: prepare, train, evaluate, export."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from streamer.errors import EXIT_FAILURE, EXIT_INTERRUPTED, MissingExtra, StreamerError

EXAMPLE = """example, the reference run:
  python -m training prepare --data PACK
  python -m training train --run .cache/training/run
  python -m training export .cache/training/run --out .cache/training/draft
  python -m training evaluate .cache/training/draft --tune .cache/training/thresholds.json
  python -m training export .cache/training/run --thresholds .cache/training/thresholds.json --out models/mine
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        run(options)
    except StreamerError as error:
        if options.debug:
            raise
        print(f"training: {error}", file=sys.stderr)
        return error.status
    except ModuleNotFoundError as error:
        if options.debug:
            raise
        print(f"training: {MissingExtra(error.name or 'a package', 'train')}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        "training",
        description="Makes the models that streamer runs.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_prepare(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_compare(commands)
    _add_report(commands)
    return top


Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _command(
    commands: Commands, name: str, about: str, example: str, run: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=about, description=about, epilog=f"example: python -m training {example}"
    )
    command.add_argument(
        "--cache", type=Path, default=Path(".cache/training"), help="decoded sound (default: %(default)s)"
    )
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command.set_defaults(run=run)
    return command


def _add_prepare(commands: Commands) -> None:
    about = "decode an audio pack once and find where its clips are heard"
    command = _command(commands, "prepare", about, "prepare --data PACK", _prepare)
    command.add_argument(
        "--data", type=Path, default=os.environ.get("STREAMER_DATA"), help="the pack; or $STREAMER_DATA"
    )
    command.add_argument("--processes", type=int, default=2)


def _add_train(commands: Commands) -> None:
    about = "train on endless streams put together from the prepared clips"
    command = _command(commands, "train", about, "train --run .cache/training/run --rounds 700", _train)
    command.add_argument(
        "--run", type=Path, dest="folder", default=Path(".cache/training/run"), help="log and checkpoint"
    )
    command.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    command.add_argument("--begin-from", type=Path, help="begin with the averaged weights of another run")
    command.add_argument("--workers", type=int, default=1, help="processes that render scenes (default: 1)")
    command.add_argument("--threads", type=int, default=1, help="threads that learn (default: 1)")
    for name, kind in (
        ("rounds", int),
        ("streams", int),
        ("seed", int),
        ("hidden", int),
        ("easy-rounds", int),
        ("scene-s", float),
    ):
        command.add_argument(f"--{name}", type=kind)
    command.add_argument("--learning-rate", type=float)
    command.add_argument("--family", help="of the network: lstm (default), gru, conv_lstm, conv, attention")
    command.add_argument("--layers", type=int)


def _add_evaluate(commands: Commands) -> None:
    from training.report.command import rate

    about = "play the dev split as long streams through the daemon's pipeline and count"
    command = _command(commands, "evaluate", about, "evaluate models/default", _evaluate)
    command.add_argument("bundle", help="name or folder")
    command.add_argument("--variant", default="onnx", help="onnx, onnx-int8 or torch (default: %(default)s)")
    command.add_argument(
        "--tune",
        type=Path,
        metavar="FILE",
        help="choose thresholds on these streams first, and write them there",
    )
    command.add_argument(
        "--false-alarms-per-hour",
        type=rate,
        metavar="RATE",
        help="tell, and with --tune take, each label's threshold for this budget, and what the hours support",
    )
    command.add_argument("--report", type=Path, metavar="FILE", help="write all figures as JSON")


def _add_export(commands: Commands) -> None:
    about = "make a bundle from a checkpoint; every variant is checked first"
    command = _command(commands, "export", about, "export .cache/training/run --out models/mine", _export)
    command.add_argument("checkpoint", type=Path, help="a run's folder or a checkpoint file")
    command.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    command.add_argument("--thresholds", type=Path, help="what `evaluate --tune` wrote")
    command.add_argument("--drop", nargs="*", default=[], metavar="LABEL", help="labels that are not shipped")
    command.add_argument(
        "--report", type=Path, help="what `evaluate --report` wrote, to go into card and manifest"
    )
    command.add_argument("--version", default="0")
    command.add_argument(
        "--notes", type=Path, help="a text for the card: how it was trained, what it cannot do"
    )


def _add_compare(commands: Commands) -> None:
    from training import compare

    compare.add_arguments(_command(commands, compare.NAME, compare.HELP, compare.EXAMPLE, compare.run))


def _add_report(commands: Commands) -> None:
    from training.report import command

    command.add_arguments(_command(commands, command.NAME, command.HELP, command.EXAMPLE, command.run))


def _prepare(options: argparse.Namespace) -> None:
    from training.data.pack import PackError, read_pack
    from training.data.prepare import prepare

    if options.data is None:
        raise PackError("no pack given", "use --data FOLDER or set STREAMER_DATA")
    pack = read_pack(Path(options.data))
    faults = prepare(pack, options.cache, options.processes)
    for reason, count in pack.left_out.items():
        print(f"left out: {count} clips: {reason}")
    for path, reason in faults:
        print(f"unusable: {path}: {reason}", file=sys.stderr)
    print(f"{len(pack.clips)} clips, {len(faults)} unusable, in {options.cache}")


def _train(options: argparse.Namespace) -> None:
    import torch

    from training.train import checkpoint
    from training.train.feed import Feed
    from training.train.loop import Run
    from training.train.settings import TrainSettings

    torch.set_num_threads(options.threads)
    wanted = (
        "rounds",
        "streams",
        "seed",
        "hidden",
        "easy_rounds",
        "scene_s",
        "learning_rate",
        "family",
        "layers",
    )
    given = {name: getattr(options, name) for name in wanted if getattr(options, name) is not None}
    settings = checkpoint.load(options.folder)[0] if options.resume else TrainSettings(**given)
    options.folder.mkdir(parents=True, exist_ok=True)
    run = Run(settings, options.folder)
    if options.resume:
        run.resume()
    elif options.begin_from:
        run.begin_from(options.begin_from)
    with Feed(options.cache, settings, options.workers) as feed:
        run.train(feed.rounds, report=lambda line: print(line, flush=True))


def _evaluate(options: argparse.Namespace) -> None:
    from streamer.inference.bundle import load_bundle
    from training.evaluate.budget import as_lines, within_budget
    from training.evaluate.report import as_text, figures, play_all, tune, with_thresholds

    bundle = load_bundle(options.bundle)
    played = play_all(bundle, options.cache, options.variant, lambda line: print(line, file=sys.stderr))
    rules, points = list(bundle.manifest.labels), []
    if options.false_alarms_per_hour:
        points = within_budget(played, rules, options.false_alarms_per_hour)
        print(as_lines(points))
    if options.tune:
        thresholds = {point.label: point.threshold for point in points} or tune(played)
        options.tune.write_text(json.dumps(thresholds, indent=1) + "\n")
        rules = with_thresholds(rules, thresholds)
    result = figures(played, rules)
    print(as_text(result))
    if options.report:
        options.report.write_text(json.dumps({"variant": options.variant, **result}, indent=1) + "\n")


def _export(options: argparse.Namespace) -> None:
    from training.export.card import bundle_texts
    from training.export.export import Wanted, export

    result = _read_json(options.report) if options.report else {}
    notes = options.notes.read_text(encoding="utf-8") if options.notes else ""
    wanted = Wanted(
        name=options.out.name,
        version=options.version,
        description="Spoken commands, wake words and everyday sounds in one recurrent network.",
        thresholds=_read_json(options.thresholds) if options.thresholds else {},
        dropped=tuple(options.drop),
    )
    bundle_texts(wanted, options.cache, options.checkpoint, result, notes)
    for name, value in export(options.checkpoint, options.out, wanted).items():
        print(f"{name}: scores within {value:g}")
    print(f"{options.out}: written")


def _read_json(path: Path) -> dict:  # type: ignore[type-arg]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StreamerError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise StreamerError(f"{path}: not what this trainer wrote")
    return content

"""The trainer's commands; those with many options have a module of their own."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from streamer.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_OK, MissingExtra, StreamerError

EXAMPLE = """example, step by step what `python -m training.reference --data PACK --out models/mine` does:
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
        sys.stdout.flush()
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
    except BrokenPipeError:
        # Whoever read our output has what it wanted; the interpreter must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OK


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    from training import compare, record
    from training.data import command_datasets, command_download
    from training.export import command as export
    from training.report import command as report
    from training.train import command as train

    top = argparse.ArgumentParser(
        "training",
        description="Makes the models that streamer runs.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_module(commands, command_datasets, cached=False)
    _add_module(commands, command_download, cached=False)
    _add_module(commands, record, cached=False)
    _add_prepare(commands)
    _add_module(commands, train)
    _add_evaluate(commands)
    _add_module(commands, export)
    _add_module(commands, compare)
    _add_module(commands, report)
    return top


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _command(
    commands: Commands,
    name: str,
    about: str,
    example: str,
    run: Callable[[argparse.Namespace], None],
    cached: bool = True,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=about, description=about, epilog=f"example: python -m training {example}"
    )
    if cached:
        command.add_argument(
            "--cache", type=Path, default=Path(".cache/training"), help="decoded sound (default: %(default)s)"
        )
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command.set_defaults(run=run)
    return command


def _add_module(commands: Commands, module: Any, cached: bool = True) -> None:
    """A command with a module of its own: NAME, HELP, EXAMPLE, add_arguments and run."""
    command = _command(commands, module.NAME, module.HELP, module.EXAMPLE, module.run, cached)
    module.add_arguments(command)


def _add_prepare(commands: Commands) -> None:
    about = "decode recordings once and find where something is heard in them"
    command = _command(commands, "prepare", about, "prepare --data PACK folders:my/labels", _prepare)
    command.add_argument(
        "--data",
        nargs="+",
        default=[spec for spec in (os.environ.get("STREAMER_DATA"),) if spec],
        metavar="DATA",
        help="READER:FOLDER?option=value, see `datasets`, or a pack's folder; or $STREAMER_DATA",
    )
    command.add_argument(
        "--labels",
        metavar="default|data|FILE.toml",
        help="what is learnt: the default model's labels, every label that the data names with 5 train"
        " recordings or more, or those of a file (default: default for a pack alone, else data)",
    )
    command.add_argument("--processes", type=int, default=2)


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
    command.add_argument(
        "--after-hours",
        type=float,
        default=0.0,
        metavar="H",
        help="hear the words once more after H hours of noise, music and silence, the state carried on",
    )
    command.add_argument("--report", type=Path, metavar="FILE", help="write all figures as JSON")


def _prepare(options: argparse.Namespace) -> None:
    from training.data.dataset import DataError
    from training.data.prepare import prepare
    from training.data.spec import open_datasets
    from training.label_choice import check_heard, choose, given_labels

    if not options.data:
        raise DataError("no data given", "use --data READER:FOLDER or set STREAMER_DATA")
    datasets = open_datasets(options.data, given_labels(options.labels))
    choice = choose(datasets, options.labels)
    print(choice.as_text())
    faults = prepare(datasets, options.cache, options.processes, choice.labels)
    check_heard(options.cache, choice.labels)
    for dataset in datasets:
        for reason, count in dataset.left_out.items():
            print(f"left out: {count} clips: {reason}")
        for where, reason in dataset.warnings:
            print(f"warning: {where}: {reason}", file=sys.stderr)
    for label in choice.warnings:
        print(f"warning: {label}: no recording in the dev split: it will not be judged", file=sys.stderr)
    for path, reason in faults:
        print(f"unusable: {path}: {reason}", file=sys.stderr)
    clips = sum(len(dataset.clips) for dataset in datasets)
    print(f"{clips} clips, {len(faults)} unusable, in {options.cache}")


def _evaluate(options: argparse.Namespace) -> None:
    from streamer.inference.bundle import load_bundle
    from training.evaluate.budget import as_lines, within_budget
    from training.evaluate.report import as_text, figures, play_all, tune
    from training.evaluate.thresholds import with_thresholds

    bundle = load_bundle(options.bundle)
    played = play_all(
        bundle,
        options.cache,
        options.variant,
        lambda line: print(line, file=sys.stderr),
        options.after_hours,
    )
    rules, points = list(bundle.manifest.labels), []
    if options.false_alarms_per_hour:
        points = within_budget(played, rules, options.false_alarms_per_hour)
        print(as_lines(points))
    if options.tune:
        thresholds = {point.label: point.threshold for point in points} or tune(played, rules)
        options.tune.write_text(json.dumps(thresholds, indent=1) + "\n")
        rules = with_thresholds(rules, thresholds)
    result = figures(played, rules)
    print(as_text(result))
    if options.report:
        options.report.write_text(json.dumps({"variant": options.variant, **result}, indent=1) + "\n")

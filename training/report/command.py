"""`training report`: judge a bundle and write the page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from streamer.errors import StreamerError
from training.labels import LabelSet

NAME = "report"
HELP = "judge a bundle in rising noise, in every variant, and write one HTML page of curves and tables"
EXAMPLE = "report models/default --data .cache/training --out report.html"

VARIANTS = ("onnx", "onnx-int8", "torch")
LOUDNESS: tuple[float | None, ...] = (None, 20.0, 10.0, 5.0, 0.0)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The command's own options."""
    command.add_argument("bundle", help="name or folder")
    command.add_argument(
        "--data", help="a prepared cache, or READER:FOLDER to prepare first (default: what --cache names)"
    )
    command.add_argument(
        "--split", default="dev", help="the part of the data to judge by (default: %(default)s)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("report.html"), help="the page (default: %(default)s)"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    command.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="VARIANT")
    command.add_argument(
        "--snr",
        nargs="+",
        type=snr,
        default=LOUDNESS,
        metavar="DB",
        help="clean, or dB (default: clean 20 10 5 0)",
    )
    command.add_argument(
        "--false-alarms-per-hour",
        type=rate,
        default=0.1,
        metavar="RATE",
        help="a label's budget (default: 0.1)",
    )
    command.add_argument("--no-clips", action="store_true", help="leave out the clip mode")


def snr(text: str) -> float | None:
    """`clean`, or a number of dB."""
    return None if text == "clean" else float(text)


def rate(text: str) -> float:
    """More than none: no number of hours proves none."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: give a rate above 0, as 0.1 for one in ten hours")
    return value


def run(options: argparse.Namespace) -> None:
    """Judge, and write."""
    from streamer.inference.bundle import load_bundle
    from training.data.corpus import Corpus
    from training.evaluate.judge import Wish, judge
    from training.label_files import default_labels
    from training.labels import of_rules
    from training.report.page import page

    bundle = load_bundle(options.bundle)
    check_writable([path for path in (options.out, options.json) if path])
    wish = Wish(
        tuple(options.variants), tuple(options.snr), options.false_alarms_per_hour, not options.no_clips
    )
    labels = of_rules(bundle.manifest.labels, default_labels())
    corpus = Corpus(prepared(options.data, options.cache, labels), options.split, labels)
    result = judge(bundle, corpus, wish, lambda line: print(line, file=sys.stderr, flush=True))
    options.out.write_text(page(result), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for note in result["notes"]:
        print(note, file=sys.stderr)
    print(f"{options.out}: written")


def check_writable(paths: Sequence[Path]) -> None:
    """Better now than after ten minutes."""
    for path in paths:
        if not path.parent.is_dir() or path.is_dir():
            raise StreamerError(f"{path}: cannot be written", "name a file in a folder that is there")


def prepared(data: str | None, cache: Path, labels: LabelSet) -> Path:
    """A cache that holds the data; what is not prepared yet is prepared beside the training's own cache."""
    from training.data.prepare import prepare
    from training.data.spec import open_datasets

    if data is None or any(Path(data).glob("block-*.json")):
        return Path(data or cache)
    own = cache / "report"
    for path, reason in prepare(open_datasets([data], labels), own, labels=labels):
        print(f"unusable: {path}: {reason}", file=sys.stderr)
    return own

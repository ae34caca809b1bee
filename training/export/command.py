"""`training export`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from streamer.errors import StreamerError

NAME = "export"
HELP = "make a bundle from a checkpoint; every variant is checked first"
EXAMPLE = "export .cache/training/run --out models/mine"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of export."""
    add = command.add_argument
    add("run_folder", type=Path, metavar="RUN", help="a run's folder, or one checkpoint file")
    add(
        "--checkpoint",
        default="",
        metavar="latest|best|FILE",
        help="which of the run's weights (default: best on held-out scenes, where the run kept them)",
    )
    add("--out", type=Path, required=True, help="the bundle's folder")
    add("--thresholds", type=Path, metavar="FILE", help="what `evaluate --tune` wrote")
    add("--drop", nargs="*", default=[], metavar="LABEL", help="labels that are not shipped")
    add(
        "--report",
        type=Path,
        metavar="FILE",
        help="what `evaluate --report` wrote, to go into card and manifest",
    )
    add("--page", type=Path, metavar="FILE", help="what `report --out` wrote of these weights, to go along")
    add("--version", default="0")
    add(
        "--notes",
        type=Path,
        metavar="FILE",
        help="a text for the card: how it was trained, what it cannot do",
    )


def run(options: argparse.Namespace) -> None:
    """Choose, check and write."""
    from training.export.card import bundle_texts
    from training.export.export import Wanted, export
    from training.train import checkpoint

    wanted = Wanted(
        name=options.out.name,
        version=options.version,
        thresholds=_read_json(options.thresholds),
        dropped=tuple(options.drop),
    )
    weights = checkpoint.chosen(options.run_folder, options.checkpoint)
    bundle_texts(wanted, options.cache, weights, _read_json(options.report), _read(options.notes))
    if options.page:
        wanted.texts["page"] = ("report.html", _read(options.page).encode())
    differences = export(weights, options.out, wanted)
    print(f"weights: {checkpoint.about(weights, checkpoint.load(weights)[1])}")
    for name, value in differences.items():
        print(f"{name}: scores within {value:g}")
    print(f"{options.out}: written")


def _read(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, ValueError) as error:
        raise StreamerError(f"{path}: {error}") from error


def _read_json(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = json.loads(_read(path))
    except ValueError as error:
        raise StreamerError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise StreamerError(f"{path}: not what this trainer wrote")
    return content

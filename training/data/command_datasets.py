"""`training datasets`."""

from __future__ import annotations

import argparse
import json

from training.data.options import Option, Reader

NAME = "datasets"
HELP = "what can be read, and what is in a data set"
EXAMPLE = "datasets 'folders:my/labels?kind=keyword&speaker=_'"

MOST_FAULTS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `training datasets`."""
    parser.add_argument(
        "specs", nargs="*", metavar="READER:FOLDER[?OPTION=VALUE&...]", help="none: list readers"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a data set")
    parser.add_argument("--all", action="store_true", help="list every fault")


def run(options: argparse.Namespace) -> None:
    """List the readers and public sets, or tell what is in some data sets."""
    from training.data.spec import open_datasets
    from training.data.summary import as_text, summarise

    if not options.specs:
        print(_readers_text())
        return
    for dataset in open_datasets(options.specs):
        figures = summarise(dataset)
        most = len(figures["faults"]) + len(figures["warnings"]) if options.all else MOST_FAULTS
        print(json.dumps(figures) if options.json else as_text(figures, most))


def _readers_text() -> str:
    from training.data.public import SETS
    from training.data.spec import READERS

    lines = ["readers, as READER:FOLDER?option=value&option=value:"]
    for reader in READERS.values():
        lines += _reader_lines(reader)
    lines += ["", "public collections, fetched with `training download NAME`:"]
    for one in SETS.values():
        lines.append(f"  {one.name:32}{one.bytes / 1e9:5.2f} GB  {one.about} ({one.licence})")
    return "\n".join(lines)


def _reader_lines(reader: Reader) -> list[str]:
    return [
        "",
        f"  {reader.name:10}{reader.about}",
        f"  {'':10}{reader.layout}",
        *map(_option_line, reader.options),
    ]


def _option_line(option: Option) -> str:
    default = ",".join(option.default) if isinstance(option.default, tuple) else option.default
    if isinstance(default, bool):
        default = "yes" if default else "no"
    elif isinstance(default, float):
        default = f"{default:g}"
    legal = f" ({', '.join(option.legal)})" if option.legal else ""
    return f"  {'':12}{f'{option.name}={default}':22}{option.about}{legal}"

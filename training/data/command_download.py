"""`training download`."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "download"
HELP = "fetch a public collection, check and unpack it"
EXAMPLE = "download speech_commands_v0.02 --to data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `training download`."""
    parser.add_argument("name", help="as `training datasets` lists them")
    parser.add_argument(
        "--to", type=Path, default=Path("data"), help="where its folder goes (default: %(default)s)"
    )
    parser.add_argument(
        "--keep-archive", action="store_true", help="do not remove the archive after unpacking"
    )


def run(options: argparse.Namespace) -> None:
    """Fetch one public set and say how to read it."""
    from training.data.download import download
    from training.data.public import public_set

    wanted = public_set(options.name)
    folder = download(wanted, options.to, keep_archive=options.keep_archive)
    print(f"{wanted.name}: {wanted.about}; licence: {wanted.licence}")
    print(f"read it as '{wanted.spec.format(folder)}'")

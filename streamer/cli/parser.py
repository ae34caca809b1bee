"""The parser: global options, and what each command adds."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import Any

from streamer import __version__

COMMANDS = (
    "run",
    "replay",
    "subscribe",
    "ctl",
    "send",
    "devices",
    "doctor",
    "check-config",
    "models",
    "bench",
    "keys",
    "install-service",
    "completion",
)
"""Each is a module of this package."""

DESCRIPTION = "A daemon that listens: microphone in, keyword and sound-event labels out over ZeroMQ."

STATUSES = """exit status:
  0  success                      5  a model bundle is at fault
  1  any other failure            6  a sound file or pipe is at fault
  2  wrong usage                  7  an address, socket or runtime directory is at fault
  3  the config is at fault     130  interrupted (Ctrl-C)
  4  a device is at fault

start with:
  streamer run --demo             listen to a bundled scene
  streamer run                    listen to the microphone
  streamer subscribe              print what it hears"""


def find_command(name: str) -> Any:
    """The module of a command."""
    return importlib.import_module(f"streamer.cli.{name.replace('-', '_')}")


def build_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """All commands with their options; where the arguments name one, no other is imported."""
    named = tuple(arguments[:1])
    parser = argparse.ArgumentParser(
        prog="streamer",
        description=DESCRIPTION,
        epilog=STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"streamer {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in named if set(named) & set(COMMANDS) else COMMANDS:
        command = find_command(name)
        added = commands.add_parser(
            name,
            help=command.HELP,
            description=command.HELP,
            epilog=f"example:\n{command.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.add_argument("--debug", action="store_true", help="on a fault, print the traceback")
        command.add_arguments(added)
        added.set_defaults(run=command.run)
    return parser

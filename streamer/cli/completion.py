"""`streamer completion`: tab completion for the shell."""

from __future__ import annotations

import argparse

from streamer.errors import EXIT_OK

HELP = "Print a completion script for the shell."
EXAMPLE = """  streamer completion bash > ~/.local/share/bash-completion/completions/streamer
  streamer completion zsh > ~/.zfunc/_streamer"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of completion."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def run(options: argparse.Namespace) -> int:
    """Write the script to standard output."""
    import shtab

    from streamer.cli.parser import build_parser

    print(shtab.complete(build_parser(), options.shell))
    return EXIT_OK

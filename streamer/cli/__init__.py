"""The command line: one module a command, nothing heavy imported before a command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from streamer.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_OK, ConfigError, StreamerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the return value is the exit status."""
    _fill_standard_streams()
    # Before numpy is imported: its matrices are small here, and starting a thread on each core takes the
    # processor time of all other imports together.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    debug = False
    try:
        from streamer.cli.parser import build_parser

        given = sys.argv[1:] if arguments is None else arguments
        options = build_parser(given).parse_args(given)
        debug = options.debug
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has what it wanted; the interpreter must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except Exception as error:
        if debug:
            raise
        return _explain(error)


def _fill_standard_streams() -> None:
    """Open what a parent has closed: a socket that got number 1 would be sent whatever we print."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this very number
            os.set_inheritable(descriptor, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _explain(error: Exception) -> int:
    if isinstance(error, ConfigError):
        for fault in error.faults:
            print(f"streamer: config: {fault}", file=sys.stderr)
        return error.status
    if isinstance(error, StreamerError):
        print(f"streamer: {error}", file=sys.stderr)
        return error.status
    if isinstance(error, OSError):
        print(f"streamer: {error}", file=sys.stderr)
        return EXIT_FAILURE
    print(
        f"streamer: unexpected {type(error).__name__}: {error}; please report it with the output of --debug",
        file=sys.stderr,
    )
    return EXIT_FAILURE

"""A journal cut off at every byte of its last page, and at every seventh byte elsewhere."""

from __future__ import annotations

import argparse
import shutil

from tests.delivery.damage import cut_everywhere, make_sample
from tests.delivery.journals import quick_folder
from tests.torture.part import Outcome, quiet

NAME = "cuts"
HELP = "a journal cut off at every place"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument(
        "--cut-step", type=int, default=7, metavar="BYTES", help="between two cuts (7; in the last page 1)"
    )


def run(options: argparse.Namespace) -> Outcome:
    """Cut a journal that was stopped well, and one that was killed."""
    with quiet():
        return _run(options)


def _run(options: argparse.Namespace) -> Outcome:
    folder = quick_folder()
    cuts = 0
    try:
        for killed in (False, True):
            sample = make_sample(folder, killed=killed, count=24, in_wal=3)
            cuts += cut_everywhere(folder, sample, step=options.cut_step, ends=max(1, options.cut_step // 7))
    except AssertionError as fault:
        return Outcome(False, f"{cuts} cuts, then: {fault}")
    finally:
        shutil.rmtree(folder)
    return Outcome(
        True, f"{cuts} cuts: all told and survived, no number used twice, all saved that was whole"
    )

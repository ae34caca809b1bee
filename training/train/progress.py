"""What the person who trains sees: a bar at a terminal, a line a round anywhere else."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from tqdm import tqdm

from training.train import log
from training.train.log import Entry


class Progress:
    """Shows a run on stdout, and its bar on stderr."""

    def __init__(self, rounds: int, done: int = 0) -> None:
        self._rounds, self._held_out = rounds, ""
        self._bar = None
        if sys.stdout.isatty() and sys.stderr.isatty():
            # Terminals that do not tell their size tell 0, and the bar would have no room at all.
            wide = os.get_terminal_size(sys.stderr.fileno()).columns
            room = {"dynamic_ncols": True} if wide else {"ncols": 80, "nrows": 25}
            self._bar = tqdm(total=rounds, initial=done, desc="train", unit="round", **room)

    def show(self, entry: Entry) -> None:
        """One more round."""
        if self._bar is None:
            self.say(log.as_line(entry, self._rounds))
            return
        if "held_out_loss" in entry:
            self._held_out = f", held out {entry['held_out_loss']:.4f}"
        figures = f"loss {entry['loss']:.4f}{self._held_out}, {log.hours_a_minute(entry):.1f} h/min"
        self._bar.set_postfix_str(figures, refresh=False)
        self._bar.update()

    def say(self, line: str) -> None:
        """Something else, above the bar."""
        if self._bar is None:
            print(line, flush=True)
        else:
            self._bar.write(line)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

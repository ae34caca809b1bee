"""What the terminal can show: colours only where a person looks, and one line that is drawn over."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

COLOURS = {"green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}


def wants_colour(stream: TextIO) -> bool:
    """A terminal, and nobody asked for plain text."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """The text in a colour, where colours are wanted."""
    if not wants_colour(stream or sys.stdout):
        return text
    return f"\033[{COLOURS[colour]}m{text}\033[0m"


class StatusLine:
    """A line at the bottom that is replaced in place; other lines appear above it. Writable, for logging."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown = ""

    def show(self, text: str) -> None:
        """Replace the line."""
        width = shutil.get_terminal_size().columns - 1
        self._shown = text[:width]
        self._out.write(f"\r\033[K{self._shown}")
        self._out.flush()

    def write(self, text: str) -> int:
        """Print above the line."""
        if text.strip():
            self._out.write(f"\r\033[K{text.rstrip()}\n{self._shown}")
            self._out.flush()
        return len(text)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Take the line away."""
        self._out.write("\r\033[K")
        self._out.flush()

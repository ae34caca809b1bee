"""Log lines for people at a terminal, and for journald where it listens."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

LEVELS = ("debug", "info", "warning", "error")

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _JournalFormatter(logging.Formatter):
    """journald stamps the time itself and reads the priority from the line's head."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        # One head a line: journald files every line by itself.
        return "\n".join(head + line for line in super().format(record).splitlines())


def under_journald() -> bool:
    """True where standard error goes to journald."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def set_up_logging(level: str, stream: Any = None) -> None:
    """Send log lines of this level and above to a stream, standard error by default."""
    handler = logging.StreamHandler(stream)
    if under_journald():
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("streamer")
    logger.handlers[:] = [handler]
    logger.propagate = False
    set_level(level)


def set_level(level: str) -> None:
    """Change the level of a running program."""
    logging.getLogger("streamer").setLevel(level.upper())

"""Recorders that are started before anything else: the device opens while the daemon still loads its models.

That takes a quarter of a second off the time from start to first label. Nobody looks at such a recorder until
its microphone is opened; whatever it has to say then, a refusal as well, it says as any other does.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from streamer.capture.recorder_process import RecorderProcess

_begun: list[tuple[dict[str, Any], float, RecorderProcess]] = []


def begin(order: dict[str, Any]) -> None:
    """Start a recorder for whoever opens a microphone with the same order."""
    with contextlib.suppress(OSError):  # who opens the microphone will meet it again, and say so
        _begun.append((order, time.monotonic(), RecorderProcess(order)))


def take(order: dict[str, Any]) -> RecorderProcess | None:
    """The recorder that was started for this order, if there is one."""
    for place, (wanted, began_s, process) in enumerate(_begun):
        if wanted == order:
            del _begun[place]
            if time.monotonic() - began_s < order["ring_s"] / 2:
                return process
            process.kill()  # so slow a start would begin with the news that sound was lost
            return None
    return None


def end() -> None:
    """Kill those that nobody has taken."""
    while _begun:
        _begun.pop()[2].kill()

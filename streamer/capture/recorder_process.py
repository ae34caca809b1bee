"""A recorder process from outside: started, listened to, killed. Nothing here waits for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamer.capture.devices import DEBUG_VARIABLE
from streamer.capture.recorder_wire import Message, RecordReader

PROGRAM = (sys.executable, "-IS", str(Path(__file__).with_name("recorder.py")))
"""Without `site`: it gets our own path, and starts sooner."""
KILLED_S = 0.25
"""A killed process is gone at once, unless a driver holds it."""
READ_BYTES = 65_536


def recorder_order(
    device: str | int | None, rate_hz: int | None, channels: int | None, ring_s: float, wake_ms: float
) -> dict[str, Any]:
    """What a microphone wants of its recorder."""
    return {
        "device": device, "name": None, "rate_hz": rate_hz, "channels": channels, "ring_s": ring_s,
        "block_s": wake_ms / 1000, "off_monitor": False,
    }  # fmt: skip


_unburied: list[subprocess.Popen[bytes]] = []
"""Killed, and held by a driver when we last looked."""


class RecorderProcess:
    """One recorder, from its start to its end; several may follow each other, nothing of them stays."""

    def __init__(self, order: dict[str, Any], program: Sequence[str] = PROGRAM) -> None:
        self.ended = False
        """It says nothing more: it has ended, or closed its pipe."""
        self._reader = RecordReader()
        with contextlib.ExitStack() as unless_started:
            self.memory = os.memfd_create("streamer-ring", os.MFD_CLOEXEC)
            unless_started.callback(os.close, self.memory)
            self._pipe, theirs = os.pipe()
            unless_started.callback(os.close, self._pipe)
            os.set_blocking(self._pipe, False)
            try:
                self._process = self._start(order, program, theirs)
            finally:
                os.close(theirs)
            unless_started.pop_all()

    def _start(self, order: dict[str, Any], program: Sequence[str], pipe: int) -> subprocess.Popen[bytes]:
        ours = {"memory": self.memory, "parent": os.getpid(), "path": sys.path, "began_s": time.monotonic()}
        full_order = {**order, **ours, "pipe": pipe}
        # What ALSA and JACK print from C is no news to anybody, unless somebody looks for a fault there.
        debug = bool(os.environ.get(DEBUG_VARIABLE))
        process = subprocess.Popen(
            [*program[:1], *(["-X", "faulthandler"] if debug else []), *program[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=None if debug else subprocess.DEVNULL,
            pass_fds=(pipe, self.memory),
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(full_order).encode())  # less than a pipe holds
        return process

    def fileno(self) -> int:
        """Readable when it has said something, or has ended."""
        return self._pipe

    def receive(self) -> list[Message]:
        """What it has said since the last call."""
        messages: list[Message] = []
        while not self.ended:
            try:
                data = os.read(self._pipe, READ_BYTES)
            except BlockingIOError:
                break
            self.ended = not data
            messages += self._reader.feed(data)
            if 0 < len(data) < READ_BYTES:
                break  # all of it; an end makes us readable again
        return messages

    @property
    def is_plain(self) -> bool:
        """Nothing that it has said is in pieces."""
        return not self.ended and self._reader.is_even

    def heard_before(self, data: bytes) -> list[Message]:
        """What somebody else has read of its pipe."""
        return list(self._reader.feed(data))

    def why_ended(self) -> str:
        """For people, where it ended without a word."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(KILLED_S)
            if -status == signal.SIGALRM:  # its own clock's
                return "PortAudio hangs"
            if status < 0:
                who = "its recorder was killed" if -status == signal.SIGKILL else "PortAudio crashed"
                return f"{who} ({signal.Signals(-status).name})"
        return "its recorder ended"

    def kill(self) -> None:
        """End it, whatever it does; it may be called twice."""
        if self._pipe < 0:
            return
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILLED_S)
        os.close(self._pipe)
        os.close(self.memory)
        self._pipe = -1
        _bury([self._process])


def _bury(processes: list[subprocess.Popen[bytes]]) -> None:
    """Take note of those that have ended; the others are looked at again with the next."""
    _unburied[:] = [process for process in [*_unburied, *processes] if process.poll() is None]

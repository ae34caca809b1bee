"""streamer as the benchmark runs it: a process of its own, nobody's settings, one subscriber."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from benchmarks.environments import ROOT
from benchmarks.processes import READY_TIMEOUT_S, Running

STREAMER = (sys.executable, "-m", "streamer")
TOLD = ("keyword.", "sound.", "health.")
"""What a usual subscriber wants."""


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without settings of streamer's, with state and sockets in a folder."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("STREAMER_")}
    kept.pop("NOTIFY_SOCKET", None)
    kept.pop("WATCHDOG_USEC", None)
    own = {"PYTHONPATH": str(ROOT), "STREAMER_CONFIG": os.devnull, "XDG_STATE_HOME": str(folder / "state")}
    return {**kept, **own, **(more or {})}


class Daemon:
    """`streamer run` while the `with` block lasts, journal and all, and a subscriber that hears it."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        more: Mapping[str, str] | None = None,
        topics: Sequence[str] = TOLD,
        core: int | None = None,
    ) -> None:
        # Short: the path of a socket has at most 107 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="sb-")
        self.folder = Path(self._folder.name)
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700)
        self.events = f"ipc://{runtime}/events.sock"
        self.control = f"ipc://{runtime}/control.sock"
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 2)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._socket.connect(self.events)
        words = ["run", "--no-live", "--runtime-dir", str(runtime), "--publish", self.events]
        words += ["--log-level", "warning", *arguments]
        self.running = Running(
            [*STREAMER, *words],
            environment(self.folder, more),
            core=core,
            stdin=-1 if "stdin" in arguments else -3,  # subprocess.PIPE, subprocess.DEVNULL
            log=self.folder / "log",
        )

    @property
    def begun_s(self) -> float:
        """When its process was started, on the monotonic clock."""
        return self.running.begun_s

    def receive(self, timeout_s: float) -> tuple[float, str, dict[str, Any]] | None:
        """The next message: when it came, its topic and its record; None where there is none in time."""
        if not self._socket.poll(round(1000 * timeout_s)):
            return None
        parts = self._socket.recv_multipart()
        return time.monotonic(), parts[0].decode(), json.loads(parts[1])

    def wait_listening(self, streams: int = 1) -> None:
        """Until so many streams say that they listen; RuntimeError where they do not."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        listening: set[str] = set()
        while len(listening) < streams:
            message = self.receive(0.25)
            if message is None:
                if self.running.process.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError(f"streamer does not listen: {self.running.complaints()}")
            elif message[1].startswith("health.") and message[2].get("state") == "listening":
                listening.add(message[1])

    def received(self) -> list[tuple[float, str, dict[str, Any]]]:
        """All that has come since one last looked."""
        found = []
        while (message := self.receive(0.0)) is not None:
            found.append(message)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close(0)
        self.running.stop()
        self._folder.cleanup()

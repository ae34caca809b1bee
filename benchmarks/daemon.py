"""streamer as the benchmark runs it: a process of its own, nobody's settings, one subscriber."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import numpy as np
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


class Message(NamedTuple):
    """What a subscriber got."""

    at_s: float
    """When, on the monotonic clock."""
    topic: str
    record: dict[str, Any]
    data: bytes

    def scores(self) -> np.ndarray:
        """Of frames: (rows, labels)."""
        return np.frombuffer(self.data, "<f2").reshape(self.record["rows"], -1).astype(np.float32)


class Daemon:
    """`streamer run` while the `with` block lasts, journal and all, and a subscriber that hears it."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        more: Mapping[str, str] | None = None,
        topics: Sequence[str] = TOLD,
        core: int | None = None,
        pipe: bool = False,
        settings: str = "",
        ingest: bool = False,
    ) -> None:
        # Short: the path of a socket has at most 107 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="sb-")
        self.folder = Path(self._folder.name)
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700)
        self.events = f"ipc://{runtime}/events.sock"
        self.control = f"ipc://{runtime}/control.sock"
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 2)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._socket.connect(self.events)
        words = ["run", "--no-live", "--runtime-dir", str(runtime), "--publish", self.events]
        words += ["--log-level", "warning", *arguments]
        self.ingest = f"ipc://{runtime}/ingest.sock"
        words += ["--ingest", self.ingest] if ingest else []
        if settings:
            (self.folder / "streamer.toml").write_text(settings, "utf-8")
            words += ["--config", str(self.folder / "streamer.toml")]
        self.running = Running(
            [*STREAMER, *words],
            environment(self.folder, more),
            core=core,
            stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
            log=self.folder / "log",
        )

    @property
    def begun_s(self) -> float:
        """When its process was started, on the monotonic clock."""
        return self.running.begun_s

    @property
    def stdin(self) -> IO[bytes]:
        """Its standard input."""
        assert self.running.process.stdin is not None
        return self.running.process.stdin

    def receive(self, timeout_s: float) -> Message | None:
        """The next message; None where there is none in time."""
        if not self._socket.poll(round(1000 * timeout_s)):
            return None
        return _message(self._socket.recv_multipart(), time.monotonic())

    def wait_health(self, state: str = "", streams: int = 1) -> None:
        """Until so many streams are in that state, or live at all; RuntimeError where that never comes."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        found: set[str] = set()
        wanted = [state] if state else ["starting", "listening", "stalled", "no-device"]
        while len(found) < streams:
            message = self.receive(0.25)
            if time.monotonic() > deadline_s or (message is None and self.running.process.poll() is not None):
                raise RuntimeError(f"streamer does not get ready: {self.running.complaints()}")
            if message and message.topic.startswith("health.") and message.record["state"] in wanted:
                found.add(message.topic)

    def received(self) -> list[Message]:
        """All that has come since one last looked; nobody knows when."""
        return self.collect(0.0)

    def collect(self, seconds: float) -> list[Message]:
        """All that comes in that time, each with the moment at which it came."""
        raw = []
        end_s = time.monotonic() + seconds
        while self._socket.poll(max(0, round(1000 * (end_s - time.monotonic())))):
            raw.append((self._socket.recv_multipart(), time.monotonic()))
            if seconds and raw[-1][1] >= end_s:
                break
        return [_message(parts, at_s) for parts, at_s in raw]  # taken apart when nobody waits for it

    def leave(self) -> None:
        """No longer be its subscriber."""
        self._socket.disconnect(self.events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close(0)
        self.running.stop()
        self._folder.cleanup()


def _message(parts: list[bytes], at_s: float) -> Message:
    return Message(at_s, parts[0].decode(), json.loads(parts[1]), parts[2] if len(parts) > 2 else b"")

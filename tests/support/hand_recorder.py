"""A recorder that is no process: the test writes the sound, and says what a recorder says."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time
from typing import Any

import numpy as np
import pytest

from streamer.audio import F32
from streamer.capture import recording
from streamer.capture.recorder_process import RecorderProcess
from streamer.capture.recorder_wire import moved_record, opened_record, sound_record
from streamer.capture.ring_writer import RingWriter


class HandRecorder:
    """Stands behind every microphone that is opened from now on; the newest one is spoken for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rate_hz: int, channels: int, ring_s: float) -> None:
        self.rate_hz, self.channels = rate_hz, channels
        self.capacity_frames = round(ring_s * rate_hz)
        self.overflows = 0
        self.pipe = -1

        class Process(RecorderProcess):
            def _start(inner, order: dict[str, Any], program: object, pipe: int) -> Any:
                self._begin(inner.memory, pipe)
                return _NoProcess()

        monkeypatch.setattr(recording, "RecorderProcess", Process)

    def _begin(self, memory: int, pipe: int) -> None:
        self.close()
        self.pipe = os.dup(pipe)
        self.ring = RingWriter(memory, self.capacity_frames, 4 * self.channels)
        device = {"index": 0, "name": "Hand", "default_rate_hz": self.rate_hz, "channels": self.channels}
        self._say(
            opened_record(
                device=device, rate_hz=self.rate_hz, channels=self.channels, took_s=0.1, source=None,
                capacity_frames=self.capacity_frames,
            )
        )  # fmt: skip

    def _say(self, record: bytes) -> None:
        os.write(self.pipe, record)

    def write(self, frames: F32) -> None:
        """(n,) or (n, channels): into the ring, without a word."""
        self.ring.claim(len(frames))
        self.ring.write(np.ascontiguousarray(frames, np.float32).tobytes())

    def tell(self) -> None:
        """How far it has come."""
        self._say(sound_record(self.ring.frames, self.overflows))

    def hear(self, frames: F32) -> None:
        """Both."""
        self.write(frames)
        self.tell()

    def move(self) -> None:
        """The sound server takes the sound from elsewhere."""
        self._say(moved_record(name="other", description="Other", is_monitor=False))

    @property
    def is_heard(self) -> bool:
        """Nothing that was said waits to be received."""
        return (
            self.pipe < 0 or struct.unpack("i", fcntl.ioctl(self.pipe, termios.FIONREAD, b"\0" * 4))[0] == 0
        )

    def await_heard(self, limit_s: float = 20.0) -> None:
        """Until it is."""
        deadline_s = time.monotonic() + limit_s
        while not self.is_heard:
            assert time.monotonic() < deadline_s
            time.sleep(0.0005)

    def close(self) -> None:
        """It ends."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1


class _NoProcess:
    """As `subprocess.Popen` where it has ended."""

    def kill(self) -> None:
        pass

    def wait(self, _timeout_s: float | None = None) -> int:
        return 0

    def poll(self) -> int:
        return 0

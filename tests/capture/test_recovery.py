"""A microphone unplugged, stalled, killed and brought back for real, with a sound server of our own."""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamer.audio import Chunk
from streamer.capture.microphone import Microphone
from tests.support import virtual_microphone
from tests.support.virtual_microphone import VirtualMicrophone

missing = virtual_microphone.available()
pytestmark = [pytest.mark.virtmic, pytest.mark.skipif(missing is not None, reason=str(missing))]

TOLD_S = 2.0
BACK_S = 3.0
BUSY_S = 2.0
"""What a busy machine may add to either."""


class Listener:
    """Reads a microphone as the daemon does, and keeps what it gives."""

    def __init__(self, microphone: Microphone) -> None:
        self.microphone = microphone
        self.chunks: list[Chunk] = []
        self.news: list[str] = []

    def until(self, done: Callable[[], bool], limit_s: float) -> float:
        """Listen until that is so; how long it took."""
        began_s = time.monotonic()
        while not done():
            assert time.monotonic() - began_s < limit_s, (self.microphone.trouble, self.chunks[-1:])
            select.select([self.microphone.fileno()], [], [], self.microphone.next_due_s())
            if chunk := self.microphone.read():
                self.chunks.append(chunk)
            self.news += filter(None, [self.microphone.take_news()])
        return time.monotonic() - began_s

    def hear(self, seconds: float = 0.5) -> None:
        """So much more sound."""
        end = self.end_sample + seconds * self.microphone.rate_hz
        self.until(lambda: self.end_sample >= end, 20)

    @property
    def end_sample(self) -> int:
        return self.chunks[-1].end_sample if self.chunks else 0

    def gaps(self) -> list[int]:
        pairs = itertools.pairwise(self.chunks)
        return [gap for before, after in pairs if (gap := after.first_sample - before.end_sample)]

    def noticed(self) -> str:
        """In time; what it is."""
        self.until(lambda: self.microphone.trouble is not None, TOLD_S + BUSY_S)
        assert self.microphone.trouble is not None
        return self.microphone.trouble.state

    def back(self) -> None:
        """In time, with the clock where it belongs and the loss told."""
        self.until(lambda: self.microphone.trouble is None, BACK_S + BUSY_S)
        self.hear()
        assert len(self.gaps()) == len(self.news)
        assert self.microphone.absent_samples == sum(self.gaps())
        assert self.news[-1].startswith("back after ")
        first, last = self.chunks[0], self.chunks[-1]
        passed_s = last.captured_utc_s - first.captured_utc_s
        assert abs((last.end_sample - first.end_sample) / self.microphone.rate_hz - passed_s) < 0.5


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMicrophone]:
    """One with a single source."""
    with VirtualMicrophone(tmp_path, sole=True) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def listener(server: VirtualMicrophone) -> Iterator[Listener]:
    microphone = Microphone("virtmic")
    microphone.open()
    made = Listener(microphone)
    made.hear()
    yield made
    microphone.close()


def possessions() -> tuple[int, int, int]:
    """Threads, open descriptors, child processes."""
    threads = len(os.listdir("/proc/self/task"))
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return threads, len(os.listdir("/proc/self/fd")), len(children)


def test_the_only_source_goes_and_comes_back_twice(server: VirtualMicrophone, listener: Listener) -> None:
    before = possessions()
    for _ in range(2):
        server.unplug()
        listener.noticed()
        listener.until(lambda: listener.microphone.trouble.state == "no-device", 10)
        server.plug()
        listener.back()
        assert possessions() == before
    assert len(listener.gaps()) == 2


def test_the_sound_server_is_killed_and_started_again(server: VirtualMicrophone, listener: Listener) -> None:
    server.kill_server()
    assert listener.noticed() == "no-device"
    server.stop()
    server.start()
    listener.back()


def test_the_sound_server_stops_and_goes_on(server: VirtualMicrophone, listener: Listener) -> None:
    """Silence without an error, in which whatever we ask of PortAudio hangs."""
    before = possessions()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert listener.noticed() == "stalled"
        began_s = time.monotonic()
        listener.until(lambda: time.monotonic() - began_s > 3, 10)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    listener.back()
    listener.until(lambda: possessions()[1:] == before[1:], 5)


def test_a_machine_with_more_to_do_than_it_can_loses_nothing(
    server: VirtualMicrophone, listener: Listener
) -> None:
    """Every core is busy at the same priority as ours."""
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        listener.hear(5)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert listener.gaps() == []
    assert (listener.microphone.lost_samples, listener.microphone.overruns) == (0, 0)

"""The recorder's loop over a scripted device: in Python and compiled, it does the same."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamer.capture import recorder, recorder_kernel
from streamer.capture.recorder_wire import RecordReader, Sound, now_s
from streamer.capture.ring import RingReader
from streamer.capture.ring_writer import RingWriter
from streamer.kernel import why_none

RATE_HZ = 96_000
"""High, so that waiting takes no time."""
CAPACITY, BLOCK, MOST = 1_000, 200, 150
OVERFLOWED, GONE = -9981, -9988
CHANNELS = 2
WAYS = ["python", pytest.param("compiled", marks=pytest.mark.skipif(bool(why_none()), reason=why_none()))]


class ScriptedDevice:
    """Numbered frames that come in uneven pieces; after the last it is gone."""

    def __init__(self, pieces: list[int], overflows: set[int]) -> None:
        self._pieces = iter(pieces)
        self._overflows = overflows  # at the reads of these numbers
        self._waiting = 0
        self.given = self.reads = 0
        self.longest = 0

    def available(self) -> int:
        piece = next(self._pieces, None)
        if piece is None:
            return GONE
        self._waiting += piece
        return self._waiting

    def read(self, frames: int) -> tuple[np.ndarray, bool]:
        self.reads += 1
        self.longest = max(self.longest, frames)
        numbers = np.arange(self.given, self.given + frames, dtype=np.float32)
        self.given += frames
        while self._waiting < frames:  # PortAudio waits for what is not there yet
            self._waiting += next(self._pieces, frames)
        self._waiting -= frames
        return np.repeat(numbers, CHANNELS), self.reads in self._overflows


class Gone(Exception):
    """What sounddevice raises."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    os.set_blocking(theirs, False)
    yield ours, theirs
    for descriptor in (ours, theirs):
        os.close(descriptor)


class Bench:
    """A recorder between a scripted device and a reader."""

    def __init__(self, device: ScriptedDevice, pipe: tuple[int, int]) -> None:
        self.device = device
        self.memory = os.memfd_create("ring")
        self.ring = RingWriter(self.memory, CAPACITY, 4 * CHANNELS)
        self.reader = RingReader(self.memory, CAPACITY, CHANNELS)
        self._pipe = pipe[0]
        self._records = RecordReader()
        stream = SimpleNamespace(read=self._read)
        self.recorder = recorder._Recorder(stream, self.ring, pipe[1], RATE_HZ, BLOCK, MOST)
        self.recorder._available = self._available  # type: ignore[method-assign]
        self.told: list[Sound] = []
        self.heard: list[np.ndarray] = []
        self.wanted: list[int] = []

    def _available(self) -> int:
        self._follow()
        found = self.device.available()
        if found < 0:
            raise Gone
        return found

    def _read(self, frames: int) -> tuple[memoryview, bool]:
        block, overflowed = self.device.read(frames)
        return memoryview(block.tobytes()), overflowed

    def _follow(self) -> None:
        """The daemon's side, which looks whenever the device is asked."""
        try:
            data = os.read(self._pipe, 65_536)
        except BlockingIOError:
            return
        for sound in self._records.feed(data):
            assert isinstance(sound, Sound)
            first = self.told[-1].frames if self.told else 0
            self.told.append(sound)
            at, samples = self.reader.read(first, sound.frames)
            assert at == first
            self.heard.append(samples)
            if len(self.told) <= len(self.wanted):
                self.reader.want(sound.frames + self.wanted[len(self.told) - 1])

    def run(self, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with contextlib.suppress(Gone):
            if way == "compiled":
                self.run_compiled(monkeypatch)
            while True:
                self.recorder.tell_next()
        self._follow()

    def run_compiled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def available(_stream: Any) -> int:
            self._follow()
            return self.device.available()

        def read(_stream: Any, place: int, frames: int) -> int:
            block, overflowed = self.device.read(frames)
            ctypes.memmove(place, block.ctypes.data, block.nbytes)
            return OVERFLOWED if overflowed else 0

        functions = {
            "available": ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(available),
            "read": ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 2, ctypes.c_ulong)(read),
        }
        calls = {name: ctypes.cast(call, ctypes.c_void_p).value for name, call in functions.items()}
        monkeypatch.setattr(recorder, "HANG_S", 60.0)  # its alarm would be the test's
        monkeypatch.setattr(recorder_kernel, "portaudio", lambda *_: {**calls, "stream": 0})

        def check(error: int) -> None:
            raise Gone(error)

        record = self.recorder.compiled(SimpleNamespace(_check=check))
        assert record is not None
        record()


@pytest.mark.parametrize("way", WAYS)
def test_all_sound_is_told_and_there(
    way: str, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    pieces = [rng.choice((0, 1, 40, 97, 150)) for _ in range(600)]
    began_s, began_utc_s = now_s(), time.time()
    bench = Bench(ScriptedDevice(pieces, {3, 17}), pipe)
    bench.wanted = [rng.choice((-5, 1, 120, 200, 333)) for _ in range(30)]
    bench.run(way, monkeypatch)
    told, ends = bench.told, [sound.frames for sound in bench.told]
    assert len(told) > 15
    assert ends == sorted(set(ends))
    np.testing.assert_array_equal(np.concatenate(bench.heard), np.arange(ends[-1]))
    assert (told[-1].overflows, bench.recorder._overflows) == (2, 2)
    assert bench.ring.frames == bench.device.given >= ends[-1]
    assert bench.device.longest <= MOST
    assert began_s <= told[0].captured_s <= told[-1].captured_s <= now_s()
    assert began_utc_s - 1 < told[0].captured_utc_s < time.time() + 1
    assert 0 < told[0].cpu_s <= told[-1].cpu_s <= time.process_time()


@pytest.mark.skipif(bool(why_none()), reason=why_none())
def test_both_tell_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    told = []
    for way in ("python", "compiled"):
        rng = random.Random(seed)
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        pieces = [rng.choice((0, 1, 40, 97, 150)) for _ in range(600)]
        bench = Bench(ScriptedDevice(pieces, {5}), (ours, theirs))
        bench.wanted = [rng.choice((-5, 1, 120, 200, 333)) for _ in range(30)]
        bench.run(way, monkeypatch)
        told.append([(sound.frames, sound.overflows) for sound in bench.told])
        os.close(ours)
        os.close(theirs)
    assert told[0] == told[1]
    assert len(told[0]) > 15


@pytest.mark.skipif(bool(why_none()), reason=why_none())
def test_a_complaint_of_lost_sound_goes_on_and_counts(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = ScriptedDevice([100] * 40, set())
    bench = Bench(device, pipe)
    asked = iter([OVERFLOWED])
    available = device.available
    device.available = lambda: next(asked, None) or available()  # type: ignore[method-assign]
    bench.run("compiled", monkeypatch)
    assert bench.told[-1].overflows == 1
    assert bench.told[-1].frames >= 1_000


@pytest.mark.parametrize("way", WAYS)
def test_the_daemon_is_told_when_there_is_what_it_wants(
    way: str, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(ScriptedDevice([60] * 200, set()), pipe)
    bench.wanted = [120, 333, 50]
    bench.run(way, monkeypatch)
    lengths = np.diff([0, *(sound.frames for sound in bench.told)]).tolist()
    assert lengths[:4] == [BLOCK, 120, 333, 50]
    assert set(lengths[4:]) == {BLOCK}, "nothing new is wanted: so much as at first"


@pytest.mark.parametrize("way", WAYS)
def test_a_daemon_that_has_gone_ends_it(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    bench = Bench(ScriptedDevice([1_000] * 10_000, set()), (os.dup(ours), theirs))
    os.set_blocking(bench._pipe, False)
    os.close(bench._pipe)
    bench._follow = lambda: None  # type: ignore[method-assign]
    os.close(ours)
    if way == "compiled":
        bench.run_compiled(monkeypatch)  # it returns, and Python finds out why
    with pytest.raises(BrokenPipeError):
        bench.recorder.tell_next()
    os.close(theirs)

"""What the capture tests share."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=[20260801])
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers from a seed that shows in the test's name."""
    return np.random.default_rng(request.param)


class FakePortAudioError(Exception):
    """As sounddevice raises it: text, number."""


class FakeStream:
    """An input stream whose callbacks the test calls."""

    def __init__(self, module: FakeSounddevice, **options: Any) -> None:
        if module.refusal is not None:
            raise module.refusal
        self.options = options
        self.module = module
        self.started = self.closed = False

    def start(self) -> None:
        if self.module.start_refusal is not None:
            raise self.module.start_refusal
        self.started = True

    def close(self) -> None:
        self.module.close_may_return.wait(30)
        self.closed = True

    def deliver(self, frames: np.ndarray, overflow: bool = False) -> None:
        self.options["callback"](frames, len(frames), None, FakeFlags(overflow))

    def finish(self) -> None:
        self.options["finished_callback"]()


class FakeFlags:
    """sounddevice.CallbackFlags: false when nothing is set."""

    def __init__(self, input_overflow: bool) -> None:
        self.input_overflow = input_overflow

    def __bool__(self) -> bool:
        return self.input_overflow


class FakeSounddevice(ModuleType):
    """As much of the sounddevice module as we use; devices are (name, input channels, rate, host API)."""

    PortAudioError = FakePortAudioError

    def __init__(self, devices: list[tuple[str, int, float, int]], default_index: int = -1) -> None:
        super().__init__("sounddevice")
        self.devices = devices
        self.default = SimpleNamespace(device=[default_index, -1])
        self.refusal: Exception | None = None
        self.start_refusal: Exception | None = None
        self.streams: list[FakeStream] = []
        self.close_may_return = threading.Event()
        self.close_may_return.set()

    def query_hostapis(self) -> tuple[dict[str, Any], ...]:
        return ({"name": "ALSA"}, {"name": "JACK Audio Connection Kit"})

    def query_devices(self) -> list[dict[str, Any]]:
        names = ("name", "max_input_channels", "default_samplerate", "hostapi")
        return [dict(zip(names, device, strict=True)) for device in self.devices]

    def InputStream(self, **options: Any) -> FakeStream:
        stream = FakeStream(self, **options)
        self.streams.append(stream)
        return stream

    def _exit_handler(self) -> None:
        raise AssertionError("not to be called by tests")


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSounddevice]:
    """A stand-in for the sounddevice module, with five devices of which four capture."""
    made = FakeSounddevice(
        [
            ("HDA Intel: HDMI", 0, 44_100.0, 0),
            ("USB Audio: Desk", 2, 48_000.0, 0),
            ("USB Audio: Shelf", 1, 44_100.0, 0),
            ("default", 32, 44_100.0, 0),
            ("Desk", 1, 16_000.0, 1),
        ],
        default_index=3,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    yield made
    made.close_may_return.set()

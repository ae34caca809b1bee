"""A stand-in for the sounddevice module, in whatever process it is: a folder says how its devices are.

`devices.json` lists them (name, input channels, rate, host API) and may name a `refusal` or something that
`hangs`; it is read anew by each process. Sound is 1/1024 at the first frame, 2/1024 at the next, and so on
around, the same in every channel; it comes in real time, or `fast`. A file `overflow` is an overflow once,
`silence` stops the sound while it is there, and `gone` ends it.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

MODULE = """
import array, json, os, pathlib, time

FOLDER = pathlib.Path(__file__).parent
SAID = json.loads((FOLDER / "devices.json").read_text())

class PortAudioError(Exception):
    pass

class default:
    device = [SAID["default"], -1]

def hang(where):
    while SAID["hangs"] == where:
        time.sleep(60)

def query_hostapis():
    return ({"name": "ALSA"}, {"name": "JACK Audio Connection Kit"})

def query_devices():
    hang("list")
    names = ("name", "max_input_channels", "default_samplerate", "hostapi")
    return [dict(zip(names, device)) for device in SAID["devices"]]

class RawInputStream:
    latency = 0.3

    def __init__(self, **options):
        (FOLDER / "options.json").write_text(json.dumps({**options, "pid": os.getpid()}))
        hang("open")
        if SAID["refusal"]:
            text, number = SAID["refusal"]
            raise PortAudioError(f"Error opening RawInputStream: {text}", number)
        self.options, self.frames = options, 0

    def start(self):
        hang("start")
        if SAID["start_refusal"]:
            text, number = SAID["start_refusal"]
            raise PortAudioError(f"Error starting stream: {text}", number)
        self.began_s = time.monotonic()

    @property
    def read_available(self):
        return 0 if (FOLDER / "silence").exists() else 10**6

    def read(self, frames):
        while (FOLDER / "silence").exists():
            time.sleep(0.01)
        if (FOLDER / "gone").exists():
            raise PortAudioError("Device unavailable", -9985)
        end = self.frames + frames
        if not SAID["fast"]:
            time.sleep(max(0.0, self.began_s + end / self.options["samplerate"] - time.monotonic()))
        channels = self.options["channels"]
        values = [(place % 1024) / 1024 for place in range(self.frames, end) for _ in range(channels)]
        self.frames = end
        try:
            (FOLDER / "overflow").unlink()
        except FileNotFoundError:
            return memoryview(array.array("f", values)).cast("B"), False
        return memoryview(array.array("f", values)).cast("B"), True
"""

DEVICES = [
    ["HDA Intel: HDMI", 0, 44_100.0, 0],
    ["USB Audio: Desk", 2, 48_000.0, 0],
    ["USB Audio: Shelf", 1, 44_100.0, 0],
    ["default", 32, 44_100.0, 0],
    ["Desk", 1, 16_000.0, 1],
]


class StandIn:
    """Five devices of which four capture, for us and for every recorder that we start."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._said: dict[str, Any] = {
            "devices": [list(device) for device in DEVICES],
            "default": 3,
            "refusal": None,
            "start_refusal": None,
            "hangs": "",
            "fast": False,
        }
        folder.mkdir()
        (folder / "sounddevice.py").write_text(textwrap.dedent(MODULE))
        self.say()
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "sounddevice", raising=False)

    def say(self, **changes: Any) -> None:
        """From the next process on it is so."""
        self._said |= changes
        fresh = self.folder / "devices.new"
        fresh.write_text(json.dumps(self._said))
        fresh.rename(self.folder / "devices.json")

    @property
    def options(self) -> dict[str, Any]:
        """How the newest stream was opened, and by which process."""
        options: dict[str, Any] = json.loads((self.folder / "options.json").read_text())
        return options

    def put(self, name: str) -> None:
        """`overflow`, `silence` or `gone`."""
        (self.folder / name).touch()

    def remove(self, name: str) -> None:
        """It is over."""
        (self.folder / name).unlink()

"""Which input devices there are, and which one a person means."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from streamer.errors import DeviceError

DEBUG_VARIABLE = "STREAMER_DEBUG_PORTAUDIO"


class NoInputDevice(DeviceError):
    """There is no microphone at all."""

    def __init__(self) -> None:
        super().__init__("no input device found", "plug in a microphone, or try `streamer run --demo`")


class InputDevice(SimpleNamespace):
    """One device that PortAudio can capture from. (A dataclass's import takes a recorder 9 ms and 1.2 MB.)"""

    index: int
    """PortAudio's number; changes when devices come and go."""
    name: str
    host_api: str
    """ALSA, JACK, Core Audio, ..."""
    channels: int
    """The most it gives; sound servers claim numbers such as 32."""
    default_rate_hz: int
    is_default: bool

    def __str__(self) -> str:
        plural = "" if self.channels == 1 else "s"
        rest = f"{self.host_api}, {self.channels} channel{plural}, {self.default_rate_hz} Hz"
        return f'{self.index}: "{self.name}" ({rest})'


def describe(name: str, rate_hz: int, channels: int) -> str:
    """A microphone as it is captured, for people."""
    plural = "" if channels == 1 else "s"
    return f'microphone "{name}" ({rate_hz} Hz, {channels} channel{plural})'


def load_sounddevice() -> Any:
    """The sounddevice module, imported at first use: it takes time, and needs the PortAudio library."""
    try:
        with quiet_stderr():
            return importlib.import_module("sounddevice")
    except ImportError as error:
        raise DeviceError("the Python package sounddevice is missing", "pip install sounddevice") from error
    except OSError as error:
        raise DeviceError("the PortAudio library is missing", "sudo apt-get install libportaudio2") from error
    except Exception as error:  # sounddevice.PortAudioError cannot be named before the import succeeds
        raise DeviceError(f"PortAudio does not start: {error}", f"see why with {DEBUG_VARIABLE}=1") from error


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what ALSA and JACK print from C off the terminal; STREAMER_DEBUG_PORTAUDIO=1 lets it through."""
    if os.environ.get(DEBUG_VARIABLE):
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a daemon may have no stderr at all
            sys.stderr.flush()
            saved = os.dup(2)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, 2)
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
        yield


def list_input_devices() -> list[InputDevice]:
    """Every device with at least one input channel, by number; empty when there is none."""
    sounddevice = load_sounddevice()
    host_apis = sounddevice.query_hostapis()
    default_index = sounddevice.default.device[0]
    return [
        InputDevice(
            index=index,
            name=str(entry["name"]),
            host_api=str(host_apis[entry["hostapi"]]["name"]),
            channels=int(entry["max_input_channels"]),
            default_rate_hz=round(entry["default_samplerate"]),
            is_default=index == default_index,
        )
        for index, entry in enumerate(sounddevice.query_devices())
        if entry["max_input_channels"] > 0
    ]


def find_input_device(wanted: str | int | None = None) -> InputDevice:
    """The device meant by a number, a name or part of a name (any case); None or "": the default one."""
    devices = list_input_devices()
    if not devices:
        raise NoInputDevice
    text = "" if wanted is None else str(wanted).strip()
    if not text:
        return next((device for device in devices if device.is_default), devices[0])
    if text.lstrip("-").isdecimal():
        matches = [device for device in devices if device.index == int(text)]
    else:
        matches = [device for device in devices if device.name == text]
        matches = matches or [device for device in devices if text.lower() in device.name.lower()]
    if len(matches) == 1:
        return matches[0]
    raise _unclear(text, matches) if matches else _unknown(text, devices)


def _unclear(text: str, matches: list[InputDevice]) -> DeviceError:
    listing = ", ".join(map(str, matches))
    return DeviceError(f'"{text}" fits several input devices', f"give the number or a longer name: {listing}")


def _unknown(text: str, devices: list[InputDevice]) -> DeviceError:
    named = f"number {text}" if text.lstrip("-").isdecimal() else f'"{text}"'
    return DeviceError(f"no input device {named}", f"there is {', '.join(map(str, devices))}")

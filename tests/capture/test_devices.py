"""Which device a person means, told from a list."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from streamer.capture import devices
from streamer.capture.devices import NoInputDevice, find_input_device, list_input_devices
from streamer.errors import EXIT_DEVICE, DeviceError


def test_only_devices_that_capture_are_listed(sounddevice) -> None:
    found = list_input_devices()
    assert [device.index for device in found] == [1, 2, 3, 4]
    desk = found[0]
    assert (desk.name, desk.host_api, desk.channels) == ("USB Audio: Desk", "ALSA", 2)
    assert desk.default_rate_hz == 48_000
    assert isinstance(desk.default_rate_hz, int)
    assert [device.is_default for device in found] == [False, False, True, False]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (None, 3),  # the default
        ("", 3),
        ("  ", 3),
        (2, 2),
        ("2", 2),
        ("USB Audio: Shelf", 2),  # exact
        ("Desk", 4),  # exact wins over part of "USB Audio: Desk"
        ("shelf", 2),  # part, any case
        ("usb audio: d", 1),
    ],
)
def test_selection(sounddevice, wanted: str | int | None, index: int) -> None:
    assert find_input_device(wanted).index == index


def test_without_a_default_the_first_is_taken(sounddevice) -> None:
    sounddevice.default.device[0] = -1
    assert find_input_device().index == 1


@pytest.mark.parametrize("wanted", ["usb", "desk"])
def test_ambiguous_lists_the_candidates(sounddevice, wanted: str) -> None:
    with pytest.raises(DeviceError) as caught:
        find_input_device(wanted)
    assert "fits several" in caught.value.message
    assert '1: "USB Audio: Desk" (ALSA, 2 channels, 48000 Hz)' in caught.value.remedy
    assert "default" not in caught.value.remedy


def test_two_devices_of_the_same_name_are_ambiguous(sounddevice) -> None:
    sounddevice.devices[2] = sounddevice.devices[1]
    with pytest.raises(DeviceError, match="fits several"):
        find_input_device("USB Audio: Desk")


@pytest.mark.parametrize("wanted", ["Webcam", 0, "0", 5, -1, "-1"])
def test_unknown_lists_what_there_is(sounddevice, wanted: str | int) -> None:
    with pytest.raises(DeviceError, match="no input device") as caught:
        find_input_device(wanted)
    assert not isinstance(caught.value, NoInputDevice)
    assert all(f"{index}: " in caught.value.remedy for index in (1, 2, 3, 4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wanted", [None, "Desk", 1])
def test_no_microphone_at_all_can_be_told_apart(sounddevice, wanted: str | int | None) -> None:
    sounddevice.devices = [("HDA Intel: HDMI", 0, 44_100.0, 0)]
    assert list_input_devices() == []
    with pytest.raises(NoInputDevice) as caught:
        find_input_device(wanted)
    assert "streamer run --demo" in caught.value.remedy
    assert caught.value.status == EXIT_DEVICE


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError("PortAudio library not found"), "sudo apt-get install libportaudio2"),
        (ImportError("No module named 'sounddevice'"), "pip install sounddevice"),
        (RuntimeError("Error initializing PortAudio"), "STREAMER_DEBUG_PORTAUDIO=1"),
    ],
)
def test_missing_libraries(monkeypatch: pytest.MonkeyPatch, error: Exception, remedy: str) -> None:
    def fail(_name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(DeviceError) as caught:
        list_input_devices()
    assert remedy in caught.value.remedy


def test_noise_from_c_is_kept_off_the_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(devices.DEBUG_VARIABLE, raising=False)
    with devices.quiet_stderr():
        os.write(2, b"ALSA lib confmisc.c: cannot find card 0\n")
    os.write(2, b"after\n")
    monkeypatch.setenv(devices.DEBUG_VARIABLE, "1")
    with devices.quiet_stderr():
        os.write(2, b"wanted\n")
    print("python", file=sys.stderr)
    assert capfd.readouterr().err == "after\nwanted\npython\n"


def test_stderr_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError, match="inside"), devices.quiet_stderr():
        raise ValueError("inside")
    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"
    assert len(os.listdir("/proc/self/fd")) == before

"""The microphone: its rules with a stand-in for PortAudio, its sound with a virtual one."""

from __future__ import annotations

import atexit
import json
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamer.capture import microphone as microphone_module
from streamer.capture.devices import NoInputDevice
from streamer.capture.microphone import Microphone
from streamer.errors import DeviceError
from tests.support import virtual_microphone
from tests.support.virtual_microphone import VirtualMicrophone

# -- with a stand-in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "rate_hz", "channels", "expected"),
    [
        ("Desk", None, None, (4, 16_000, 1)),
        (1, None, None, (1, 48_000, 2)),
        (None, None, None, (3, 44_100, 1)),  # 32 channels are a sound server's claim
        ("shelf", 16_000, 1, (2, 16_000, 1)),
        ("default", None, 4, (3, 44_100, 4)),
    ],
)
def test_own_rate_and_channels_unless_told(sounddevice, device, rate_hz, channels, expected) -> None:
    microphone = Microphone(device, rate_hz, channels, block_ms=10)
    microphone.open()
    options = sounddevice.streams[0].options
    assert (options["device"], options["samplerate"], options["channels"]) == expected
    assert (microphone.rate_hz, microphone.channels) == expected[1:]
    assert options["blocksize"] == expected[1] // 100
    assert options["dtype"] == "float32"
    assert f"{expected[1]} Hz" in microphone.description
    assert microphone.live
    assert microphone.active
    microphone.close()
    assert sounddevice.streams[0].closed


@pytest.fixture
def desk(sounddevice):
    made = Microphone("Desk", ring_s=0.1, wake_ms=20)
    made.open()
    yield made
    made.close()


def readable(microphone: Microphone) -> bool:
    fd = microphone.fileno()
    assert fd is not None
    return bool(select.select([fd], [], [], 0)[0])


def test_blocks_arrive_as_chunks(desk: Microphone, sounddevice) -> None:
    stream = sounddevice.streams[0]
    assert desk.read() is None
    stream.deliver(np.full((160, 1), 0.25, np.float32))
    assert not readable(desk)
    stream.deliver(np.full((160, 1), 0.5, np.float32))
    assert readable(desk)
    chunk = desk.read()
    assert chunk is not None
    assert (chunk.first_sample, chunk.end_sample) == (0, 320)
    assert (chunk.samples[:160] == 0.25).all()
    assert (chunk.samples[160:] == 0.5).all()
    assert abs(chunk.captured_utc_s - time.time()) < 5
    assert not readable(desk)
    assert desk.last_sample_age_s < 5


def test_an_overflow_of_the_device_is_counted_and_shows_as_a_gap(desk: Microphone, sounddevice) -> None:
    stream = sounddevice.streams[0]
    stream.deliver(np.zeros((100, 1), np.float32))
    stream.deliver(np.zeros((100, 1), np.float32), overflow=True)
    first, second = desk.read(), desk.read()
    assert first is not None
    assert second is not None
    assert second.first_sample > first.end_sample
    assert (desk.device_overruns, desk.overruns, desk.lost_samples) == (1, 1, 1)


def test_a_reader_that_sleeps_loses_the_oldest(desk: Microphone, sounddevice) -> None:
    for _ in range(20):
        sounddevice.streams[0].deliver(np.zeros((160, 1), np.float32))
    assert (desk.lost_samples, desk.overruns) == (1600, 1)
    chunk = desk.read()
    assert chunk is not None
    assert chunk.first_sample == 1600
    assert (desk.lost_samples, desk.overruns, desk.device_overruns) == (1600, 1, 0)


def test_when_the_device_goes_the_reader_wakes_and_gets_the_rest(desk: Microphone, sounddevice) -> None:
    sounddevice.streams[0].deliver(np.zeros((10, 1), np.float32))
    assert not readable(desk)
    sounddevice.streams[0].finish()
    assert readable(desk)
    assert desk.finished
    assert not desk.active
    chunk = desk.read()
    assert chunk is not None
    assert len(chunk.samples) == 10
    assert desk.read() is None


def test_silence_of_the_device_shows_in_the_age(
    desk: Microphone, sounddevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounddevice.streams[0].deliver(np.zeros((10, 1), np.float32))
    later_s = time.monotonic() + 30
    monkeypatch.setattr(microphone_module.time, "monotonic", lambda: later_s)
    assert 29 < desk.last_sample_age_s <= 31


def test_a_close_that_hangs_is_left_behind(
    desk: Microphone, sounddevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[Any] = []
    monkeypatch.setattr(atexit, "unregister", forgotten.append)
    monkeypatch.setattr(microphone_module, "CLOSE_TIMEOUT_S", 0.05)
    sounddevice.close_may_return.clear()
    before_s = time.monotonic()
    desk.close()
    assert time.monotonic() - before_s < 5
    assert desk.close_abandoned
    assert forgotten == [sounddevice._exit_handler]  # it would hang at exit, too
    sounddevice.streams[0].deliver(np.zeros((1600, 1), np.float32))  # a late callback does no harm
    assert desk.read() is None
    assert desk.fileno() is None
    desk.close()


def test_closed_stays_closed_and_opens_again(desk: Microphone, sounddevice) -> None:
    sounddevice.streams[0].deliver(np.zeros((10, 1), np.float32))
    desk.close()
    desk.close()
    assert not desk.active
    desk.open()
    assert desk.read() is None  # a new stream, a new clock
    with pytest.raises(DeviceError, match="open already"):
        desk.open()


def test_close_before_open_does_nothing() -> None:
    Microphone().close()


@pytest.mark.parametrize(
    ("options", "number", "text", "remedy"),
    [
        ({"rate_hz": 12_345}, -9997, "Invalid sample rate", "--rate 48000"),
        ({"rate_hz": 12_345}, -9999, "Unanticipated host error", "--rate 48000"),
        ({"channels": 9}, -9998, "Invalid number of channels", "--channels 2"),
        ({}, -9985, "Device unavailable", "another program"),
    ],
)
@pytest.mark.parametrize("when", ["refusal", "start_refusal"])
def test_a_refusal_names_the_knob(sounddevice, options, number, text, remedy, when) -> None:
    error = sounddevice.PortAudioError(f"Error opening InputStream: {text}", number)
    setattr(sounddevice, when, error)
    microphone = Microphone(1, **options)
    with pytest.raises(DeviceError) as caught:
        microphone.open()
    assert f"refuses: {text}" in caught.value.message
    assert "USB Audio: Desk" in caught.value.message
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)
    assert all(stream.closed for stream in sounddevice.streams)
    assert microphone.fileno() is None
    setattr(sounddevice, when, None)
    microphone.open()
    microphone.close()


def test_no_device_at_all(sounddevice) -> None:
    sounddevice.devices = []
    with pytest.raises(NoInputDevice):
        Microphone().open()


# -- with a virtual microphone ------------------------------------------------------------------------

missing = virtual_microphone.available()
virtmic = [pytest.mark.virtmic, pytest.mark.skipif(missing is not None, reason=str(missing))]
TIMEOUT_S = 30.0


class Recorder:
    """record_microphone.py in a process that hears only the virtual microphone."""

    def __init__(self, server: VirtualMicrophone, folder: Path, **options: Any) -> None:
        self.saved = folder / "captured.npy"
        order = {"microphone": options, "rest_s": 1.0, "save": str(self.saved)}
        script = Path(__file__).with_name("record_microphone.py")
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(order)],
            env={**server.environment(), "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Recorder:
        assert self.next_line() == "listening\n", self._end()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def next_line(self) -> str:
        """What it says next; "" when it says nothing for a long time."""
        assert self.process.stdout is not None
        ready = select.select([self.process.stdout], [], [], TIMEOUT_S)[0]
        return self.process.stdout.readline() if ready else ""

    def _end(self) -> tuple[str, str]:
        try:
            return self.process.communicate("stop\n", timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.communicate()

    def report(self) -> dict[str, Any]:
        """Ask for the end; what it knows then."""
        out, err = self._end()
        assert self.process.returncode == 0, out + err
        result: dict[str, Any] = json.loads(out)
        return result


def band_noise(seconds: float, rate_hz: int, seed: int) -> np.ndarray:
    """Noise between 300 Hz and 6 kHz: what every rate in the test can carry."""
    count = round(seconds * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    pitch_hz = np.fft.rfftfreq(count, 1 / rate_hz)
    spectrum[(pitch_hz < 300) | (pitch_hz > 6_000)] = 0
    sound = np.fft.irfft(spectrum, count)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def best_correlation(played: np.ndarray, captured: np.ndarray) -> float:
    """Of the played sound and the equally long stretch of the captured one that fits it best."""
    size = len(played) + len(captured)
    fit = np.fft.irfft(np.fft.rfft(captured, size) * np.conj(np.fft.rfft(played, size)), size)
    start = int(np.argmax(fit[: len(captured) - len(played) + 1]))
    return float(np.corrcoef(played, captured[start : start + len(played)])[0, 1])


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
@pytest.mark.parametrize("seed", [11])
class TestVirtualMicrophone:
    pytestmark = virtmic

    def test_what_is_played_is_captured(self, tmp_path: Path, rate_hz: int, seed: int) -> None:
        played = band_noise(3.0, rate_hz, seed)
        soundfile.write(tmp_path / "played.wav", played, rate_hz)
        # The server at the same rate: its own resampling would shift the sound by part of a sample.
        with (
            VirtualMicrophone(tmp_path, rate_hz) as server,
            Recorder(server, tmp_path, device="VIRT", rate_hz=rate_hz) as recorder,
        ):
            assert server.play(tmp_path / "played.wav", latency_ms=1000).wait(TIMEOUT_S) == 0
            report = recorder.report()
        captured = np.load(recorder.saved)
        assert report["device"] == "virtmic"
        assert (report["rate_hz"], report["channels"]) == (rate_hz, 1)
        assert len(captured) >= len(played)
        assert best_correlation(played, captured) > 0.99, report
        assert (report["lost_samples"], report["overruns"], report["device_overruns"]) == (0, 0, 0)
        assert report["contiguous"]
        assert report["utc_error_s"] < 2
        assert report["close_s"] < 2
        assert not report["close_abandoned"]


@pytest.mark.virtmic
@pytest.mark.skipif(missing is not None, reason=str(missing))
def test_a_sound_server_that_dies_is_noticed_and_close_returns(tmp_path: Path) -> None:
    """PortAudio ends the stream, or says nothing and stays busy: then only the age of the sound tells."""
    with (
        VirtualMicrophone(tmp_path) as server,
        Recorder(server, tmp_path, rate_hz=16_000) as recorder,  # the default device
    ):
        server.kill_server()
        printed = recorder.next_line()  # without being asked
        assert printed, "nobody noticed"
        assert recorder.process.wait(TIMEOUT_S) == 0  # nor does the end of the process hang
    report = json.loads(printed)
    assert report["finished"] != report["active"]
    assert report["finished"] or report["last_sample_age_s"] > 3
    assert report["close_s"] < 2 * microphone_module.CLOSE_TIMEOUT_S

"""The microphone: its rules with a stand-in for PortAudio, its sound with a virtual one."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamer.audio import Chunk
from streamer.capture import patience
from streamer.capture.devices import NoInputDevice
from streamer.capture.microphone import Microphone
from streamer.errors import DeviceError
from tests.support import virtual_microphone
from tests.support.portaudio import StandIn
from tests.support.virtual_microphone import VirtualMicrophone

# -- with a stand-in ----------------------------------------------------------------------------------

TIMEOUT_S = 30.0


@pytest.fixture
def portaudio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(tmp_path / "stand-in", monkeypatch)


@pytest.fixture
def open_microphone(portaudio: StandIn) -> Iterator[Callable[..., Microphone]]:
    made = []

    def open_one(*arguments: Any, **options: Any) -> Microphone:
        microphone = Microphone(*arguments, **options)
        made.append(microphone)
        microphone.open()
        return microphone

    yield open_one
    for microphone in made:
        microphone.close()


def listen(microphone: Microphone, done: Callable[[list[Chunk]], bool]) -> list[Chunk]:
    """Read as the daemon does, until that is so."""
    chunks: list[Chunk] = []
    deadline_s = time.monotonic() + TIMEOUT_S
    while not done(chunks):
        assert time.monotonic() < deadline_s, (microphone.trouble, chunks[-1:])
        select.select([microphone.fileno()], [], [], microphone.next_due_s())
        chunk = microphone.read()
        if chunk is not None:
            chunks.append(chunk)
    return chunks


def samples_in(chunks: list[Chunk]) -> int:
    return sum(len(chunk.samples) for chunk in chunks)


def gaps_in(chunks: list[Chunk]) -> list[int]:
    pairs = itertools.pairwise(chunks)
    return [gap for before, after in pairs if (gap := after.first_sample - before.end_sample)]


def children() -> list[str]:
    """Our own processes, but for the helpers that other tests' pools have left behind."""
    numbers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [number for number in numbers if b"multiprocessing" not in _command(number)]


def _command(number: str) -> bytes:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return b""


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
def test_own_rate_and_channels_unless_told(
    portaudio: StandIn, open_microphone, device, rate_hz, channels, expected
) -> None:
    microphone = open_microphone(device, rate_hz, channels)
    options = portaudio.options
    assert (options["device"], options["samplerate"], options["channels"]) == expected
    assert options["dtype"] == "float32"
    assert microphone.rate_hz == expected[1]
    assert f"{expected[1]} Hz, {expected[2]} channel" in microphone.description
    assert microphone.live


def test_blocks_arrive_as_chunks(open_microphone) -> None:
    desk = open_microphone("Desk", wake_ms=20)
    chunks = listen(desk, lambda chunks: samples_in(chunks) >= 3200)
    assert chunks[0].first_sample == 0
    assert gaps_in(chunks) == []
    heard = np.concatenate([chunk.samples for chunk in chunks])
    assert np.array_equal(heard, np.arange(len(heard)) % 1024 / np.float32(1024))
    assert abs(chunks[-1].captured_utc_s - time.time()) < 5
    assert (desk.lost_samples, desk.overruns, desk.trouble) == (0, 0, None)
    assert desk.cpu_s > 0


def test_it_wakes_us_when_the_sound_that_is_wanted_is_there(open_microphone) -> None:
    desk = open_microphone("Desk", wake_ms=20)
    (first,) = listen(desk, len)
    end = first.end_sample
    ends = []
    for _ in range(12):
        end += 1440
        desk.want(end)
        chunk = listen(desk, len)[-1]
        ends.append(chunk.end_sample == end)
        end = chunk.end_sample
    assert sum(ends) >= 6, ends
    assert (desk.lost_samples, desk.overruns, desk.trouble) == (0, 0, None)


def test_whatever_is_wanted_sound_comes_often_enough_to_be_judged(open_microphone) -> None:
    desk = open_microphone("Desk", wake_ms=20, stall_s=0.6)
    (first,) = listen(desk, len)
    desk.want(first.end_sample + 16_000 * 60)
    chunks = listen(desk, lambda chunks: samples_in(chunks) >= 16_000)
    assert desk.trouble is None
    assert len(chunks) >= 3


def test_an_overflow_of_the_device_is_counted_and_shows_as_a_gap(portaudio: StandIn, open_microphone) -> None:
    desk = open_microphone("Desk")
    chunks = listen(desk, lambda chunks: samples_in(chunks) >= 1600)
    portaudio.put("overflow")
    chunks += listen(desk, lambda fresh: desk.overruns and samples_in(fresh) >= 1600)
    assert gaps_in(chunks) == [1]
    assert (desk.overruns, desk.lost_samples) == (1, 1)


def test_a_reader_that_sleeps_loses_the_oldest(open_microphone) -> None:
    desk = open_microphone("Desk", ring_s=0.2)
    before = listen(desk, lambda chunks: samples_in(chunks) >= 1600)
    time.sleep(0.8)
    chunks = listen(desk, lambda chunks: samples_in(chunks) >= 8000)
    assert chunks[0].first_sample > 1600
    assert desk.overruns == 1
    heard = np.concatenate([chunk.samples for chunk in chunks])
    assert np.array_equal(heard, (chunks[0].first_sample + np.arange(len(heard))) % 1024 / np.float32(1024))
    assert desk.lost_samples == chunks[0].first_sample - before[-1].end_sample > 0.3 * 16_000


def test_a_recorder_that_overtakes_us_spoils_nothing(portaudio: StandIn, open_microphone) -> None:
    """Sound much faster than real time through a small ring: what is given is what was captured."""
    portaudio.say(fast=True)
    desk = open_microphone("Desk", ring_s=0.05, wake_ms=10)
    chunks = listen(desk, lambda chunks: samples_in(chunks) >= 50_000)
    for chunk in chunks:
        places = chunk.first_sample + np.arange(len(chunk.samples))
        assert np.array_equal(chunk.samples, places % 1024 / np.float32(1024))
    assert desk.lost_samples == chunks[-1].end_sample - samples_in(chunks)


def assert_back(microphone: Microphone, chunks: list[Chunk], state: str, troubles: list[str]) -> None:
    """It was told, the sound goes on after a gap as long as the absence, and the books say so."""
    (gap,) = gaps_in(chunks)
    assert troubles[0] == state
    assert microphone.absent_samples == microphone.lost_samples == gap
    news = microphone.take_news()
    assert news.startswith("back after ")
    assert f"{gap:,} samples ({gap / microphone.rate_hz:.3f} s) were not heard" in news
    assert microphone.take_news() == ""
    before = next(
        chunk for chunk, after in itertools.pairwise(chunks) if after.first_sample > chunk.end_sample
    )
    passed_s = chunks[-1].captured_utc_s - before.captured_utc_s
    assert abs((chunks[-1].end_sample - before.end_sample) / microphone.rate_hz - passed_s) < 0.1


def listen_through(
    microphone: Microphone, fault: Callable[[], None], mend: Callable[[], None]
) -> tuple[list[Chunk], list[str]]:
    """All sound from before a fault to after its mending; the troubles in between."""
    chunks = listen(microphone, lambda chunks: samples_in(chunks) >= 1600)
    fault()
    chunks += listen(microphone, lambda _: microphone.trouble is not None)
    assert microphone.trouble is not None
    troubles = [microphone.trouble.state]
    noticed_s = time.monotonic()
    while time.monotonic() < noticed_s + 0.5:
        chunks += filter(None, [microphone.read()])
        time.sleep(0.02)
        if microphone.trouble:
            troubles.append(microphone.trouble.state)
    mend()
    chunks += listen(microphone, lambda fresh: microphone.trouble is None and samples_in(fresh) >= 1600)
    return chunks, troubles


def test_a_device_that_goes_and_comes_back(portaudio: StandIn, open_microphone) -> None:
    desk = open_microphone("Desk")
    handles = len(os.listdir("/proc/self/fd"))
    for round_number in range(3):
        absent_before = desk.absent_samples

        def unplug() -> None:
            portaudio.say(devices=[["USB Audio: Shelf", 1, 44_100.0, 0]], default=0)
            portaudio.put("gone")

        def plug() -> None:
            portaudio.remove("gone")
            portaudio.say(devices=[["Desk", 1, 16_000.0, 1]])

        chunks, troubles = listen_through(desk, unplug, plug)
        assert set(troubles) == {"no-device"}
        (gap,) = gaps_in(chunks)
        assert desk.absent_samples - absent_before == gap, round_number
        assert len(os.listdir("/proc/self/fd")) == handles
        assert len(children()) == 1
    assert desk.lost_samples == desk.absent_samples
    assert desk.description == 'microphone "Desk" (16000 Hz, 1 channel)'


def test_why_it_is_gone_is_told(portaudio: StandIn, open_microphone) -> None:
    desk = open_microphone("Desk")
    portaudio.say(devices=[["USB Audio: Shelf", 1, 44_100.0, 0]])
    portaudio.put("gone")
    listen(desk, lambda _: desk.trouble is not None)
    gone = 'microphone "Desk" (16000 Hz, 1 channel) is gone: '
    assert desk.trouble.detail == gone + "Device unavailable"
    listen(desk, lambda _: desk.trouble.detail != gone + "Device unavailable")
    assert desk.trouble.detail == gone + 'no input device "Desk"'


def test_a_device_that_falls_silent_is_opened_anew(portaudio: StandIn, open_microphone) -> None:
    desk = open_microphone("Desk", stall_s=0.3)
    chunks, troubles = listen_through(
        desk, lambda: portaudio.put("silence"), lambda: portaudio.remove("silence")
    )
    assert_back(desk, chunks, "stalled", troubles)


def test_a_device_that_is_silent_from_the_beginning(
    portaudio: StandIn, open_microphone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_SOUND_S", 0.5)
    portaudio.put("silence")
    desk = open_microphone("Desk")
    listen(desk, lambda _: desk.trouble is not None)
    assert desk.trouble.state == "stalled"
    portaudio.remove("silence")
    chunks = listen(desk, lambda chunks: samples_in(chunks) >= 1600)
    assert chunks[0].first_sample == desk.absent_samples > 0.5 * 16_000
    assert desk.take_news().startswith("back after ")


@pytest.mark.parametrize("where", ["list", "open", "start"])
def test_a_recorder_that_hangs_is_given_up(
    portaudio: StandIn, open_microphone, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(patience, "SHORTEST_OPEN_S", 0.4)
    monkeypatch.setattr(patience, "LONGEST_OPEN_S", 0.8)
    desk = open_microphone("Desk", stall_s=0.3)

    def hang() -> None:
        portaudio.say(hangs=where)
        os.kill(portaudio.options["pid"], signal.SIGKILL)

    chunks, troubles = listen_through(desk, hang, lambda: portaudio.say(hangs=""))
    assert_back(desk, chunks, "no-device", troubles)
    assert len(children()) == 1


def test_a_recorder_that_is_stopped_is_replaced(portaudio: StandIn, open_microphone) -> None:
    desk = open_microphone("Desk", stall_s=0.3)
    chunks, troubles = listen_through(
        desk, lambda: os.kill(portaudio.options["pid"], signal.SIGSTOP), lambda: None
    )
    assert troubles[0] == "stalled"
    assert len(gaps_in(chunks)) == 1
    assert len(children()) == 1


def test_what_hangs_at_the_start_is_a_fault(
    portaudio: StandIn, open_microphone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_OPEN_S", 0.5)
    portaudio.say(hangs="open")
    with pytest.raises(DeviceError, match="does not open: PortAudio hangs"):
        open_microphone("Desk")
    assert children() == []


@pytest.mark.parametrize(
    ("first_hz", "then_hz", "stream_hz"), [(48_000, 16_000, 48_000), (8_000, 44_100, 16_000)]
)
def test_another_rate_after_the_return(
    portaudio: StandIn, open_microphone, first_hz: int, then_hz: int, stream_hz: int
) -> None:
    """The clock goes on at the rate that it began with, but no less than sound is brought to anyway."""
    portaudio.say(devices=[["Desk", 1, first_hz, 1]])
    desk = open_microphone("Desk")
    assert desk.rate_hz == stream_hz

    def change() -> None:
        portaudio.say(devices=[["Desk", 2, then_hz, 1]])
        os.kill(portaudio.options["pid"], signal.SIGKILL)

    chunks = listen(desk, lambda chunks: samples_in(chunks) >= stream_hz / 4)
    change()
    chunks += listen(desk, lambda chunks: samples_in(chunks) >= stream_hz)
    assert desk.rate_hz == stream_hz
    assert desk.take_news().endswith(f'; now microphone "Desk" ({then_hz} Hz, 2 channels)')
    (gap,) = gaps_in(chunks)
    assert gap == desk.absent_samples
    passed_s = chunks[-1].captured_utc_s - chunks[0].captured_utc_s
    assert abs((chunks[-1].end_sample - chunks[0].end_sample) / stream_hz - passed_s) < 0.2


def test_a_device_asked_for_by_number_is_found_under_another(portaudio: StandIn, open_microphone) -> None:
    shelf = open_microphone("2")
    assert "Shelf" in shelf.description
    portaudio.say(
        devices=[["USB Audio: Shelf", 1, 44_100.0, 0], ["New", 1, 48_000.0, 0], ["New2", 1, 48_000.0, 0]]
    )
    os.kill(portaudio.options["pid"], signal.SIGKILL)
    listen(shelf, lambda _: shelf.trouble is not None)
    listen(shelf, lambda _: shelf.trouble is None)
    assert portaudio.options["device"] == 0


def test_a_pause_closes_the_device_and_is_no_loss(portaudio: StandIn, open_microphone) -> None:
    desk = open_microphone("Desk")
    before = listen(desk, lambda chunks: samples_in(chunks) >= 1600)
    desk.pause()
    desk.pause()
    assert children() == []
    assert desk.read() is None
    time.sleep(0.3)
    desk.resume()
    after = listen(desk, lambda chunks: samples_in(chunks) >= 1600)
    assert after[0].first_sample == desk.pause_end
    assert after[0].first_sample - before[-1].end_sample > 0.3 * 16_000
    assert (desk.lost_samples, desk.take_news(), desk.trouble) == (0, "", None)


def test_a_device_that_is_gone_after_a_pause_is_waited_for(portaudio: StandIn, open_microphone) -> None:
    """What is missing after the pause is lost, and only that."""
    desk = open_microphone("Desk")
    listen(desk, lambda chunks: samples_in(chunks) >= 1600)
    desk.pause()
    portaudio.put("gone")
    time.sleep(0.5)
    desk.resume()
    listen(desk, lambda _: desk.trouble is not None)
    portaudio.remove("gone")
    after = listen(desk, lambda chunks: samples_in(chunks) >= 1600)
    assert desk.pause_end is not None
    assert after[0].first_sample - desk.pause_end == desk.absent_samples > 0
    assert "back after" in desk.take_news()


def test_we_were_stopped_ourselves(open_microphone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time in which nobody looked is nobody's silence."""
    desk = open_microphone("Desk", stall_s=0.2)
    listen(desk, lambda chunks: samples_in(chunks) >= 1600)
    os.kill(int(children()[0]), signal.SIGSTOP)
    time.sleep(0.1)
    while desk.read():
        pass
    monkeypatch.setattr(patience, "LATE_S", 0.5)
    time.sleep(1.0)
    assert desk.read() is None
    assert desk.trouble is None
    os.kill(int(children()[0]), signal.SIGCONT)
    listen(desk, lambda chunks: samples_in(chunks) >= 1600)
    assert desk.trouble is None


def test_a_recorder_that_cannot_be_started_is_tried_again(
    portaudio: StandIn, open_microphone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process, memory or descriptor to be had: nothing of the attempt stays."""
    desk = open_microphone("Desk")

    def refuse(*_: Any) -> int:
        raise OSError(24, "Too many open files")

    def lack() -> None:
        monkeypatch.setattr(os, "memfd_create", refuse)
        os.kill(portaudio.options["pid"], signal.SIGKILL)

    create = os.memfd_create
    chunks, troubles = listen_through(desk, lack, lambda: monkeypatch.setattr(os, "memfd_create", create))
    assert_back(desk, chunks, "no-device", troubles)


def test_closed_stays_closed_and_opens_again(open_microphone) -> None:
    desk = open_microphone("Desk")
    listen(desk, lambda chunks: samples_in(chunks) >= 160)
    desk.close()
    desk.close()
    assert desk.fileno() is None
    assert desk.read() is None
    assert children() == []
    desk.open()
    assert listen(desk, bool)[0].first_sample == 0  # a new stream, a new clock
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
def test_a_refusal_names_the_knob(portaudio: StandIn, options, number, text, remedy, when) -> None:
    portaudio.say(**{when: [text, number]})
    microphone = Microphone(1, **options)
    with pytest.raises(DeviceError) as caught:
        microphone.open()
    assert f"refuses: {text}" in caught.value.message.replace("Error starting stream: ", "")
    assert "USB Audio: Desk" in caught.value.message
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)
    assert microphone.fileno() is None
    assert children() == []
    portaudio.say(**{when: None})
    microphone.open()
    microphone.close()


def test_no_device_at_all(portaudio: StandIn) -> None:
    portaudio.say(devices=[])
    with pytest.raises(NoInputDevice):
        Microphone().open()


def test_the_recorder_is_small_and_ends_with_us_alone(portaudio: StandIn) -> None:
    """It has no numpy, leaves signals to us, and is gone when we are killed."""
    program = (
        "import time\nfrom streamer.capture.microphone import Microphone\n"
        "microphone = Microphone('Desk'); microphone.open(); print(flush=True)\n"
        "while True:\n    time.sleep(0.05); microphone.read()\n"
    )
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(portaudio.folder), str(root)])
    process = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        recorder = portaudio.options["pid"]
        assert "numpy" not in Path(f"/proc/{recorder}/maps").read_text()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.kill(recorder, number)
        time.sleep(0.3)
        assert Path(f"/proc/{recorder}").exists()
    finally:
        process.kill()
        process.communicate()
    deadline_s = time.monotonic() + TIMEOUT_S
    while Path(f"/proc/{recorder}/maps").exists() and _is_alive(recorder):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# -- with a virtual microphone ------------------------------------------------------------------------

missing = virtual_microphone.available()
virtmic = [pytest.mark.virtmic, pytest.mark.skipif(missing is not None, reason=str(missing))]


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
        assert report["description"] == f'microphone "virtmic" ({rate_hz} Hz, 1 channel)'
        assert len(captured) >= len(played)
        assert best_correlation(played, captured) > 0.99, report
        assert (report["lost_samples"], report["overruns"]) == (0, 0)
        assert report["contiguous"]
        assert report["utc_error_s"] < 2
        assert report["close_s"] < 2

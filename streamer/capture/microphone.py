"""A microphone, through PortAudio: its callback fills the ring, we empty it."""

from __future__ import annotations

import atexit
import threading
import time
from typing import Any

from streamer.audio import Chunk
from streamer.capture.devices import InputDevice, find_input_device, load_sounddevice, quiet_stderr
from streamer.capture.ring import Ring
from streamer.errors import DeviceError

CLOSE_TIMEOUT_S = 2.0
MOST_OWN_CHANNELS = 8
"""More is a sound server's claim (32, 128), not microphones: ask for one, and let the server mix down."""
INVALID_RATE, INVALID_CHANNELS = -9997, -9998  # PortAudio's error numbers


class Microphone:
    """An input device at its own rate; sound waits in a ring of `ring_s` seconds until read."""

    live = True
    warning: str | None = None

    def __init__(
        self,
        device: str | int | None = None,
        rate_hz: int | None = None,
        channels: int | None = None,
        ring_s: float = 10.0,
        block_ms: float | None = None,
        wake_ms: float = 20.0,
    ) -> None:
        self._wanted = device
        self._asked_rate_hz = rate_hz
        self._asked_channels = channels
        self._ring_s = ring_s
        self._block_ms = block_ms
        self._wake_ms = wake_ms
        self.rate_hz = rate_hz or 0
        self.channels = channels or 0
        self.device: InputDevice | None = None
        self.device_overruns = 0  # PortAudio said that input was lost; how much it does not say
        self.finished = False  # PortAudio ended the stream: the device or the sound server is gone
        self.close_abandoned = False  # PortAudio's close() hung and was left behind in its thread
        self._ring: Ring | None = None
        self._stream: Any = None
        self._last_sample_s = time.monotonic()

    @property
    def description(self) -> str:
        """For people: which microphone, at what rate."""
        if self.device is None:
            return "microphone" if self._wanted is None else f'microphone "{self._wanted}"'
        plural = "" if self.channels == 1 else "s"
        return f'microphone "{self.device.name}" ({self.rate_hz} Hz, {self.channels} channel{plural})'

    def open(self) -> None:
        """Find the device and start to capture; raises DeviceError."""
        if self._stream is not None:
            raise DeviceError(f"{self.description} is open already")
        sounddevice = load_sounddevice()
        device = self.device = find_input_device(self._wanted)
        self.rate_hz = self._asked_rate_hz or device.default_rate_hz
        self.channels = self._asked_channels or _own_channels(device)
        self.finished, self.device_overruns = False, 0
        ring = self._ring = self._new_ring()
        self._last_sample_s = time.monotonic()
        try:
            with quiet_stderr():
                self._stream = self._start_stream(sounddevice, device, ring)
        except (sounddevice.PortAudioError, ValueError) as error:
            self._ring = None
            ring.close()
            raise self._refusal(error, device) from error

    def _new_ring(self) -> Ring:
        wake_samples = max(1, round(self._wake_ms * self.rate_hz / 1000))
        return Ring(max(1, round(self._ring_s * self.rate_hz)), self.rate_hz, wake_samples=wake_samples)

    def _start_stream(self, sounddevice: Any, device: InputDevice, ring: Ring) -> Any:
        def on_block(frames: Any, _count: int, _times: Any, status: Any) -> None:
            if status and status.input_overflow:
                self.device_overruns += 1
                ring.skip(1)  # at least one: the jump lets the pipeline see that sound is missing here
            ring.write(frames)
            self._last_sample_s = time.monotonic()

        def on_finished() -> None:
            self.finished = True
            ring.wake()

        stream = sounddevice.InputStream(
            samplerate=self.rate_hz,
            blocksize=round((self._block_ms or 0) * self.rate_hz / 1000),  # 0: what suits the device
            device=device.index,
            channels=self.channels,
            dtype="float32",
            callback=on_block,
            finished_callback=on_finished,
        )
        try:
            stream.start()
        except Exception:
            stream.close()
            raise
        return stream

    def _refusal(self, error: Exception, device: InputDevice) -> DeviceError:
        number = error.args[1] if len(error.args) > 1 else 0
        own = f"its own rate is {device.default_rate_hz} Hz with up to {device.channels} channels"
        remedy = "is another program using it? `streamer devices` lists what there is"
        if number == INVALID_RATE or (self._asked_rate_hz and number != INVALID_CHANNELS):
            remedy = f"{own}: try --rate {device.default_rate_hz}"
        elif number == INVALID_CHANNELS:
            remedy = f"{own}: try --channels {_own_channels(device)}"
        reason = str(error.args[0] if error.args else error).removeprefix("Error opening InputStream: ")
        return DeviceError(f"{self.description} refuses: {reason.splitlines()[0]}", remedy)

    def read(self) -> Chunk | None:
        """The sound since the last read, up to a gap; None when there is none."""
        if self._ring is None:
            return None
        first_sample, samples = self._ring.read()
        if not len(samples):
            return None
        utc_s = self._ring.captured_utc_s(first_sample + len(samples))
        return Chunk(samples, first_sample, utc_s)

    def fileno(self) -> int | None:
        """Readable when at least `wake_ms` of sound is there, or the device has ended the stream."""
        return self._ring.fileno() if self._ring is not None and self._stream is not None else None

    def next_due_s(self) -> float:
        """Seconds until a wait on fileno() is worth giving up and looking anyway."""
        return self._wake_ms / 1000

    @property
    def active(self) -> bool:
        """PortAudio believes that it captures; can stay True on a device that is silent for good."""
        return self._stream is not None and not self.finished

    @property
    def last_sample_age_s(self) -> float:
        """Seconds since sound last arrived (since open() before the first)."""
        return time.monotonic() - self._last_sample_s

    @property
    def lost_samples(self) -> int:
        """Samples overwritten in the ring, and at least one for each loss that the device reports."""
        return self._ring.lost_samples if self._ring is not None else 0

    @property
    def overruns(self) -> int:
        """Times that sound was lost, in the ring or in the device."""
        return self._ring.overruns if self._ring is not None else 0

    def close(self) -> None:
        """Stop capturing. PortAudio's own close() can hang: it runs in a thread that we can leave behind."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        closer = threading.Thread(target=stream.close, name="microphone-close", daemon=True)
        closer.start()
        closer.join(CLOSE_TIMEOUT_S)
        if closer.is_alive():
            self.close_abandoned = True
            _forget_exit_handler()
        ring = self._ring
        if ring is not None:
            ring.close()


def _own_channels(device: InputDevice) -> int:
    return device.channels if device.channels <= MOST_OWN_CHANNELS else 1


def _forget_exit_handler() -> None:
    """sounddevice ends PortAudio at exit, which hangs for as long as another call into PortAudio does."""
    handler = getattr(load_sounddevice(), "_exit_handler", None)
    if handler is not None:
        atexit.unregister(handler)

"""A process of its own that captures from one device into shared memory, until it is killed.

Calls into PortAudio can hang for ever, loop, or work with a stale list of devices; a thread in such a call
can neither be ended nor forgotten, a process can. This one is small (no numpy), does as its order on standard
input says, and tells through a pipe what has been written and how it went (`recorder_wire`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.capture.devices import InputDevice
    from streamer.capture.ring_writer import RingWriter
    from streamer.errors import DeviceError

LIBRARY = "libportaudio.so.2"
PERIOD_S = 0.02
"""Of the device: so late may sound come to us. Each one wakes the sound server, and its library here."""
BUFFER_S = 0.32
"""Of the device: so long may we sleep, or be kept from running."""
LOOK_S, LOOKS_MAX = 0.004, 8
"""How soon, and how often, sound is looked for again that is not there when it should be."""
HANG_S = 0.5
"""What takes a few microseconds hangs where it takes longer."""
TELL_S = 0.25
"""At the latest the daemon is told so often, however much it wants to wait for: it judges us by that."""
MOST_OWN_CHANNELS = 8
"""More is a sound server's claim (32, 128), not microphones: ask for one, and let the server mix down."""
INVALID_RATE, INVALID_CHANNELS = -9997, -9998  # PortAudio's error numbers
SAMPLE_BYTES = 4
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main() -> None:
    """Read the order, record; never returns."""
    order = json.loads(sys.stdin.buffer.read())
    sys.path[:] = order["path"]  # our daemon's: the same packages, wherever they lie
    _depend_on(order["parent"])
    _record(order)
    os._exit(0)  # not through PortAudio's own end, which can hang


def _depend_on(parent: int) -> None:
    """End with our daemon, whatever ends it, and not before: a signal to its group is for it to answer."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _record(order: dict[str, Any]) -> None:
    from streamer.capture.devices import NoInputDevice
    from streamer.capture.recorder_wire import refused_record
    from streamer.errors import DeviceError

    try:
        _capture(order)
    except DeviceError as error:
        told = refused_record(
            message=error.message, remedy=error.remedy, none_at_all=isinstance(error, NoInputDevice)
        )
        os.write(order["pipe"], told)
    except BrokenPipeError:
        pass  # nobody listens any more


def _capture(order: dict[str, Any]) -> None:
    from streamer.capture.devices import load_sounddevice
    from streamer.capture.recorder_wire import moved_record, opened_record
    from streamer.capture.ring_writer import RingWriter
    from streamer.capture.sound_server import watch
    from streamer.errors import DeviceError
    from streamer.memory import give_back

    _name_library()
    sounddevice = load_sounddevice()
    device = _find(order)
    rate_hz = order["rate_hz"] or device.default_rate_hz
    channels = order["channels"] or own_channels(device)
    stream = _start(sounddevice, order, device, rate_hz, channels)
    block_frames = max(1, round(order["block_s"] * rate_hz))
    # What a device holds is not what it was asked for; half of it stays for when the machine is busy.
    most_frames = max(round(PERIOD_S * rate_hz), int(stream.latency * rate_hz / 2))
    capacity_frames = max(1, round(order["ring_s"] * rate_hz)) + most_frames
    ring = RingWriter(order["memory"], capacity_frames, SAMPLE_BYTES * channels)
    pipe = order["pipe"]
    source = watch(
        lambda source: _tell(pipe, moved_record(**source._asdict())), off_monitor=order["off_monitor"]
    )
    os.write(
        pipe,
        opened_record(
            device=vars(device),
            rate_hz=rate_hz,
            channels=channels,
            capacity_frames=capacity_frames,
            took_s=time.monotonic() - order["began_s"],
            source=source and source._asdict(),
        ),
    )
    os.set_blocking(pipe, False)
    recorder = _Recorder(stream, ring, pipe, rate_hz, block_frames, most_frames)
    record = recorder.compiled(sounddevice)
    give_back()  # PortAudio has asked for all that ALSA has, and ALSA has loaded libraries for video
    try:
        recorder.wait_for_sound()
        if record:
            record()
        while True:
            recorder.tell_next()
    except sounddevice.PortAudioError as error:
        raise DeviceError(_reason(error)) from error


def _name_library() -> None:
    """What sounddevice asks `ctypes.util` for, whose import takes 13 ms and 1.5 MB: it can run compilers."""
    import ctypes
    from types import ModuleType

    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return  # it may have another name here
    answer = ModuleType("ctypes.util")
    vars(answer)["find_library"] = {"portaudio": LIBRARY}.get
    sys.modules["ctypes.util"] = answer


def _tell(pipe: int, record: bytes) -> None:
    """From another thread; the kernel keeps short records whole."""
    while True:
        with contextlib.suppress(BlockingIOError):
            os.write(pipe, record)
            return
        time.sleep(PERIOD_S)


class _Recorder:
    """Sound from the device into the ring; the daemon is told when there is as much as it waits for."""

    def __init__(
        self, stream: Any, ring: RingWriter, pipe: int, rate_hz: int, block_frames: int, most_frames: int
    ) -> None:
        from streamer.capture.recorder_wire import sound_record

        self._sound_record = sound_record
        self._stream, self._ring, self._pipe, self._rate_hz = stream, ring, pipe, rate_hz
        self._block_frames = block_frames
        self._longest_frames = round(TELL_S * rate_hz)
        self._most_frames = most_frames
        self._told = 0
        self._step = block_frames
        self._overflows = 0

    def wait_for_sound(self) -> None:
        """PortAudio's own wait for the first sound is a busy one."""
        while self._available() < min(self._block_frames, self._most_frames):
            time.sleep(PERIOD_S)

    def compiled(self, sounddevice: Any) -> Callable[[], None] | None:
        """What `tell_next` does, in C, until the daemon has gone or PortAudio complains; None: no kernel."""
        from streamer.capture.recorder_kernel import GONE, Task, find_call, place, portaudio
        from streamer.capture.recorder_wire import CLOCK
        from streamer.capture.ring_writer import HEADER_BYTES

        call, calls, ring = find_call(), portaudio(sounddevice, self._stream), self._ring
        if call is None or calls is None:
            return None
        memory = place(ring.memory)
        task = Task(
            **calls,
            header=memory,
            storage=memory + HEADER_BYTES,
            capacity_frames=ring.capacity_frames,
            frame_bytes=ring.frame_bytes,
            rate_hz=self._rate_hz,
            block_frames=self._block_frames,
            longest_frames=self._longest_frames,
            most_frames=self._most_frames,
            look_us=round(LOOK_S * 1e6),
            looks_max=LOOKS_MAX,
            hang_us=round(HANG_S * 1e6),
            frames=ring.frames,
            told=self._told,
            step=self._step,
            overflows=self._overflows,
            pipe=self._pipe,
            clock=CLOCK,
        )

        def record() -> None:
            error = call(task)
            ring.frames, self._told, self._step = task.frames, task.told, task.step
            self._overflows = task.overflows
            if error != GONE:
                sounddevice._check(error)  # raises PortAudioError

        return record

    def tell_next(self) -> None:
        """Sleep and read until there is enough to tell the daemon of."""
        told, ring = self._told, self._ring
        while ring.frames == told or ring.frames < self._due_frames:
            # The daemon says what it wants while we sleep; until then it is taken to want as much as before.
            self._await(min(told + self._step - ring.frames, self._most_frames))
            frames = max(1, min(self._due_frames - ring.frames, self._most_frames))
            self._await(frames)
            self._read(frames)
        self._step, self._told = ring.frames - told, ring.frames
        with contextlib.suppress(BlockingIOError):  # full: the next record that fits says as much
            os.write(self._pipe, self._sound_record(ring.frames, self._overflows))

    @property
    def _due_frames(self) -> int:
        wanted = self._ring.wanted
        due = wanted if wanted > self._told else self._told + self._block_frames
        return min(due, self._told + self._longest_frames)

    def _await(self, frames: int) -> None:
        """Sleep until so many frames wait in the device: PortAudio, asked for more, waits a period or two.

        Where they do not come in time it is asked all the same, since it knows when a device is gone.
        """
        for _ in range(LOOKS_MAX):
            missing = frames - self._available()
            if missing <= 0:
                break
            time.sleep(max(LOOK_S, missing / self._rate_hz))

    def _available(self) -> int:
        """Frames that wait in the device. A sound server that ends just then can leave us here for ever."""
        signal.setitimer(signal.ITIMER_REAL, HANG_S)  # its signal ends us
        try:
            return int(self._stream.read_available)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _read(self, frames: int) -> None:
        self._ring.claim(frames)
        block, overflowed = self._stream.read(frames)
        self._overflows += bool(overflowed)
        self._ring.write(block)


def _find(order: dict[str, Any]) -> InputDevice:
    """The device that is wanted; one that was asked for by number is the one of that name from then on."""
    from streamer.capture.devices import find_input_device
    from streamer.errors import DeviceError

    device, name = order["device"], order["name"]
    if name is None:
        return find_input_device(device)
    with contextlib.suppress(DeviceError):
        found = find_input_device(device)
        if found.name == name:
            return found
    return find_input_device(name)


def _start(sounddevice: Any, order: dict[str, Any], device: InputDevice, rate_hz: int, channels: int) -> Any:
    _divide_buffer(sounddevice)
    try:
        stream = sounddevice.RawInputStream(
            samplerate=rate_hz,
            blocksize=round(PERIOD_S * rate_hz),
            latency=BUFFER_S,
            device=device.index,
            channels=channels,
            dtype="float32",
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise _refusal(error, order, device, rate_hz, channels) from error
    return stream


def _divide_buffer(sounddevice: Any) -> None:
    """PortAudio divides ALSA's buffer into four periods: a long one would make sound late."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # another system than ALSA's
        ctypes.CDLL(sounddevice._libname).PaAlsa_SetNumPeriods(round(BUFFER_S / PERIOD_S))


def own_channels(device: InputDevice) -> int:
    """How many channels to take where nobody says."""
    return device.channels if device.channels <= MOST_OWN_CHANNELS else 1


def _refusal(
    error: Exception, order: dict[str, Any], device: InputDevice, rate_hz: int, channels: int
) -> DeviceError:
    from streamer.capture.devices import describe
    from streamer.errors import DeviceError

    number = error.args[1] if len(error.args) > 1 else 0
    own = f"its own rate is {device.default_rate_hz} Hz with up to {device.channels} channels"
    remedy = "is another program using it? `streamer devices` lists what there is"
    if number == INVALID_RATE or (order["rate_hz"] and number != INVALID_CHANNELS):
        remedy = f"{own}: try --rate {device.default_rate_hz}"
    elif number == INVALID_CHANNELS:
        remedy = f"{own}: try --channels {own_channels(device)}"
    return DeviceError(f"{describe(device.name, rate_hz, channels)} refuses: {_reason(error)}", remedy)


def _reason(error: Exception) -> str:
    """PortAudio's first line, without what was tried."""
    text = str(error.args[0] if error.args else error).splitlines()[0]
    return text.removeprefix("Error opening RawInputStream: ")


if __name__ == "__main__":
    main()

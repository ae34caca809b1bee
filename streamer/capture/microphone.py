"""A microphone that stays: recorded by a process that is killed and started again whenever it gives no sound.

The sample clock goes on while the device is away, by the time that passes, so that what is heard afterwards
has its right place. Everything happens in `read`, which is to be called at least a few times a second.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

from streamer.audio import SAMPLE_RATE_HZ, Chunk
from streamer.capture.conform import Conformer
from streamer.capture.devices import InputDevice, NoInputDevice, describe
from streamer.capture.patience import Patience
from streamer.capture.recorder_process import PROGRAM, recorder_order
from streamer.capture.recording import Lent, Recording
from streamer.capture.stream_clock import StreamClock
from streamer.capture.whereabouts import Whereabouts
from streamer.errors import DeviceError

HANGS = "PortAudio hangs", "plug the device out and in, or restart the sound server"


class Trouble(NamedTuple):
    """Why no sound comes."""

    state: Literal["no-device", "stalled"]
    detail: str
    since_s: float
    """When it was noticed, on the monotonic clock."""


class Microphone:
    """An input device at its own rate; up to `ring_s` seconds of sound wait until they are read."""

    live = True

    def __init__(
        self,
        device: str | int | None = None,
        rate_hz: int | None = None,
        channels: int | None = None,
        ring_s: float = 10.0,
        wake_ms: float = 20.0,
        stall_s: float = 1.5,
        *,
        recorder: Sequence[str] = PROGRAM,
    ) -> None:
        self._wanted = device
        self._order = recorder_order(device, rate_hz, channels, ring_s, wake_ms)
        self._recorder = recorder
        self._patience = Patience(stall_s)
        self._bell: select.epoll | None = None
        self._recording: Recording | None = None
        self._is_placed = False  # known to come from where it should, at its opening
        self._forget()

    def _forget(self) -> None:
        self.rate_hz = 0
        self.device: InputDevice | None = None
        self.description = "microphone" if self._wanted is None else f'microphone "{self._wanted}"'
        self.trouble: Trouble | None = None
        """What is wrong at present; it is seen to."""
        self.absent_samples = 0
        """Not heard because there was no recording; `take_news` tells of it."""
        self._whereabouts = Whereabouts(any_device=not str(self._wanted or "").strip())
        self._clock: StreamClock | None = None  # from the first opening on
        self._conformer: Conformer | None = None  # of a recording that has given sound
        self._chunks: deque[Chunk] = deque()
        self._paused = False
        self._lost_samples = self._overruns = 0
        self._cpu_s = 0.0
        self._news = ""

    # -- open and close --------------------------------------------------------------------------------

    def open(self) -> None:
        """Find the device and start to capture; raises DeviceError."""
        if self._bell is not None:
            raise DeviceError(f"{self.description} is open already")
        self._forget()
        self._bell = select.epoll()
        self._order["name"] = None
        began_s = time.monotonic()
        try:
            self._begin()
            while not self._is_opened():
                left_s = began_s + self._patience.first_open_s - time.monotonic()
                if left_s <= 0:
                    raise DeviceError(f"{self.description} does not open: {HANGS[0]}", HANGS[1])
                self._bell.poll(left_s)
        except OSError as error:
            self.close()
            raise DeviceError(f"{self.description} cannot be recorded: {error.strerror}") from error
        except BaseException:
            self.close()
            raise
        assert self._recording is not None
        self._patience.opened_first(self._recording.took_s)

    def _is_opened(self) -> bool:
        recording = self._recording
        assert recording is not None
        recording.receive()
        if recording.device is not None:
            self._is_placed = not self._whereabouts.begin(recording.device.name, recording.source)
            self._adopt(recording, recording.device)
            return True
        if recording.has_ended:
            message, remedy = recording.why_ended()
            if recording.refusal is not None and recording.refusal.facts["none_at_all"]:
                raise NoInputDevice
            raise DeviceError(message, remedy)
        return False

    def _begin(self) -> None:
        assert self._bell is not None
        self._order["off_monitor"] = self._whereabouts.wants_microphone
        self._recording = Recording(self._order, self._recorder)
        self._is_placed = False
        self._bell.register(self._recording.fileno(), select.EPOLLIN)
        self._patience.begin()

    def _adopt(self, recording: Recording, device: InputDevice) -> None:
        """The device is open."""
        self.device = device
        self._describe(recording, device)
        if self._clock is None:
            # No lower than what the sound is brought to anyway: a later device may give more than this one.
            self.rate_hz = max(recording.rate_hz, SAMPLE_RATE_HZ)
            self._clock = StreamClock(self.rate_hz)
            if isinstance(self._wanted, int) or str(self._wanted or "").strip().lstrip("-").isdecimal():
                self._order["name"] = device.name  # numbers change when devices come and go

    def _describe(self, recording: Recording, device: InputDevice) -> None:
        followed = self._whereabouts.followed
        self.description = describe(device.name, recording.rate_hz, recording.channels)
        self.description += f' of "{followed}"' if followed else ""

    def close(self) -> None:
        """Stop capturing, at once; what has not been read is gone."""
        if self._bell is not None:
            self._drop()
            self._bell.close()
            self._bell = None
            self._chunks.clear()

    def _drop(self) -> None:
        """End the recording, if there is one, and keep its books."""
        recording, self._recording = self._recording, None
        self._conformer = None
        if recording is None:
            return
        assert self._bell is not None
        self._bell.unregister(recording.fileno())
        recording.close()
        self._lost_samples += recording.lost_samples
        self._overruns += recording.overruns
        self._cpu_s += recording.cpu_s

    # -- pause -----------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Close the device; the clock goes on, and what is not heard is not lost."""
        if self._bell is not None and not self._paused:
            self._remember_end()
            self._drop()
            self._chunks.clear()
            self._paused, self.trouble = True, None

    def resume(self) -> None:
        """Open the device again; if it is not to be had, it is looked for."""
        if self._paused and self._clock is not None:
            self._paused = False
            self._clock.resume()
            self._patience.hurry()

    @property
    def pause_end(self) -> int | None:
        """The newest pause ends at this sample: what is missing after it is lost. None: not known yet."""
        return self._clock.pause_end if self._clock is not None else None

    # -- listen ----------------------------------------------------------------------------------------

    def read(self) -> Chunk | None:
        """The sound since the last read, up to a gap; None when there is none."""
        if self._bell is None or self._paused:
            return None
        if not self._chunks:
            self._look()
        return self._chunks.popleft() if self._chunks else None

    def want(self, sample: int) -> None:
        """Be readable when the sound up to this sample of the stream's clock is there, and not before.

        It is said anew after each piece of sound; the next one comes after `wake_ms` where it is not.
        """
        if self._conformer is not None and self._recording is not None:
            self._recording.want(self._conformer.recorded(sample))

    def lend(self) -> Lent | None:
        """For somebody who listens in our place; None where there is more to do than that."""
        recording, conformer = self._recording, self._conformer
        if self._bell is None or recording is None or conformer is None or not conformer.is_plain:
            return None
        if self._chunks or self.trouble or not self._is_placed or recording.moves:
            return None
        return recording.lend(self._bell.fileno())

    @property
    def has_news(self) -> bool:
        """`read` has something to do, although `fileno` may not say so."""
        return bool(self._chunks) or (self._recording is not None and self._recording.has_news)

    def passed(self, records: bytes, samples: int, captured_utc_s: float) -> None:
        """Somebody has listened in our place: to so many samples, and to these words of the recorder."""
        assert self._recording is not None
        assert self._conformer is not None
        self._patience.look()
        self._recording.passed(records, samples)
        if samples:
            self._conformer.passed(samples, captured_utc_s)
            self._patience.heard()

    def _look(self) -> None:
        """Take what has come; see to it that more will come."""
        self._patience.look()
        try:
            if self._recording is not None:
                self._listen(self._recording)
            elif self._patience.may_begin():
                self._begin()
        except OSError as error:  # no memory, process or descriptor to be had: not for ever, let us hope
            self._fail("no-device", f"{self.description} cannot be recorded: {error.strerror}")

    def _listen(self, recording: Recording) -> None:
        heard = recording.receive()
        if misplaced := self._misplaced(recording):
            self._fail("no-device", f"{self.description}: {misplaced}")
            return
        if heard:
            self._patience.heard()
            self._take(recording)
        elif recording.device is not None:
            self._patience.opened()
        if recording.has_ended:
            self._fail("no-device", f"{self.description} is gone: {recording.why_ended()[0]}")
        elif self._patience.is_over():
            silent = f"no sound from {self.description} for {self._patience.stall_s:g} s"
            is_open = recording.device is not None
            self._fail("stalled", silent if is_open else f"{self.description}: {HANGS[0]}")

    def _misplaced(self, recording: Recording) -> str:
        """Why the source from which the sound server records for us will not do; "" where it does."""
        if recording.device is None:
            return ""
        if not self._is_placed:
            if misplaced := self._whereabouts.begin(recording.device.name, recording.source):
                return misplaced
            self._is_placed = True
        while recording.moves:
            if misplaced := self._whereabouts.move(recording.moves.popleft()):
                return misplaced
            self._describe(recording, recording.device)
        return ""

    def _take(self, recording: Recording) -> None:
        if self._conformer is None:
            self._conformer = self._join(recording)
        while (piece := recording.read()) is not None:
            self._chunks += self._conformer.take(piece)

    def _join(self, recording: Recording) -> Conformer:
        """The first sound of a recording finds its place on the stream's clock."""
        assert self._clock is not None
        assert recording.device is not None
        assert recording.first_s is not None
        before, trouble, self.trouble = self.description, self.trouble, None
        self._adopt(recording, recording.device)
        begin = self._clock.begin(recording.first_s, on_time=trouble is None)
        if trouble:
            self.absent_samples += begin.lost_samples
            length = f"{begin.lost_samples:,} samples ({begin.lost_samples / self.rate_hz:.3f} s)"
            other = f"; now {self.description}" if self.description != before else ""
            self._news = f"back after {begin.absent_s:.1f} s: {length} were not heard{other}"
        return Conformer(recording.rate_hz, self.rate_hz, begin.sample)

    def _fail(self, state: Literal["no-device", "stalled"], detail: str) -> None:
        """Give this recorder up, and try another one soon."""
        if self._conformer is not None and self._recording is not None:
            self._take(self._recording)
            self._chunks += self._conformer.finish()
        self._remember_end()
        self._drop()
        since_s = self.trouble.since_s if self.trouble else time.monotonic()
        self.trouble = Trouble(state, detail, since_s)
        self._patience.failed()

    def _remember_end(self) -> None:
        if self._conformer is not None and self._recording is not None and self._clock is not None:
            place, captured_s = self._recording.end
            self._clock.end(max(self._conformer.place(place), self._conformer.end_sample), captured_s)

    # -- what is known about it ------------------------------------------------------------------------

    def take_news(self) -> str:
        """That the device is back, after how long and what that cost, or another; "" once that is told."""
        news, self._news = self._news, ""
        return "; ".join(filter(None, [news, self._whereabouts.take_news()]))

    @property
    def warning(self) -> str | None:
        """What is wrong, although it works."""
        return self._whereabouts.warning

    def fileno(self) -> int | None:
        """Readable when there is sound, as much as was wanted, or the device has ended."""
        return self._bell.fileno() if self._bell is not None else None

    def next_due_s(self) -> float:
        """Seconds until a wait on fileno() is worth giving up and looking anyway."""
        return self._patience.look_again_s

    @property
    def lost_samples(self) -> int:
        """Samples lost here or in the device, at the device's rate, and those of its absence."""
        return (
            self.absent_samples
            + self._lost_samples
            + (self._recording.lost_samples if self._recording else 0)
        )

    @property
    def overruns(self) -> int:
        """Times that sound was lost, here or in the device, while it was there."""
        return self._overruns + (self._recording.overruns if self._recording else 0)

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the device's clock is than the system's; None until that is known."""
        return self._recording.drift_ppm if self._recording else None

    @property
    def cpu_s(self) -> float:
        """Processor time of all its recorders."""
        return self._cpu_s + (self._recording.cpu_s if self._recording else 0.0)

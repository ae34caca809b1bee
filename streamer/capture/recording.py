"""What one recorder process captured, from its opening of the device to its end, on a clock of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from streamer.audio import F32
from streamer.capture import head_start
from streamer.capture.device_clock import DeviceClock
from streamer.capture.devices import InputDevice
from streamer.capture.recorder_process import PROGRAM, RecorderProcess
from streamer.capture.recorder_wire import Message, Moved, Opened, Refused, ServerSource, Sound
from streamer.capture.ring import RingReader


class Piece(NamedTuple):
    """Sound without a gap in it."""

    first: int
    """Place of its first sample on the recording's clock, which jumps where sound was lost."""
    samples: F32
    captured_utc_s: float
    """Wall clock of its last sample."""


class Lent(NamedTuple):
    """What doze.c needs to read a recording for a while, by the names it has there."""

    claimed: int
    wanted: int
    storage: int
    capacity_frames: int
    channels: int
    pipe: int
    bell: int
    """What the daemon's sleep is ended by when the pipe is readable."""
    frames: int
    overflows: int
    captured_s: float


class Recording:
    """Starts a recorder, takes what it captures, and counts what is lost."""

    def __init__(self, order: dict[str, Any], program: Sequence[str] = PROGRAM) -> None:
        early = head_start.take(order) if program is PROGRAM else None
        self._process = early or RecorderProcess(order, program)
        self.refusal: Refused | None = None
        """Why there is no sound, or no more."""
        self.device: InputDevice | None = None
        """None until the recorder has opened it."""
        self.took_s = 0.0
        """From its start until it had opened the device; we may have looked later."""
        self.source: ServerSource | None = None
        """Where a sound server took it from at the opening; None where there is none."""
        self.moves: deque[ServerSource] = deque()
        """Where it was moved to since then, until somebody takes it out."""
        self.rate_hz = 0
        self.channels = 0
        self.overwritten_samples = 0
        """Lost because we did not come in time."""
        self.overruns = 0
        """Times that sound was lost, here or in the device."""
        self.first_s: float | None = None
        """When the first sample was captured; None before any."""
        self.end: tuple[int, float] = (0, 0.0)
        """Place of the newest sample's end, and when it was captured."""
        self._ring: RingReader | None = None
        self._newest = Sound(0, 0, 0.0, 0.0, 0.0)
        self._told_frames = 0  # by `receive`
        self._next_frame = 0  # frames are places in the ring, which knows of no losses ...
        self._lost = 0  # ... so that place = frame + what had been lost by then
        self._losses: deque[tuple[int, int]] = deque()  # at this frame: so many samples, ahead of us

    def fileno(self) -> int:
        """Readable when there is something to receive."""
        return self._process.fileno()

    def receive(self) -> bool:
        """Take in what the recorder has said; True where that was sound."""
        self._note(self._process.receive())
        before, self._told_frames = self._told_frames, self._newest.frames
        return self._told_frames > before

    def _note(self, messages: Iterable[Message]) -> None:
        for message in messages:
            match message:
                case Sound():
                    self._take(message)
                case Opened(facts):
                    self._open(facts)
                case Moved(facts):
                    self.moves.append(ServerSource(**facts))
                    self._clock.break_drift()
                case Refused():
                    self.refusal = message

    def _open(self, facts: dict[str, Any]) -> None:
        self.device = InputDevice(**facts["device"])
        self.took_s = facts["took_s"]
        self.rate_hz, self.channels = facts["rate_hz"], facts["channels"]
        self.source = ServerSource(**facts["source"]) if facts["source"] else None
        self._ring = RingReader(self._process.memory, facts["capacity_frames"], self.channels)
        self._clock = DeviceClock(self.rate_hz)

    def _take(self, sound: Sound) -> None:
        begin = self._newest.frames
        if self.first_s is None:
            self.first_s = sound.captured_s - sound.frames / self.rate_hz
        if overflows := sound.overflows - self._newest.overflows:
            # PortAudio does not say how much: the jump lets the pipeline see that sound is missing here.
            self._lose(begin, overflows)
            self.overruns += overflows
            self._clock.break_drift()
        if missing := self._clock.take(sound.captured_s, sound.frames):
            self._lose(begin, missing)
            self.overruns += 1
        self._newest = sound
        lost = self._lost + sum(samples for _, samples in self._losses)
        self.end = (sound.frames + lost, sound.captured_s)

    def _lose(self, frame: int, samples: int) -> None:
        self._losses.append((frame, samples))

    def read(self) -> Piece | None:
        """The sound since the last read, up to a loss; None when there is none."""
        if self._ring is None:
            return None
        if self._losses:
            self._pass_losses()
        elif self._next_frame == self._newest.frames:
            return None
        stop = self._losses[0][0] if self._losses else self._newest.frames
        first, samples = self._ring.read(self._next_frame, stop)
        if first > self._next_frame:
            self.overwritten_samples += first - self._next_frame
            self.overruns += 1
        self._next_frame = first + len(samples)
        if not len(samples):
            return self.read() if stop < self._newest.frames else None
        ahead_s = (self._newest.frames - self._next_frame) / self.rate_hz
        return Piece(first + self._lost, samples, self._newest.captured_utc_s - ahead_s)

    def want(self, place: int) -> None:
        """Wake us when the sound up to this place on the recording's clock is there."""
        if self._ring is not None:
            self._ring.want(place - self._lost)

    def lend(self, bell: int) -> Lent | None:
        """For somebody who reads it in our place; None where there is more to it than sound."""
        if self._ring is None or self._losses or not self._process.is_plain:
            return None
        newest = self._newest
        return Lent(
            *self._ring.places(), *self._ring.shape, self.fileno(), bell,
            self._next_frame, newest.overflows, newest.captured_s,
        )  # fmt: skip

    @property
    def has_news(self) -> bool:
        """Something that it has said wants more than waiting for what it says next."""
        return self._newest.frames > self._next_frame or bool(self.moves) or self.refusal is not None

    def passed(self, records: bytes, frames: int) -> None:
        """Somebody has received these words in our place, and read so many frames."""
        self._note(self._process.heard_before(records))
        self._next_frame += frames
        self._told_frames = self._next_frame

    def _pass_losses(self) -> None:
        while self._losses and self._losses[0][0] <= self._next_frame:
            self._lost += self._losses.popleft()[1]

    @property
    def lost_samples(self) -> int:
        """All that was lost since the device was opened, as far as we have read."""
        return self.overwritten_samples + self._lost

    @property
    def cpu_s(self) -> float:
        """Processor time that the recorder has used."""
        return self._newest.cpu_s

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the device's clock is than the system's; None until that is known."""
        return self._clock.drift_ppm if self._ring is not None else None

    @property
    def has_ended(self) -> bool:
        """The recorder will say nothing more."""
        return self._process.ended

    def why_ended(self) -> tuple[str, str]:
        """The reason in words, and a remedy."""
        if self.refusal is not None:
            return self.refusal.facts["message"], self.refusal.facts["remedy"]
        return self._process.why_ended(), "STREAMER_DEBUG_PORTAUDIO=1 shows what PortAudio says"

    def close(self) -> None:
        """Kill the recorder; what was not read is gone. May be called twice, never hangs."""
        self._process.kill()
        ring, self._ring = self._ring, None
        if ring is not None:
            ring.close()

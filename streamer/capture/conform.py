"""Recordings that follow each other, perhaps at different rates, on one clock and at one rate."""

from __future__ import annotations

from streamer.audio import F32, Chunk
from streamer.capture.recording import Piece
from streamer.capture.resample import Resampler


class Conformer:
    """Puts one recording's pieces on the stream's clock: from `origin` on, at `rate_hz`."""

    def __init__(self, recorded_hz: int, rate_hz: int, origin: int) -> None:
        self._recorded_hz = recorded_hz
        self._rate_hz = rate_hz
        self._origin = origin
        self._resampler = Resampler(recorded_hz, rate_hz)
        self._expected = 0  # on the recording's clock: where the next piece should begin
        self._next_sample = origin  # on the stream's: where the next chunk begins
        self._captured = (origin, 0.0)  # a place on the stream's clock, and the wall clock there

    def place(self, recorded: int) -> int:
        """A place on the recording's clock, on the stream's."""
        return self._origin + (recorded * self._rate_hz + self._recorded_hz // 2) // self._recorded_hz

    def recorded(self, sample: int) -> int:
        """How far the recording must have come for the sound up to this place on the stream's clock."""
        samples = max(0, sample - self._next_sample)
        missing = self._resampler.missing_for(samples)
        return self._expected + (samples if missing is None else missing)

    def take(self, piece: Piece) -> list[Chunk]:
        """The chunks that come of a piece: two where sound was lost before it, or none yet."""
        before = []
        if piece.first > self._expected:
            before = self.finish()
            self._resampler.reset()
            self._next_sample = max(self.place(piece.first), self._next_sample + 1)
        self._expected = piece.first + len(piece.samples)
        self._captured = (self.place(self._expected), piece.captured_utc_s)
        return before + self._chunk(self._resampler.process(piece.samples))

    @property
    def is_plain(self) -> bool:
        """The recording's samples are the stream's."""
        return self._recorded_hz == self._rate_hz

    def passed(self, samples: int, captured_utc_s: float) -> None:
        """So many have been taken in our place."""
        self._expected += samples
        self._next_sample += samples
        self._captured = (self.place(self._expected), captured_utc_s)

    def finish(self) -> list[Chunk]:
        """What is held back."""
        return self._chunk(self._resampler.flush())

    def _chunk(self, samples: F32) -> list[Chunk]:
        if not len(samples):
            return []
        first, self._next_sample = self._next_sample, self._next_sample + len(samples)
        at, utc_s = self._captured
        return [Chunk(samples, first, utc_s - (at - self._next_sample) / self._rate_hz)]

    @property
    def end_sample(self) -> int:
        """Where the next chunk would begin if nothing were lost."""
        return self._next_sample

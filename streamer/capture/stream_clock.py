"""The one sample clock of a stream whose recordings come and go: it goes on between them as time does."""

from __future__ import annotations

from typing import NamedTuple

from streamer.capture.recorder_wire import now_s


class Beginning(NamedTuple):
    """Of a recording, on the stream's clock."""

    sample: int
    lost_samples: int
    """Sound that should have been heard before it."""
    absent_s: float
    """How long that was."""


class StreamClock:
    """Says where a recording begins. The first one does at 0, or as much later as it is late."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.pause_end: int | None = None
        """The newest pause ends at this sample: what is missing after it is lost. None: not known yet."""
        self._end = (0, now_s())  # of the last recording: sample, and when it came
        self._begun = False
        self._pause_until_s: float | None = None

    def end(self, sample: int, captured_s: float) -> None:
        """A recording has ended: the sound before this sample came, the last of it then."""
        self._end = sample, captured_s

    def resume(self) -> None:
        """From now on sound is wanted again."""
        self.pause_end, self._pause_until_s = None, now_s()

    def begin(self, first_s: float, *, on_time: bool) -> Beginning:
        """A recording whose first sample was captured then; on time: what it takes to open is no loss."""
        paused_until_s, self._pause_until_s = self._pause_until_s, None
        begun, self._begun = self._begun, True
        if not begun and on_time and paused_until_s is None:
            return Beginning(0, 0, 0.0)
        sample = max(self._end[0] + 1, self._sample_at(first_s))
        wanted, wanted_s = self._end
        if paused_until_s is not None:
            wanted, wanted_s = min(sample, max(wanted, self._sample_at(paused_until_s))), paused_until_s
            self.pause_end = wanted = sample if on_time else wanted
        return Beginning(sample, sample - wanted, first_s - wanted_s)

    def _sample_at(self, captured_s: float) -> int:
        return self._end[0] + round((captured_s - self._end[1]) * self.rate_hz)

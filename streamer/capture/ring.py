"""A bounded ring of mono samples between one writer (PortAudio's thread) and one reader (ours).

Neither side waits for the other. The writer announces the region that it is about to overwrite before it
touches it; the reader copies first and then drops what was announced meanwhile. Each side publishes its state
as one tuple, so that nobody ever sees half an update.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.audio import F32
from streamer.capture.source import mix_to_mono

Gap = tuple[int, int]  # first index, index just after


class Ring:
    """The newest `capacity_samples` of sound, by absolute index; what is overwritten unread is counted."""

    def __init__(
        self,
        capacity_samples: int,
        rate_hz: int,
        *,
        wake_samples: int = 1,
        utc_clock_s: Callable[[], float] = time.time,
    ) -> None:
        if capacity_samples < 1 or rate_hz < 1 or wake_samples < 1:
            raise ValueError("capacity_samples, rate_hz and wake_samples must be at least 1")
        self.capacity_samples = capacity_samples
        self.rate_hz = rate_hz
        self.wake_samples = min(wake_samples, capacity_samples)
        self._utc_clock_s = utc_clock_s
        self._storage = np.zeros(capacity_samples, np.float32)
        # The writer's side.
        self._claimed = 0  # anything before claimed - capacity is, or is about to be, overwritten
        self._newest = (0, 0, utc_clock_s())  # index just after the newest sample, samples stored, when
        self._gaps: tuple[Gap, ...] = ()  # what the device never gave us: stale places in the storage
        self._skips = 0
        # The reader's side: next index, samples delivered, samples overwritten, overwriting episodes.
        self._taken = (0, 0, 0, 0)
        self._woken = False
        self._pipe_lock = threading.Lock()  # only close() contends: no wake-up may reach a reused descriptor
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)

    # -- the writer's side ------------------------------------------------------------------------------

    def write(self, frames: NDArray[Any]) -> None:
        """Store (n,) or (n, channels) float32 as mono; the oldest gives way. Never waits for the reader."""
        if self._wake_out < 0 or not len(frames):
            return
        end, stored, _ = self._newest
        new_end = end + len(frames)
        self._claimed = new_end
        self._store(frames[-self.capacity_samples :], new_end)
        self._newest = (new_end, stored + len(frames), self._utc_clock_s())
        self._wake_if_due()

    def skip(self, lost_samples: int) -> None:
        """The device lost this many samples before they reached us: the index jumps over them."""
        if lost_samples < 1:
            return
        end, stored, _ = self._newest
        new_end = end + lost_samples
        oldest = new_end - self.capacity_samples
        self._claimed = new_end
        self._gaps = (*(gap for gap in self._gaps if gap[1] > oldest), (end, new_end))
        self._skips += 1
        self._newest = (new_end, stored, self._utc_clock_s())

    def _store(self, frames: NDArray[Any], end: int) -> None:
        at = (end - len(frames)) % self.capacity_samples
        head = min(len(frames), self.capacity_samples - at)
        mix_to_mono(frames[:head], self._storage[at : at + head])
        if head < len(frames):
            mix_to_mono(frames[head:], self._storage[: len(frames) - head])

    # -- the reader's side ------------------------------------------------------------------------------

    def read(self, max_samples: int | None = None) -> tuple[int, F32]:
        """Index of the first sample, and a copy of the sound up to a gap, `max_samples` or the newest.

        Jumps over what was overwritten. No sound is left when the copy is empty.
        """
        self._drain_wake()
        first, samples = self._copy_unread(max_samples)
        _, delivered, overwritten, episodes = self._taken
        after, delivered = first + len(samples), delivered + len(samples)
        overwritten_now = self._overwritten(after, delivered)
        episodes += overwritten_now > overwritten
        self._taken = (after, delivered, max(overwritten, overwritten_now), episodes)
        self._wake_if_due()
        return first, samples

    def _copy_unread(self, max_samples: int | None) -> tuple[int, F32]:
        while True:
            first, stop = self._next_span(max_samples)
            samples = self._copy(first, stop)
            spoilt = self._claimed - self.capacity_samples - first  # the writer came by while we copied
            if spoilt <= 0:
                return first, samples
            if spoilt < len(samples):
                return first + spoilt, samples[spoilt:].copy()

    def _next_span(self, max_samples: int | None) -> Gap:
        end = self._newest[0]  # before the gaps: every gap below this end is then known
        first = max(self._taken[0], self._claimed - self.capacity_samples)
        for gap_first, gap_stop in self._gaps:
            if gap_first <= first < gap_stop:
                first = gap_stop
            elif gap_first > first:
                end = min(end, gap_first)
                break
        wanted = end - first if max_samples is None else min(end - first, max_samples)
        return first, first + max(0, wanted)

    def _copy(self, first: int, stop: int) -> F32:
        at = first % self.capacity_samples
        head = min(stop - first, self.capacity_samples - at)
        samples = np.empty(stop - first, np.float32)
        samples[:head] = self._storage[at : at + head]
        samples[head:] = self._storage[: len(samples) - head]
        return samples

    # -- what is known about it -------------------------------------------------------------------------

    def captured_utc_s(self, end_sample: int) -> float:
        """Wall clock when the sample before `end_sample` was captured, told from the newest write."""
        end, _, utc_s = self._newest
        return utc_s - (end - end_sample) / self.rate_hz

    @property
    def end_sample(self) -> int:
        """Index just after the newest sample, gaps included."""
        return self._newest[0]

    @property
    def written_samples(self) -> int:
        """Samples that the device gave us."""
        return self._newest[1]

    @property
    def lost_samples(self) -> int:
        """Samples overwritten unread, and samples that the device itself lost."""
        return self._settled(lambda newest, overwritten, _: newest[0] - newest[1] + overwritten)

    @property
    def overruns(self) -> int:
        """Times that sound was lost: stretches overwritten unread, and the device's own losses."""
        return self._settled(lambda _, __, episodes: self._skips + episodes)

    def _settled(self, count: Callable[[tuple[int, int, float], int, int], int]) -> int:
        """A count over both sides' state, including what is overwritten but not yet met by a read."""
        while True:
            taken, newest = self._taken, self._newest
            overwritten = max(taken[2], self._overwritten(taken[0], taken[1]))
            result = count(newest, overwritten, taken[3] + (overwritten > taken[2]))
            if self._taken is taken and self._newest is newest:
                return result

    def _overwritten(self, next_sample: int, delivered: int) -> int:
        """Samples stored, never delivered and no longer there."""
        end, stored, _ = self._newest
        oldest = max(next_sample, end - self.capacity_samples)
        gaps = sum(max(0, min(stop, end) - max(first, oldest)) for first, stop in self._gaps)
        return stored - delivered - max(0, end - oldest - gaps)

    # -- the wake-up descriptor -------------------------------------------------------------------------

    def fileno(self) -> int:
        """Readable when at least `wake_samples` are unread; read() makes it quiet again."""
        return self._wake_in

    def wake(self) -> None:
        """Make the descriptor readable now, whatever is in the ring."""
        self._woken = True
        with self._pipe_lock:
            if self._wake_out >= 0:
                try:
                    os.write(self._wake_out, b"\0")
                except BlockingIOError:
                    return  # full of wake-ups already

    def _wake_if_due(self) -> None:
        if not self._woken and self._newest[0] - self._taken[0] >= self.wake_samples:
            self.wake()

    def _drain_wake(self) -> None:
        # Before looking at the state, `_woken` last: a later write is seen by this read, or wakes again.
        if self._wake_in >= 0:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_in, 4096)
        self._woken = False

    def close(self) -> None:
        """Close the wake-up descriptor; writes are ignored from now on."""
        with self._pipe_lock:
            ends, self._wake_in, self._wake_out = (self._wake_in, self._wake_out), -1, -1
            for end in ends:
                if end >= 0:
                    os.close(end)

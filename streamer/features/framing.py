"""Samples in, overlapping windows out, whatever the size of the pieces they come in."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from streamer.audio import F32, check_samples
from streamer.features.settings import HOP_SAMPLES, WINDOW_SAMPLES, frame_count

OVERLAP_SAMPLES = WINDOW_SAMPLES - HOP_SAMPLES


class Framer:
    """Cuts a stream into windows; what is not asked for yet, and the unfinished rest, waits."""

    latency_samples = OVERLAP_SAMPLES
    """A frame stands for its hop, and needs this much sound beyond it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self._held: list[F32] = []
        self.held_samples = 0
        """Sound that waits."""

    def hold(self, samples: F32) -> None:
        """Sound that follows; the array is kept as it is, so nobody may write to it any more."""
        if len(samples):
            self._held.append(samples)
            self.held_samples += len(samples)

    @property
    def ready_frames(self) -> int:
        """Windows that the sound held would fill."""
        return frame_count(self.held_samples)

    @property
    def held(self) -> F32:
        """The sound that waits."""
        return np.concatenate(self._held) if self._held else np.empty(0, np.float32)

    def keep(self, samples: F32) -> None:
        """This is what waits now; nobody may write to it any more."""
        self._held, self.held_samples = [samples], len(samples)

    def take(self, frames: int) -> F32:
        """The sound of the next windows, at most as many as are ready: (frames * hop + overlap,)."""
        heard = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        rest = heard[frames * HOP_SAMPLES :].copy()  # a view would keep all of it in memory
        self.keep(rest)
        return heard[: frames * HOP_SAMPLES + OVERLAP_SAMPLES]

    def process(self, samples: F32) -> F32:
        """The windows completed by these samples: (T, WINDOW_SAMPLES)."""
        check_samples(samples)
        self.hold(samples.copy())
        frames = self.ready_frames
        if frames == 0:
            return np.empty((0, WINDOW_SAMPLES), np.float32)
        return windows(self.take(frames)[np.newaxis])

    def flush(self) -> F32:
        """End of the stream: a window that was never filled is not made up."""
        self.reset()
        return np.empty((0, WINDOW_SAMPLES), np.float32)


def windows(sounds: F32) -> F32:
    """Sounds of several streams, all (T * hop + overlap,) long, to their windows: (N * T, WINDOW_SAMPLES)."""
    frames = frame_count(sounds.shape[1])
    across, along = sounds.strides
    shape, steps = (len(sounds), frames, WINDOW_SAMPLES), (across, HOP_SAMPLES * along, along)
    return np.array(as_strided(sounds, shape, steps, writeable=False)).reshape(-1, WINDOW_SAMPLES)

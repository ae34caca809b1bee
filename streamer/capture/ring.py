"""A bounded ring of sound in shared memory, between a recorder process that writes and us who read.

Neither side waits for the other. The writer says in the header how far it is about to write before it touches
anything (`ring_writer`); the reader copies first and then drops what was announced meanwhile. What has been
written is not read from here: the recorder's records tell it (`recorder_wire`).
"""

from __future__ import annotations

import mmap

import numpy as np

from streamer.audio import F32
from streamer.capture.ring_writer import HEADER_BYTES
from streamer.capture.source import mix_to_mono
from streamer.kernel import address


class RingReader:
    """Copies of frames as mono, by their number since the recording began."""

    def __init__(self, descriptor: int, capacity_frames: int, channels: int) -> None:
        self._memory = mmap.mmap(
            descriptor, HEADER_BYTES + 4 * capacity_frames * channels, prot=mmap.PROT_READ
        )
        self._header = mmap.mmap(descriptor, HEADER_BYTES)
        self._claimed = memoryview(self._memory)[:8].cast("Q")
        self._wanted = memoryview(self._header)[8:16].cast("Q")
        self._frames = np.frombuffer(self._memory, np.float32, offset=HEADER_BYTES).reshape(-1, channels)

    @property
    def oldest_frame(self) -> int:
        """What is before this one is, or is about to be, overwritten."""
        return max(0, self._claimed[0] - len(self._frames))

    def read(self, first: int, stop: int) -> tuple[int, F32]:
        """The frames from `first` to `stop`, all of them written, or of those the ones still there."""
        first = min(stop, max(first, self.oldest_frame))
        samples = self._copy(first, stop)
        oldest = self.oldest_frame
        if oldest <= first:
            return first, samples
        spoilt = min(len(samples), oldest - first)  # the writer came by while we copied
        return first + spoilt, samples[spoilt:]

    def want(self, frames: int) -> None:
        """Let the writer know that we wait for so many frames, counted from the recording's beginning."""
        self._wanted[0] = max(0, frames)

    def places(self) -> tuple[int, int, int]:
        """Where the writer's claim, our wish and the storage lie."""
        storage = address(self._frames)
        return storage - HEADER_BYTES, address(np.frombuffer(self._header, np.uint64)) + 8, storage

    @property
    def shape(self) -> tuple[int, int]:
        """Frames that there is room for, and channels."""
        return self._frames.shape[0], self._frames.shape[1]

    def _copy(self, first: int, stop: int) -> F32:
        capacity = len(self._frames)
        at = first % capacity
        head = min(stop - first, capacity - at)
        if head == stop - first and self._frames.shape[1] == 1:
            return self._frames[at : at + head, 0].copy()
        samples = np.empty(stop - first, np.float32)
        mix_to_mono(self._frames[at : at + head], samples[:head])
        mix_to_mono(self._frames[: len(samples) - head], samples[head:])
        return samples

    def close(self) -> None:
        """Let go of the memory."""
        self._claimed.release()
        self._wanted.release()
        del self._frames
        self._memory.close()
        self._header.close()

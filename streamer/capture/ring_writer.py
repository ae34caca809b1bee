"""The recorder's side of the ring: frames into shared memory, without numpy (see `ring`)."""

from __future__ import annotations

import mmap
import os

HEADER_BYTES = 64
"""Before the storage, 64 bits each: the number of frames that are, or are just being, written, and the number
that the reader waits for."""


class RingWriter:
    """Writes blocks of frames; the oldest give way. It never waits for the reader, nor knows of it."""

    def __init__(self, descriptor: int, capacity_frames: int, frame_bytes: int) -> None:
        size = capacity_frames * frame_bytes
        os.ftruncate(descriptor, HEADER_BYTES + size)
        memory = memoryview(mmap.mmap(descriptor, HEADER_BYTES + size))
        self._claimed = memory[:8].cast("Q")
        self._wanted = memory[8:16].cast("Q")
        self._storage = memory[HEADER_BYTES:]
        self.memory = memory
        """All of it, for whoever writes into it in C."""
        self._size = size
        self.capacity_frames, self.frame_bytes = capacity_frames, frame_bytes
        self.frames = 0
        """Written so far."""

    @property
    def wanted(self) -> int:
        """So many frames the reader waits for."""
        return self._wanted[0]

    def claim(self, frames: int) -> None:
        """So many frames at most will be written next; to be said before anything is overwritten.

        Between this and the write the recorder waits for sound in a system call, which keeps the two in
        order for other processors, too.
        """
        self._claimed[0] = self.frames + frames

    def write(self, block: bytes | memoryview) -> None:
        """Store whole frames, no more than claimed."""
        at = self.frames * self.frame_bytes % self._size
        head = min(len(block), self._size - at)
        self._storage[at : at + head] = block[:head]
        self._storage[: len(block) - head] = block[head:]
        self.frames += len(block) // self.frame_bytes

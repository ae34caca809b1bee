"""What one thread leaves for another, which sleeps on a file descriptor meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue in one direction: any thread puts, one thread takes."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._bell: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Leave something; nobody is woken yet."""
        self._items.append(item)

    def ring(self) -> None:
        """Wake the other one."""
        if self._bell is not None:
            with contextlib.suppress(BlockingIOError):  # it has been woken as often as one can count
                os.eventfd_write(self._bell, 1)

    def fileno(self) -> int:
        """Readable from `ring` to the next `take`."""
        assert self._bell is not None
        return self._bell

    def take(self, count_max: int) -> list[T]:
        """What is there, so many at most; what is left over rings again."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fileno())
        taken: list[T] = []
        with contextlib.suppress(IndexError):
            while len(taken) < count_max:
                taken.append(self._items.popleft())
        if self._items:
            self.ring()
        return taken

    def close(self) -> None:
        """Let go of the descriptor; what is put later is lost."""
        if self._bell is not None:
            os.close(self._bell)
            self._bell = None

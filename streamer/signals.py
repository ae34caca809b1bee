"""The signals that a daemon obeys."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import socket
from types import FrameType


class Signals:
    """SIGTERM and SIGINT stop (a second one at once), SIGHUP reloads, SIGUSR1 prints every thread's stack."""

    def __init__(self) -> None:
        self.stop = False
        self._reload = False
        self._former: dict[int, object] = {}

    def ask_to_stop(self) -> None:
        """As if SIGTERM had come."""
        self.stop = True

    def take_reload(self) -> bool:
        """True once after each SIGHUP; also empties the wake-up descriptor."""
        with contextlib.suppress(BlockingIOError):
            self._wake_in.recv(64)
        asked, self._reload = self._reload, False
        return asked

    def fileno(self) -> int:
        """Readable after a signal, so that a sleeping loop notices."""
        return self._wake_in.fileno()

    def __enter__(self) -> Signals:
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self._former_wakeup = signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._former[number] = signal.signal(number, self._on_stop)
        self._former[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_reload)
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no standard error to print on
            faulthandler.register(signal.SIGUSR1, all_threads=True)
        return self

    def __exit__(self, *error: object) -> None:
        faulthandler.unregister(signal.SIGUSR1)
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._former_wakeup)
        self._wake_in.close()
        self._wake_out.close()

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True

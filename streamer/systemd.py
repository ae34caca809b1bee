"""What systemd wants to be told: ready, stopping, a status line, and that we are alive."""

from __future__ import annotations

import os
import socket

PATIENCE_S = 1.0
"""How long what must not be missed may wait for a service manager that is busy."""


class Notifier:
    """Speaks sd_notify's datagram protocol; says nothing where nobody asked (no NOTIFY_SOCKET)."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_period_s()
        """How often systemd wants to hear from us; 0.0: it does not watch."""

    def ready(self) -> None:
        """Start-up is over."""
        self._send("READY=1", PATIENCE_S)

    def status(self, text: str) -> None:
        """The line that `systemctl status` shows."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The shutdown has begun."""
        self._send("STOPPING=1", PATIENCE_S)

    def reloading(self, monotonic_us: int) -> None:
        """A reload has begun; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_us}", PATIENCE_S)

    def _send(self, message: str, patience_s: float = 0.0) -> None:
        if not self._address:
            return
        # A leading @ stands for the zero byte of Linux's abstract names.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                # The queue holds a few datagrams only: a manager that does not read must not stop us.
                notify.settimeout(patience_s)
                notify.sendto(message.encode(), address)
        except OSError:
            pass  # nor must one that went away take us along


def _watchdog_period_s() -> float:
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return 0.0

"""A network in between that can be cut, held up and slowed down: a TCP proxy on loopback."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from typing import Self

READ_BYTES = 16_384
TURN_S = 0.01


class TcpProxy:
    """Listens on a port of its own and passes everything on to another, as long as it is let."""

    def __init__(self, to_port: int, *, delay_s: float = 0.0, bytes_per_s: float = float("inf")) -> None:
        self.delay_s = delay_s
        self.bytes_per_s = bytes_per_s
        """In each direction."""
        self.passed_bytes = 0
        self.held = False
        """Connections stay open and nothing moves, as behind a pulled cable."""
        self._to_port = to_port
        self._listener: socket.socket | None = None
        self._port = 0
        self._wires: list[_Wire] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tcp-proxy")
        self.plug()
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where to connect to."""
        return f"tcp://127.0.0.1:{self._port}"

    def unplug(self) -> None:
        """Reset all connections and refuse new ones."""
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
            for wire in self._wires:
                wire.close()
            self._wires = []

    def plug(self) -> None:
        """Take connections, on the same port as before."""
        deadline_s = time.monotonic() + 5
        while self._listener is None:
            with self._lock:
                self._listener = self._listen(last=time.monotonic() > deadline_s)

    def _listen(self, last: bool) -> socket.socket | None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self._port))
        except OSError:  # our thread's select() holds the former one for a moment longer
            listener.close()
            if last:
                raise
            time.sleep(TURN_S)
            return None
        listener.listen(256)
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        return listener

    def cut(self) -> None:
        """Reset all connections; new ones are welcome at once."""
        self.unplug()
        self.plug()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                listener = self._listener
                readable = [wire.side for wire in self._wires if wire.wants_input()]
            waiting = [*readable, *([listener] if listener is not None else [])]
            ready: list[socket.socket] = []
            with contextlib.suppress(OSError, ValueError):  # closed meanwhile
                ready, _, _ = select.select(waiting, [], [], TURN_S)
            with self._lock:
                if listener is not None and listener in ready and listener is self._listener:
                    self._accept(listener)
                for wire in list(self._wires):
                    if not self.held:
                        self._move(wire, wire.side in ready)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            near, _ = listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self._to_port), 1)
            except OSError:
                near.close()
                return
            for side, other in ((near, far), (far, near)):
                side.setblocking(False)
                self._wires.append(_Wire(side, other))

    def _move(self, wire: _Wire, readable: bool) -> None:
        try:
            if readable:
                data = wire.side.recv(READ_BYTES)
                wire.queue.append((time.monotonic() + self.delay_s, data))  # nothing: the end
            self.passed_bytes += wire.pass_on(self.bytes_per_s)
        except BlockingIOError:
            pass
        except OSError:
            gone = [other for other in self._wires if other.side in (wire.side, wire.other)]
            for other in gone:
                other.close()
                self._wires.remove(other)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self.unplug()


class _Wire:
    """One direction of a connection."""

    def __init__(self, side: socket.socket, other: socket.socket) -> None:
        self.side, self.other = side, other
        self.queue: deque[tuple[float, bytes]] = deque()
        self._free_s = 0.0  # when the line is free for more

    def wants_input(self) -> bool:
        return len(self.queue) < 8 and not (self.queue and not self.queue[-1][1])

    def pass_on(self, bytes_per_s: float) -> int:
        passed, now_s = 0, time.monotonic()
        while self.queue and self.queue[0][0] <= now_s and self._free_s <= now_s:
            due_s, data = self.queue.popleft()
            if not data:
                raise ConnectionResetError
            sent = self.other.send(data[: max(1, int(min(len(data), bytes_per_s / 50)))])
            self._free_s = max(self._free_s, now_s - 0.1) + sent / bytes_per_s
            passed += sent
            if sent < len(data):
                self.queue.appendleft((due_s, data[sent:]))
        return passed

    def close(self) -> None:
        for end in (self.side, self.other):
            with contextlib.suppress(OSError):
                # A reset, not an orderly end: what is on its way is lost.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            end.close()

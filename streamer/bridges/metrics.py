"""Metrics for Prometheus: what the health messages tell, and how many events, over HTTP on loopback.

The delivery thread leaves here what it has published; a thread of our own answers one scrape after another
and sleeps in between. Nothing is measured for it, and the main thread knows nothing of it.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from streamer.bridges.families import families
from streamer.bridges.listening import check_listen
from streamer.delivery.endpoints import is_loopback
from streamer.delivery.messages import Event, Health
from streamer.delivery.outlet import Totals
from streamer.errors import SocketError

log = logging.getLogger("streamer")

SETTING = "metrics.listen"
PATH = "/metrics"
PATIENCE_S = 5.0
"""For somebody who connects and says nothing."""
SCRAPES_AT_ONCE = 8
"""More are turned away."""
CLOSE_MAX_S = 2.0


class Metrics:
    """Answers scrapes while the `with` block lasts; what is told comes from the delivery thread."""

    def __init__(self, listen: str) -> None:
        self._host, self._port = check_listen(listen, SETTING)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._lock = threading.Lock()
        self._health: dict[str, tuple[Health, float]] = {}  # the last one of each stream, and when it came
        self._events: Counter[tuple[str, str, str, str]] = Counter()  # stream, label, kind, phase
        self._totals = Totals()

    def __enter__(self) -> Self:
        try:
            self._server = _Server(self._host, self._port, self._registry)
        except OSError as error:
            raise SocketError(
                f"metrics cannot be had on {self._host}:{self._port}: {error.strerror}",
                f"choose another port with {SETTING}; is another daemon running?",
            ) from error
        self._thread = threading.Thread(target=self._server.serve, name="metrics", daemon=True)
        self._thread.start()
        log.info("metrics are on %s", self.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        self._thread.join(CLOSE_MAX_S)
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where they are to be had."""
        host, port = self._server.server_address[:2]
        return f"http://{f'[{host!s}]' if ':' in str(host) else host!s}:{port}{PATH}"

    def told(self, record: Event | Health) -> None:
        """A message has been published."""
        with self._lock:
            if isinstance(record, Event):
                self._events[record.stream, record.label, record.kind, record.phase] += 1
            elif record.final:
                self._health.pop(record.stream, None)
                for key in [key for key in self._events if key[0] == record.stream]:
                    del self._events[key]
            else:
                self._health[record.stream] = record, time.monotonic()

    def counted(self, totals: Totals) -> None:
        """How much has been published."""
        self._totals = totals

    def collect(self) -> Iterator[Any]:
        """Everything, as it is now: prometheus_client calls it at each scrape."""
        with self._lock:
            health, events = dict(self._health), dict(self._events)
        yield from families(health, events, self._totals, time.monotonic())


class _Handler(BaseHTTPRequestHandler):
    """Answers GET /metrics to those who called us by a name of this machine."""

    timeout = PATIENCE_S
    server_version, sys_version = "streamer", ""
    server: _Server

    def do_GET(self) -> None:
        """The metrics, in the format that was asked for."""
        # A web page can have its own name lead to this machine, and read what it then gets.
        if not is_loopback(re.sub(r":[0-9]*$", "", self.headers.get("Host", "localhost"))):
            self.send_error(403, "by this name nobody is to be found here")
        elif self.path.partition("?")[0] != PATH:
            self.send_error(404, f"metrics are at {PATH}")
        else:
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            body = encode(self.server.registry)
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """For the log only."""
        log.debug("metrics: %s", format % arguments)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A few scrapes at a time: who says nothing keeps nobody waiting; nobody starts a thousand threads."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.registry = registry
        self._stopping = False
        self._places = threading.Semaphore(SCRAPES_AT_ONCE)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, address: Any) -> None:
        """On a thread of its own, where there is a place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, address: Any) -> None:
        """The place is free again afterwards."""
        try:
            super().process_request_thread(request, address)
        finally:
            self._places.release()

    def serve(self) -> None:
        """Until `stop`."""
        while not self._stopping:
            self.handle_request()

    def stop(self) -> None:
        """From another thread: whoever waits for a connection is woken."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def handle_error(self, _request: Any, _address: Any) -> None:
        """Somebody has gone before all was said."""
        log.debug("metrics: a connection ended early", exc_info=True)

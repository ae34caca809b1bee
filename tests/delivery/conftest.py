"""What every test of the delivery side gets: sockets that are tracked, and ready-made records."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from streamer.delivery.messages import Event, Frames, Health, pack_scores
from streamer.delivery.publisher import Publisher

Make = Callable[..., Any]
NOBODY_UID = 65_534


@pytest.fixture(autouse=True)
def no_socket_leaks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every socket and context made in a test must be closed by its end: a leak fails instead of hanging."""
    sockets = _record(monkeypatch, zmq.Socket)
    contexts = _record(monkeypatch, zmq.Context)
    yield
    leaked = [socket for socket in sockets if not socket.closed]
    for socket in leaked:
        socket.close(linger=0)
    open_contexts = [context for context in contexts if not context.closed]
    for context in open_contexts:
        ending = threading.Thread(target=context.destroy, kwargs={"linger": 0}, daemon=True)
        ending.start()
        ending.join(5)
    assert not leaked, f"{len(leaked)} of {len(sockets)} sockets were left open"
    assert not open_contexts, f"{len(open_contexts)} of {len(contexts)} contexts were left open"


def _record(monkeypatch: pytest.MonkeyPatch, kind: Any) -> list[Any]:
    made: list[Any] = []
    make = kind.__init__

    def recorded(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        if not self._shadow:  # pyzmq's asyncio sockets hold a second view of the same socket
            made.append(self)

    monkeypatch.setattr(kind, "__init__", recorded)
    return made


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A private runtime directory."""
    path = tmp_path / "runtime"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(params=["ipc", "tcp"])
def endpoint(request: pytest.FixtureRequest, runtime: Path) -> str:
    """An address of each sort; of TCP any free port."""
    return f"ipc://{runtime}/events.sock" if request.param == "ipc" else "tcp://127.0.0.1:*"


@pytest.fixture
def publisher(endpoint: str) -> Iterator[Publisher]:
    """A publisher on each sort of address."""
    with Publisher([endpoint]) as opened:
        yield opened


@pytest.fixture
def raw_socket() -> Iterator[Callable[[int], zmq.Socket[bytes]]]:
    """Makes plain ZeroMQ sockets with a receive timeout and no linger."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.setsockopt(zmq.LINGER, 0)
    opened: list[zmq.Socket[bytes]] = []

    def make(kind: int) -> zmq.Socket[bytes]:
        opened.append(context.socket(kind))
        opened[-1].setsockopt(zmq.RCVTIMEO, 10_000)
        opened[-1].setsockopt(zmq.SNDTIMEO, 10_000)
        return opened[-1]

    yield make
    for socket in opened:
        socket.close()
    context.term()


@pytest.fixture
def make_event() -> Make:
    """An event, with what the test wants otherwise."""

    def make(**changes: Any) -> Event:
        fields: dict[str, Any] = {
            "run": "5f3a9c0e12b4d678",
            "journal": "c0ffee1234567890",
            "seq": 1,
            "stream": "kitchen",
            "kind": "sound",
            "label": "dog-bark",
            "phase": "start",
            "onset_s": 12.5,
            "offset_s": None,
            "detected_s": 12.75,
            "score": 0.875,
            "time_utc": "2026-01-31T12:00:00.123Z",
            "model": "default",
        }
        return Event(**fields | changes)

    return make


@pytest.fixture
def make_frames() -> Make:
    """Frame scores, with what the test wants otherwise; `scores` is (rows, labels)."""

    def make(scores: Any = ((0.0, 0.25), (0.5, 1.0)), **changes: Any) -> Frames:
        matrix = np.asarray(scores, dtype=np.float32)
        fields: dict[str, Any] = {
            "run": "5f3a9c0e12b4d678",
            "stream": "kitchen",
            "first_row": 400,
            "first_s": 8.0075,
            "row_s": 0.02,
            "labels": ["hello", "dog-bark"],
            "rows": len(matrix),
            "model": "default",
            "data": pack_scores(matrix),
        }
        return Frames(**fields | changes)

    return make


@pytest.fixture
def make_health() -> Make:
    """A health message, with what the test wants otherwise."""

    def make(**changes: Any) -> Health:
        fields: dict[str, Any] = {
            "run": "5f3a9c0e12b4d678",
            "stream": "kitchen",
            "state": "listening",
            "detail": "",
            "final": False,
            "time_utc": "2026-01-31T12:00:05.000Z",
            "uptime_s": 65.0,
            "heartbeat_s": 5.0,
            "journal": "c0ffee1234567890",
            "seq": 3,
            "oldest_seq": 1,
            "journal_state": "ok",
            "journal_detail": "",
            "journal_pending": 0,
            "source": 'microphone "USB Audio" (48000 Hz, 1 channel)',
            "listened_s": 64.5,
            "level_dbfs": -42.5,
            "peak_dbfs": -18.25,
            "overruns": 0,
            "lost_samples": 0,
            "gaps": 0,
            "bad_samples": 0,
            "clipped_samples": 0,
            "lag_s": 0.05,
            "last_sample_age_s": 0.03,
            "cpu_percent": 1.5,
            "version": "0.1.0",
            "model": "default",
            "label_count": 12,
        }
        return Health(**fields | changes)

    return make


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A directory that we may not write to; root, whom modes do not bind, is nobody meanwhile."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY_UID)
    try:
        path = Path(tempfile.mkdtemp())
        path.chmod(0o500)
        yield path
        path.rmdir()
    finally:
        os.seteuid(before)

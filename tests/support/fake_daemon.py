"""The model of a daemon on real sockets: it publishes, answers, and loses or keeps silent when told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

import zmq

from streamer.delivery.requests import Mute, RequestError, Shutdown, decode_request, encode_reply, error_reply
from tests.client.model import ModelDaemon, Parts

BEAT_S = 0.1


class FakeDaemon:
    """`events.sock` and `control.sock` in a folder, served by a thread while the `with` block lasts."""

    def __init__(self, folder: Path, *, control: bool = True, journal: bool = True) -> None:
        self.folder = folder
        self.endpoint = f"ipc://{folder}/events.sock"
        self.control = f"ipc://{folder}/control.sock"
        self.model = ModelDaemon(time.monotonic, self._publish)
        if not journal:
            self.model.disk.name = ""
            self.model.truth = {"": {}}
        self.deaf = not control
        """Requests are not answered."""
        self.losing = False
        """Nothing is published."""
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._bells = zmq.Context()
        self._stop = False

    def do(self, task: Callable[[ModelDaemon], None]) -> None:
        """Let the daemon do something, and wait until it is done."""
        done = threading.Event()
        self._tasks.put(lambda: (task(self.model), done.set())[0])
        assert done.wait(10)

    def hear(self, count: int = 1, *, unsent: bool = False) -> None:
        """So many events."""

        def task(model: ModelDaemon) -> None:
            self.losing = unsent
            for _ in range(count):
                model.hear()
            self.losing = False

        self.do(task)

    def restart(self) -> None:
        """Killed and started again: sockets and all."""
        self._end()
        self.model.begin()
        self._begin()

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        self._bells.term()

    def _begin(self) -> None:
        self._stop = False
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="fake-daemon")
        self._thread.start()
        assert ready.wait(10)

    def _end(self) -> None:
        self._stop = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self, ready: threading.Event) -> None:
        with self._bells.socket(zmq.PUB) as self._events, self._bells.socket(zmq.ROUTER) as router:
            for socket in (self._events, router):
                socket.setsockopt(zmq.LINGER, 0)
            self._events.bind(self.endpoint)
            router.bind(self.control)
            ready.set()
            next_s = 0.0
            while not self._stop:
                if time.monotonic() >= next_s:
                    next_s = time.monotonic() + BEAT_S
                    self.model.beat()
                if router.poll(2):
                    peer, *frames = router.recv_multipart()
                    if not self.deaf:
                        router.send_multipart([peer, *self._answer(frames[-1])])
                self._work()

    def _work(self) -> None:
        try:
            while True:
                self._tasks.get_nowait()()
        except Empty:
            return

    def _answer(self, frame: bytes) -> Parts:
        try:
            request = decode_request(frame)
            if isinstance(request, Shutdown | Mute):
                why = RequestError("forbidden", "you may not", "ask who may", request_id=request.id)
                return [encode_reply(error_reply(why))]
        except RequestError:
            pass
        return self.model.serve(frame)

    def _publish(self, parts: Parts) -> None:
        if not self.losing:
            self._events.send_multipart(parts)

"""`streamer` as users have it: processes of their own, seen through sockets, signals and standard error."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGTERM
from types import TracebackType
from typing import IO, Self

from streamer.client import Subscriber
from streamer.delivery.messages import Event, Frames, Health, Record

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30.0
"""Loading takes half a second on an idle machine; other work on its cores must not fail a test."""
STOP_TIMEOUT_S = 15.0
HELD_BACK_S = 5.0
"""More than a client's patience with a daemon that does not answer."""
HEAR_TIMEOUT_S = 20.0
EVENTS = ("keyword.", "sound.")
# health last: once it arrives, the prefixes before it are known to the daemon
TOPICS = (*EVENTS, "health.")
FRAMES_TOO = (*EVENTS, "frame.", "health.")
COMMAND = (sys.executable, "-m", "streamer")


def clean_environment(models: Path | None = None, **more: str) -> dict[str, str]:
    """Our environment without settings of streamer's own, and without the machine's config file."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("STREAMER_")}
    for name in (
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "RUNTIME_DIRECTORY",
        "STATE_DIRECTORY",
        "JOURNAL_STREAM",
        "NO_COLOR",
    ):
        kept.pop(name, None)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    own = {"PYTHONPATH": path, "STREAMER_CONFIG": os.devnull}
    if models is not None:
        own["STREAMER_MODELS"] = str(models)
    return {**kept, **own, **more}


def run_command(
    *arguments: str,
    models: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout_s: float = START_TIMEOUT_S,
    cwd: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; a command that does not end is a failure."""
    result = subprocess.run(
        [*COMMAND, *arguments],
        env={**clean_environment(models), **(environment or {})},
        cwd=cwd,
        capture_output=True,
        timeout=timeout_s,
        check=False,
        **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
    )
    out, err = (text.decode(errors="replace") for text in (result.stdout, result.stderr))
    return subprocess.CompletedProcess(result.args, result.returncode, out, err)


class NotifySocket:
    """What systemd offers a service: a datagram socket on which it says how it is."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._told: list[str] = []
        self._changed = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._thread = threading.Thread(target=self._listen, name="notify-socket")
        self._thread.start()

    def _listen(self) -> None:
        while lines := self._socket.recv(65_536).decode().splitlines():
            with self._changed:
                self._told += lines
                self._changed.notify_all()

    @property
    def told(self) -> list[str]:
        """Every line so far."""
        with self._changed:
            return list(self._told)

    def forget(self) -> None:
        """Begin to listen afresh."""
        with self._changed:
            self._told.clear()

    def wait(
        self, found: Callable[[list[str]], bool], process: subprocess.Popen[bytes], timeout_s: float
    ) -> bool:
        """Wait until that is so of all lines; False if the time or the process ended first."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while not found(self._told):
                if time.monotonic() >= deadline_s or process.poll() is not None:
                    return found(self._told)
                self._changed.wait(0.1)  # at most: nobody wakes us when the process ends
        return True

    def close(self) -> None:
        """Close the socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))  # nothing: ends the thread
        self._thread.join()
        self._socket.close()


class Daemon:
    """`streamer run ARGUMENTS` while the `with` block lasts; ready, and subscribed to, when the block begins.

    The subscriber exists before the process does, so it is connected within a tenth of a second of the
    daemon's start: scenes begin with more silence than that.
    """

    def __init__(
        self,
        *arguments: str,
        models: Path,
        environment: Mapping[str, str] | None = None,
        topics: Sequence[str] = TOPICS,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        publish: Sequence[str] = ("ipc",),
        heartbeat_s: float | None = 0.2,
        model: str | None = "tiny",
        live: bool = False,
    ) -> None:
        # Not pytest's own folder: the path of an ipc socket may have 107 bytes.
        self.runtime = Path(tempfile.mkdtemp(prefix="sd-"))
        self.journal = self.runtime / "state/streamer/journal.db"
        self.endpoint = f"ipc://{self.runtime}/events.sock"
        self.control = f"ipc://{self.runtime}/control.sock"
        self.records: list[Record] = []
        """Everything that was heard so far."""
        self._arguments = [
            *arguments,
            *(["--live"] if live else ["--no-live"]),
            "--runtime-dir",
            str(self.runtime),
        ]
        self._arguments += ["--model", model] if model else []
        self._arguments += ["--heartbeat", str(heartbeat_s)] if heartbeat_s else []
        for endpoint in publish:
            self._arguments += ["--publish", self.endpoint if endpoint == "ipc" else endpoint]
        self.notify = NotifySocket(self.runtime)
        self._environment = {
            **clean_environment(
                models, NOTIFY_SOCKET=str(self.notify.path), XDG_STATE_HOME=str(self.runtime / "state")
            ),
            **(environment or {}),
        }
        self._topics = topics
        self._stdin = stdin
        self._lines: list[str] = []
        self._lines_changed = threading.Condition()
        self._subscribers: list[Subscriber] = []
        self.process: subprocess.Popen[bytes] = None  # type: ignore[assignment]

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.subscriber = self.subscribe(self._topics)
            self._start()
            self.wait_notified(lambda told: "READY=1" in told, "it is not ready")
        except BaseException as error:
            self._clean_up(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean_up(error)

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "run", *self._arguments],
            env=self._environment,
            cwd=ROOT,
            stdin=self._stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read_stderr, name="daemon-stderr")
        self._reader.start()

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._lines_changed:
                self._lines.append(line.decode(errors="replace"))
                self._lines_changed.notify_all()

    def _clean_up(self, error: BaseException | None) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(STOP_TIMEOUT_S)
            self._reader.join(STOP_TIMEOUT_S)
            for pipe in (self.process.stdin, self.process.stderr):
                if pipe is not None:
                    _close_quietly(pipe)
        for subscriber in self._subscribers:
            subscriber.close()
        self.notify.close()
        shutil.rmtree(self.runtime, ignore_errors=True)
        if error is not None:
            error.add_note(f"the daemon's standard error:\n{self.stderr}")

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far."""
        with self._lines_changed:
            return "".join(self._lines)

    def restart(self) -> None:
        """Start it again, after it has ended, with the same arguments in the same directory."""
        assert self.process.poll() is not None
        self._reader.join(STOP_TIMEOUT_S)
        _close_quietly(self.process.stderr)
        self.notify.forget()
        self._start()
        self.wait_notified(lambda told: "READY=1" in told, "it is not ready again")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self, number: int = SIGTERM) -> int:
        """Ask it to end; the exit status."""
        self.signal(number)
        return self.wait()

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until it has ended; the exit status."""
        status = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return status

    # -- what it says ------------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str] = TOPICS, endpoint: str | None = None) -> Subscriber:
        """Another subscriber, closed with the daemon."""
        self._subscribers.append(Subscriber(endpoint or self.endpoint, topics=topics))
        return self._subscribers[-1]

    def hear(self, wanted: Callable[[Record], bool], timeout_s: float = HEAR_TIMEOUT_S) -> Record:
        """The next record that fits; those before it are kept in `records` too."""
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            record = self.subscriber.receive(left_s)
            if record is not None:
                self.records.append(record)
                if wanted(record):
                    return record
        raise AssertionError(f"nothing that fits came in {timeout_s} s; last came {self.records[-3:]}")

    def hear_final(self, timeout_s: float = HEAR_TIMEOUT_S) -> Health:
        """The last message of the (only) stream, and all events before it.

        A daemon that has gone before it could say where a subscriber begins leaves it holding events back.
        """
        found = self.hear(lambda record: isinstance(record, Health) and record.final, timeout_s)
        assert isinstance(found, Health)
        deadline_s = time.monotonic() + HELD_BACK_S
        while self._misses_events_before(found) and (left_s := deadline_s - time.monotonic()) > 0:
            record = self.subscriber.receive(left_s)
            if record is not None:
                self.records.append(record)
        return found

    def _misses_events_before(self, health: Health) -> bool:
        if not all(kind.startswith(tuple(self._topics)) for kind in ("keyword.", "sound.")):
            return False
        return health.seq > max([self.healths[0].seq, *(event.seq for event in self.events)])

    def hear_health(self, wanted: Callable[[Health], bool], timeout_s: float = HEAR_TIMEOUT_S) -> Health:
        """The next health message that fits."""
        found = self.hear(lambda record: isinstance(record, Health) and wanted(record), timeout_s)
        assert isinstance(found, Health)
        return found

    def hear_event(self, label: str, phase: str, timeout_s: float = HEAR_TIMEOUT_S) -> Event:
        """The next event of this label and phase."""
        found = self.hear(
            lambda record: isinstance(record, Event) and (record.label, record.phase) == (label, phase),
            timeout_s,
        )
        assert isinstance(found, Event)
        return found

    @property
    def events(self) -> list[Event]:
        """The events among what was heard."""
        return [record for record in self.records if isinstance(record, Event)]

    @property
    def healths(self) -> list[Health]:
        """The health messages among what was heard."""
        return [record for record in self.records if isinstance(record, Health)]

    @property
    def frames(self) -> list[Frames]:
        """The frame scores among what was heard."""
        return [record for record in self.records if isinstance(record, Frames)]

    def wait_log(self, part: str, times: int = 1, timeout_s: float = HEAR_TIMEOUT_S) -> None:
        """Wait until standard error holds a text so many times."""
        with self._lines_changed:
            found = self._lines_changed.wait_for(lambda: "".join(self._lines).count(part) >= times, timeout_s)
        assert found, f"{part!r} was not written {times} times within {timeout_s} s:\n{self.stderr}"

    def wait_notified(
        self, found: Callable[[list[str]], bool], fault: str, timeout_s: float = START_TIMEOUT_S
    ) -> None:
        """Wait until that is so of all that systemd was told."""
        if not self.notify.wait(found, self.process, timeout_s):
            state = self.process.poll()
            raise AssertionError(
                f"{fault} within {timeout_s} s (exit status {state}); told: {self.notify.told}"
            )


def _close_quietly(pipe: IO[bytes] | None) -> None:
    try:
        if pipe is not None:
            pipe.close()
    except BrokenPipeError:  # what was written last, nobody reads any more
        pass

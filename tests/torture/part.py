"""What the parts of `make torture` share: a result in one line, and processes that are started and killed."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import ROOT, clean_environment

KILLED_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """What a part found."""

    ok: bool
    told: str
    """One line with its figures."""


class Process:
    """A program of ours that can be killed and started again; `begin` starts it, and may be called again.

    `within` is a command that runs another one in its own place.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        name: str,
        *,
        models: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        more: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.out = folder / f"{name}.out"
        """Its standard output, of all its lives."""
        self.errors = folder / f"{name}.err"
        self.kills = 0
        self._arguments = [*within, sys.executable, "-m", *arguments]
        self._environment = clean_environment(models, PYTHONUNBUFFERED="1", **(more or {}))
        self._stdin = stdin
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it."""
        with self.out.open("ab") as out, self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self._arguments,
                env=self._environment,
                cwd=ROOT,
                stdin=self._stdin,
                stdout=out,
                stderr=errors,
            )

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it with signal 9, whatever it does, and wait until it is gone."""
        assert self.process is not None
        self.kills += self.process.poll() is None
        self.process.kill()
        self.process.wait(KILLED_S)
        if self.process.stdin:
            _close(self.process.stdin.close)

    def rss_mb(self) -> float:
        """Memory that it has at the moment."""
        assert self.process is not None
        text = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(text.partition("VmRSS:")[2].split()[0]) / 1_024

    def complaints(self) -> str:
        """The last lines that it wrote to standard error."""
        return self.errors.read_text("utf-8", errors="replace")[-2_000:] if self.errors.exists() else ""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the complaints that are right, and many."""
    log = logging.getLogger("streamer")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def own_rss_mb() -> float:
    """Memory that this process has at the moment."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def wait_ready(process: Process, fits: Callable[[], bool], timeout_s: float) -> None:
    """Wait until a process that was begun is ready; RuntimeError with its complaints if it never is."""
    ready = False

    def is_over() -> bool:
        nonlocal ready
        assert process.process is not None
        ready = fits()
        return ready or process.process.poll() is not None

    wait_until(is_over, timeout_s)
    if not ready:
        raise RuntimeError(f"{process.name} does not start: {process.complaints()}")


def wait_until(fits: Callable[[], bool], timeout_s: float) -> bool:
    """Look now and then until it is so; False if it was not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not fits():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(0.05)
    return True


def _close(close: Callable[[], None]) -> None:
    with contextlib.suppress(BrokenPipeError):  # what was written last, nobody reads any more
        close()

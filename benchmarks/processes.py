"""Processes from outside: the processor time and memory of one and all that it has started.

Processor time is the kernel's own count in nanoseconds: of living processes from their clocks, of those that
have ended from what it tells at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a process that has ended has cost, with those of its children that it has waited for."""

    cpu_s: float
    wall_s: float
    out: bytes


def on_core(core: int | None) -> list[str]:
    """What to write before a command that is to have one core; nothing where that cannot be had."""
    if core is None or shutil.which("taskset") is None:
        return []
    return ["taskset", "-c", str(core)]


def run_to_end(
    command: Sequence[str], environment: Mapping[str, str], *, core: int | None = None, timeout_s: float = 600
) -> Ended:
    """Run a command; RuntimeError with its complaints where it fails."""
    begun_s = time.monotonic()
    process = subprocess.Popen(
        [*on_core(core), *command],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    killer = threading.Timer(timeout_s, process.kill)
    killer.start()
    said: list[bytes] = []
    assert process.stdout is not None
    assert process.stderr is not None
    listener = threading.Thread(target=lambda pipe: said.append(pipe.read()), args=(process.stderr,))
    listener.start()
    try:
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - begun_s
        process.returncode = os.waitstatus_to_exitcode(status)
        listener.join()
    finally:
        killer.cancel()
        process.stdout.close()
        process.stderr.close()
    if process.returncode:
        words = said[0].decode(errors="replace").strip()[-600:] if said else ""
        raise RuntimeError(f"{' '.join(command)}: status {process.returncode}: {words}")
    return Ended(usage.ru_utime + usage.ru_stime, wall_s, out)


class Running:
    """A process that goes on while it is looked at, and its descendants."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        core: int | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        log: Path | None = None,
    ) -> None:
        self._log = log
        self._errors = log.open("wb") if log else None
        self.begun_s = time.monotonic()
        self.process = subprocess.Popen(
            [*on_core(core), *command],
            env=dict(environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=self._errors or subprocess.DEVNULL,
        )

    def line(self) -> str:
        """The next line that it prints; RuntimeError where it ends instead."""
        assert self.process.stdout is not None
        guard = threading.Timer(READY_TIMEOUT_S, self.process.kill)
        guard.start()
        try:
            line = self.process.stdout.readline()
        finally:
            guard.cancel()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended too soon: {self.complaints()}")
        return line.decode().strip()

    def complaints(self) -> str:
        """The last that it wrote to standard error."""
        return self._log.read_text(errors="replace")[-800:] if self._log else ""

    @property
    def pids(self) -> list[int]:
        """Its own and its descendants'."""
        return family(self.process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to stop; make it stop where it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT_S)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)
        for pipe in (self.process.stdin, self.process.stdout, self._errors):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def family(pid: int) -> list[int]:
    """A process and its descendants; those that end meanwhile may be missing."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                after_name = (folder / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(after_name[1]), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_s(pids: Sequence[int]) -> float:
    """Processor time of living processes, all their threads, ended ones as well."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)  # as clock_getcpuclockid(3) numbers them


def cpu_share(pids: Sequence[int], seconds: float) -> float:
    """The share of one core that these take in the next seconds."""
    begun_s, begun_cpu_s = time.monotonic(), cpu_s(pids)
    time.sleep(seconds)
    return (cpu_s(pids) - begun_cpu_s) / (time.monotonic() - begun_s)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one or several processes together, in megabytes of 2^20 bytes."""

    alone_mb: float
    """As if nothing else ran: what they share counts once, what others share as well counts in full."""
    rss_mb: float
    """The sum of what each has; what they share counts for each."""
    pss_mb: float
    """The sum, with what is shared counted in parts: less where other programs run the same libraries."""


def memory(pids: Sequence[int]) -> Memory:
    """At the moment."""
    shared: dict[tuple[str, str, str], int] = {}
    own = rss = pss = 0
    for pid in pids:
        for where, sizes in _mappings(pid):
            rss += sizes["Rss"]
            pss += sizes["Pss"]
            if where is None:
                own += sizes["Pss"]
            else:
                own += sizes["Anonymous"]  # pages of a file that it has changed
                shared[where] = max(shared.get(where, 0), sizes["Rss"] - sizes["Anonymous"])
    return Memory((own + sum(shared.values())) / 1024, rss / 1024, pss / 1024)


def _mappings(pid: int) -> Iterator[tuple[tuple[str, str, str] | None, dict[str, int]]]:
    """Each piece of memory in kilobytes, and the place in a file that it shows, if it does."""
    where: tuple[str, str, str] | None = None
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text(errors="replace").splitlines():
        words = line.split()
        if not words[0].endswith(":"):  # addresses, access, offset, device, inode, path
            where = None if words[4] == "0" else (words[3], words[4], words[2])
            sizes = {}
        elif len(words) == 3:
            sizes[words[0][:-1]] = int(words[1])
        elif words[0] == "VmFlags:":
            yield where, sizes

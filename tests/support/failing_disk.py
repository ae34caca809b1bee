"""Disks that fail: a small one of its own that can be filled, and system calls that return an error."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

LET_GO_S = 5.0
FILLED_BYTES = 4_096


def lacks_small_disk(folder: Path) -> str:
    """What stands in the way of a disk of our own; "" if nothing does."""
    if os.geteuid() != 0:
        return "mounting a small disk needs root"
    try:
        with SmallDisk(folder / "probe", 1):
            return ""
    except OSError as error:
        return f"this system does not let us mount a small disk: {error}"


def lacks_strace() -> str:
    """What stands in the way of system calls that fail; "" if nothing does."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim:
        try:
            with failing_calls(victim.pid, ["fsync"], "EIO", [Path("/dev/null")]):
                return ""
        except OSError as error:
            return str(error)
        finally:
            victim.kill()


class SmallDisk:
    """A file system in memory, of so many megabytes, at a place of its own."""

    def __init__(self, path: Path, size_mb: int) -> None:
        self.path = path
        self._size_mb = size_mb
        self._filler = path / "filler"

    def __enter__(self) -> Self:
        self.path.mkdir(mode=0o700)
        _mount("-t", "tmpfs", "-o", f"size={self._size_mb}m,mode=0700", "tmpfs", str(self.path))
        return self

    def __exit__(self, *error: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], capture_output=True, check=False)

    def fill(self) -> None:
        """Not a byte more."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(FILLED_BYTES))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """There is room again."""
        self._filler.unlink(missing_ok=True)

    def make_read_only(self, read_only: bool = True) -> None:
        """As after an error; nobody may have a file open for writing at that moment."""
        _mount("-o", f"remount,{'ro' if read_only else 'rw'}", str(self.path))


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())


@contextlib.contextmanager
def failing_calls(
    pid: int,
    calls: Sequence[str],
    error: str,
    files: Sequence[Path],
    *,
    when: str = "",
    delay_s: float = 0.0,
) -> Iterator[None]:
    """These calls of a process fail on these files while the block lasts, or only the `when`th ones.

    With a delay they hang for so long first; without an error they do what they should after it.
    """
    among = ",".join(calls)
    faults = [f"error={error}"] if error else []
    faults += [f"delay_enter={round(delay_s * 1e6)}"] if delay_s else []
    faults += [f"when={when}"] if when else []
    command = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={among}"]
    command += ["-e", ":".join([f"inject={among}", *faults])]
    command += [argument for file in files for argument in ("-P", str(file))]
    with subprocess.Popen(
        [*command, "-p", str(pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as tracer:
        try:
            assert tracer.stderr is not None
            line = tracer.stderr.readline()
            while line and "attached" not in line:
                if "Operation not permitted" in line or "not supported" in line or "invalid" in line:
                    raise OSError(f"strace cannot attach here: {line.strip()}")
                line = tracer.stderr.readline()
            if not line:
                raise OSError("strace cannot attach here")
            yield
        finally:
            tracer.send_signal(signal.SIGINT)  # it lets go of its process; killed, it might take it along
            try:
                tracer.communicate(timeout=LET_GO_S)
            except subprocess.TimeoutExpired:  # over a killed process it can wait for ever
                tracer.kill()
                tracer.communicate()

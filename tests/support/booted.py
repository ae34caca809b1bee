"""A real systemd as process 1 of a container, over a copy-on-write view of this machine's root filesystem.

Everything that the container writes lands in a tmpfs; this machine's own files are never written to. It is
never booted on the root filesystem itself: every mount is checked before anything is written or started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAMS = ("systemd-nspawn", "nsenter", "mount", "umount", "mountpoint")
BOOT_TIMEOUT_S = 45.0
STOP_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 30.0
TARGET = """\
[Unit]
Requires=dbus.socket
Wants=systemd-logind.service
"""
# Neither /root nor /tmp, where interpreter and packages may be, exist for the service. The packages come
# after the standard library, as they do in an environment: some are namesakes of its modules (`pathlib`).
PROGRAM = """\
#!/bin/sh
export PYTHONDONTWRITEBYTECODE=1 STREAMER_MODELS=/opt/models LD_LIBRARY_PATH=/opt/base/lib
exec /opt/base/{python} -c '
import runpy, sys
sys.path[0] = "/opt/app"
sys.path += ["/opt/pure", "/opt/plat"]
runpy.run_module("streamer", run_name="__main__", alter_sys=True)
' "$@"
"""


def unavailable() -> str | None:
    """Why nothing can be booted here (to be shown as the reason of a skip); None: it can."""
    if os.geteuid() != 0:
        return "booting a container needs root"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} not installed (packages systemd systemd-container util-linux)"
    return None


class CannotBoot(Exception):
    """This machine does not let us mount or start a container."""


class Booted:
    """The container while the `with` block lasts, with `streamer` in /opt/streamer/bin."""

    def __init__(self, folder: Path, app: Path, models: Path, services: list[Path]) -> None:
        self.root = folder / "root"
        self._layer = folder / "layer"
        self._app, self._models, self._services = app, models, services
        self._log = folder / "console.log"
        self._container: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._mount()
            self._furnish()
            self._boot()
        except BaseException:
            self._take_down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.journal())
        self._take_down()

    # -- up ----------------------------------------------------------------------------------------

    def _mount(self) -> None:
        for place in (self._layer, self.root):
            place.mkdir()
        _mount("-t", "tmpfs", "-o", "size=512m", "tmpfs", str(self._layer))
        upper, work = self._layer / "upper", self._layer / "work"
        upper.mkdir()
        work.mkdir()
        _mount(
            "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", str(self.root)
        )

    def _furnish(self) -> None:
        assert _is_mounted(self.root), "never write to, nor boot, anything but the overlay"
        (self.root / "etc/fstab").write_text("")
        # a daemon of this machine's own; systemd could not move its directory, which lies in the lower layer
        shutil.rmtree(self.root / "var/lib/streamer", ignore_errors=True)
        units = self.root / "etc/systemd/system"
        (units / "mini.target").write_text(TARGET)
        for service in self._services:
            shutil.copy(service, units)
        program = self.root / "opt/streamer/bin/streamer"
        program.parent.mkdir(parents=True)
        python = Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
        program.write_text(PROGRAM.format(python=python))
        program.chmod(0o755)
        # Copied, since the service's own user may not be allowed to read ours.
        for part in ("streamer", "systemd"):
            _copy_readable(self._app / part, self.root / "opt/app" / part)
        _copy_readable(self._models, self.root / "opt/models")

    def _boot(self) -> None:
        assert _is_mounted(self.root), "never boot anything but the overlay"
        paths = sysconfig.get_paths()
        shown = {Path(sys.base_prefix).resolve(): "base", Path(paths["purelib"]): "pure"}
        if paths["platlib"] != paths["purelib"]:
            shown[Path(paths["platlib"])] = "plat"
        command = [
            "systemd-nspawn",
            "-D",
            str(self.root),
            "-b",
            "--register=no",
            "--keep-unit",
            "--private-network",
        ]
        command += ["-M", f"streamer-test-{os.getpid()}"]
        command += [f"--bind-ro={source}:/opt/{place}" for source, place in shown.items()]
        with self._log.open("wb") as log:
            self._container = subprocess.Popen(
                [*command, "systemd.unit=mini.target"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_for(
            lambda: self.systemctl("is-active", "mini.target").stdout.strip() == "active", BOOT_TIMEOUT_S
        )

    # -- inside ------------------------------------------------------------------------------------

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container."""
        leader = self._leader()
        if leader is None:
            return subprocess.CompletedProcess(command, 1, "", "the container is not there")
        enter = ["nsenter", "-t", leader, "-m", "-u", "-i", "-p", "-n"]
        return subprocess.run(
            [*enter, *command],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run systemctl in the container."""
        return self.run("systemctl", "--no-pager", *arguments)

    def show(self, unit: str) -> dict[str, str]:
        """The unit's properties."""
        lines = self.systemctl("show", unit).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def journal(self, *arguments: str) -> str:
        """The container's log, or that of one unit."""
        return self.run("journalctl", "--no-pager", "--output=short-precise", *arguments).stdout

    def wait_for(self, wanted: Callable[[], bool], timeout_s: float) -> None:
        """Look again and again until it is so."""
        deadline_s = time.monotonic() + timeout_s
        while not wanted():
            if self._container is not None and self._container.poll() is not None:
                raise CannotBoot(f"the container ended: {self._log.read_text(errors='replace')[-2000:]}")
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not within {timeout_s} s:\n{self.journal()[-6000:]}")
            time.sleep(0.1)  # between looks, under a deadline

    def _leader(self) -> str | None:
        """The container's process 1, as this machine numbers it."""
        if self._container is None or self._container.poll() is not None:
            return None
        number = self._container.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        return children[0] if children else None

    # -- down --------------------------------------------------------------------------------------

    def _take_down(self) -> None:
        if self._container is not None:
            self._power_off(self._container)
        for place in (self.root, self._layer):
            if _is_mounted(place):
                subprocess.run(["umount", str(place)], check=True, timeout=COMMAND_TIMEOUT_S)

    def _power_off(self, container: subprocess.Popen[bytes]) -> None:
        self.systemctl("poweroff")
        try:
            container.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            container.kill()  # its process 1 goes with it
            container.wait(STOP_TIMEOUT_S)


def _copy_readable(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def _mount(*arguments: str) -> None:
    done = subprocess.run(
        ["mount", *arguments], capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S
    )
    if done.returncode or not _is_mounted(Path(arguments[-1])):
        raise CannotBoot(f"mount {' '.join(arguments)}: {done.stderr.strip()}")


def _is_mounted(place: Path) -> bool:
    return (
        subprocess.run(["mountpoint", "-q", str(place)], check=False, timeout=COMMAND_TIMEOUT_S).returncode
        == 0
    )

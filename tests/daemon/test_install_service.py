"""`streamer install-service` without a systemd: what it writes, what it refuses, what it calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import ROOT

UNIT = "systemd/user/streamer.service"
SYSTEMCTL = """\
#!/bin/sh
echo "$@" >> {calls}
case "$*" in *"{failing}"*) echo "Job failed." >&2; exit 1;; esac
"""


class Home:
    """Somebody's home with a systemctl that only notes how it was called."""

    def __init__(self, folder: Path, failing: str = "no such word") -> None:
        self.folder, self.calls_file = folder, folder / "calls"
        tools = folder / "tools"
        tools.mkdir(parents=True)
        (tools / "systemctl").write_text(SYSTEMCTL.format(calls=self.calls_file, failing=failing))
        (tools / "systemctl").chmod(0o755)
        self.unit = folder / ".config" / UNIT
        self._path = f"{tools}:/usr/bin:/bin"

    def command(self, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "streamer", "install-service", *arguments],
            env={"HOME": str(self.folder), "PATH": path or self._path, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_it_is_written_enabled_and_started_and_taken_back(home: Home) -> None:
    done = home.command("--user", "--program", sys.executable, "--config", "a b%.toml")
    assert (done.returncode, done.stderr) == (0, "")
    text = home.unit.read_text()
    assert f'ExecStart={sys.executable} run --config "{os.getcwd()}/a b%%.toml"\n' in text
    assert "[Install]" in text
    assert home.calls == [
        "--user show --property=Version",
        "--user daemon-reload",
        "--user enable streamer.service",
        "--user restart streamer.service",
    ]
    home.calls_file.unlink()
    done = home.command("--user", "--remove")
    assert (done.returncode, done.stderr) == (0, "")
    assert not home.unit.exists()
    assert home.calls[1:] == ["--user disable --now streamer.service", "--user daemon-reload"]


def test_only_written_where_nothing_is_to_be_started(home: Home) -> None:
    done = home.command("--user", "--no-start")
    assert done.returncode == 0
    assert home.calls[1:] == ["--user daemon-reload"]
    assert "systemctl --user enable --now streamer.service" in done.stdout


def test_without_a_systemd_it_says_what_to_type(home: Home, tmp_path: Path) -> None:
    done = home.command("--user", path=str(tmp_path / "nothing"))
    assert (done.returncode, done.stderr) == (0, "")
    assert home.unit.exists()
    assert "systemctl --user enable --now streamer.service" in done.stdout


def test_a_unit_written_by_hand_is_left_alone(home: Home) -> None:
    home.unit.parent.mkdir(parents=True)
    home.unit.write_text("[Service]\nExecStart=/mine\n")
    for arguments in (["--user"], ["--user", "--remove"]):
        done = home.command(*arguments)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "--force" in done.stderr
    assert home.unit.read_text() == "[Service]\nExecStart=/mine\n"
    assert home.calls == []
    assert home.command("--user", "--force").returncode == 0
    assert "/mine" not in home.unit.read_text()


def test_a_start_that_fails_is_told(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", failing="restart")
    done = home.command("--user")
    assert done.returncode == 1
    assert done.stderr.startswith("streamer: systemctl --user restart streamer.service: Job failed.; see ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--system", "--program", "/home/me/streamer"], "does not see /home"),
        (["--system", "--program", "/usr/bin/env", "--config", "/root/s.toml"], "does not see /root"),
        (["--user", "--program", "streamer"], "whole path"),
        (["--user", "--program", "/no/such/program"], "no program"),
        (["--user", "--remove"], "no such service"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(home: Home, arguments: list[str], words: str) -> None:
    done = home.command(*arguments, *([] if "--remove" in arguments else ["--print"]))
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1

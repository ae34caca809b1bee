"""`streamer install-service`: listen from boot or login on, under systemd; and no longer."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from streamer.errors import EXIT_OK, StreamerError

HELP = "Make it a service of systemd, for this user or the whole machine; or take that back."
EXAMPLE = """  streamer install-service               for this user, from login on
  streamer install-service --system      for the whole machine, from boot on (as root)
  streamer install-service --print       only show the unit
  streamer install-service --remove"""

UNIT = "streamer.service"
MARK = "# Written by `streamer install-service`, which may write it again and removes it."
SYSTEM_FOLDER = Path("/etc/systemd/system")
HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))
"""The system unit runs without these, so that it cannot read what is none of its business."""
SYSTEMCTL_TIMEOUT_S = 150.0
"""More than the unit's TimeoutStartSec."""
NO_MANAGER = 'systemd is not running here, or not for this user: when it is, type "{}"'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of install-service."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--user",
        action="store_const",
        const="user",
        dest="whose",
        help="for this user (default, but for root)",
    )
    whose.add_argument(
        "--system",
        action="store_const",
        const="system",
        dest="whose",
        help="for the machine (default for root)",
    )
    parser.add_argument("--config", metavar="FILE", help="settings of the service (default: as of `run`)")
    parser.add_argument(
        "--program", metavar="PATH", help="the program that it starts (default: the one that you call now)"
    )
    parser.add_argument("--no-start", action="store_true", help="write the unit, and leave it stopped")
    parser.add_argument("--force", action="store_true", help="replace or remove a unit written by hand, too")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--remove", action="store_true", help="stop it and remove the unit; events are kept")
    what.add_argument("--print", action="store_true", help="print the unit and change nothing")


def run(options: argparse.Namespace) -> int:
    """Write and start, or stop and remove."""
    whose = options.whose or ("system" if os.geteuid() == 0 else "user")
    if options.print:
        print(unit_text(whose, options.program, options.config), end="")
        return EXIT_OK
    if whose == "system" and os.geteuid() != 0:
        raise StreamerError("only root may change the machine's services", "use sudo, or --user")
    path = unit_folder(whose) / UNIT
    if options.remove:
        _remove(path, whose, options.force)
    else:
        text = unit_text(whose, options.program, options.config)
        _install(path, text, whose, start=not options.no_start, force=options.force)
    return EXIT_OK


def unit_folder(whose: str) -> Path:
    """Where units lie that are added by hand."""
    if whose == "system":
        return SYSTEM_FOLDER
    settings = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(settings) / "systemd" / "user"


def unit_text(whose: str, program: str | None, config: str | None) -> str:
    """The unit as it comes with streamer, with this program and these settings."""
    command = [program] if program else own_program()
    if config:
        command += ["run", "--config", str(Path(config).absolute())]
    else:
        command.append("run")
    checked = [command[0], *([config] if config else [])]
    if whose == "system":
        for path in (Path(part).absolute() for part in checked):
            _check_visible(path)
    if not Path(command[0]).is_absolute() or not os.access(command[0], os.X_OK):
        raise StreamerError(
            f"{command[0]}: no program that systemd could start", "give --program its whole path"
        )
    start = " ".join(_escaped(word) for word in command)
    text, count = re.subn(
        r"^ExecStart=.*$", lambda _: f"ExecStart={start}", _template(whose), flags=re.MULTILINE
    )
    assert count == 1, "the unit that comes with streamer starts one program"
    # Its head says how to install it by hand: that is done now.
    body = text[text.index("[Unit]") :]
    return f"{MARK}\n{body}"


def own_program() -> list[str]:
    """The program that is running, as a command that works from anywhere."""
    script = Path(sysconfig.get_path("scripts")) / "streamer"
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "streamer"]


def _template(whose: str) -> str:
    inside = Path(__file__).resolve().parent.parent
    name = UNIT if whose == "system" else f"user/{UNIT}"
    for folder in (inside / "_systemd", inside.parent / "systemd"):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise StreamerError(f"the unit {name} is missing from this installation", "install streamer again")


def _check_visible(path: Path) -> None:
    hidden = next((folder for folder in HIDDEN if path.is_relative_to(folder)), None)
    if hidden:
        raise StreamerError(
            f"{path}: the service of the machine does not see {hidden}",
            "have streamer in /opt/streamer (python3 -m venv) and settings in /etc/streamer, or use --user",
        )


def _escaped(word: str) -> str:
    """As systemd reads it: `%` and `$` mean something, and blanks divide."""
    word = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    return f'"{word}"' if re.search(r"\s", word) else word


def _install(path: Path, text: str, whose: str, *, start: bool, force: bool) -> None:
    _check_ours(path, force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise StreamerError(f"{path}: {error.strerror}", "may you write there?") from error
    print(f"written: {path}")
    again = _systemctl_line(whose, "enable", "--now", UNIT)
    if not _manager_answers(whose):
        print(NO_MANAGER.format(again))
        return
    _systemctl(whose, "daemon-reload")
    if not start:
        print(f'not started; "{again}" does it')
        return
    _systemctl(whose, "enable", UNIT)
    _systemctl(whose, "restart", UNIT)  # one that runs already takes the new unit
    print(f"started, and from now on at {'boot' if whose == 'system' else 'login'}")
    print(f'look at it: "{_systemctl_line(whose, "status", UNIT)}", hear it: "streamer subscribe"')


def _remove(path: Path, whose: str, force: bool) -> None:
    if not path.exists():
        raise StreamerError(f"{path}: there is no such service", "nothing is to be removed")
    _check_ours(path, force)
    answers = _manager_answers(whose)
    if answers:
        _systemctl(whose, "disable", "--now", UNIT)
    try:
        path.unlink()
    except OSError as error:
        raise StreamerError(f"{path}: {error.strerror}", "may you write there?") from error
    if answers:
        _systemctl(whose, "daemon-reload")
    print(f"removed: {path}; settings and the journal of events stay where they are")


def _check_ours(path: Path, force: bool) -> None:
    """What somebody wrote by hand is not lost by a forgotten option."""
    if force or not path.exists():
        return
    if MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise StreamerError(f"{path}: not written by this command", "look at it, and give --force")


def _systemctl_line(whose: str, *arguments: str) -> str:
    return shlex.join(["systemctl", *(["--user"] if whose == "user" else []), *arguments])


def _manager_answers(whose: str) -> bool:
    """Whether there is a systemd to talk to."""
    if shutil.which("systemctl") is None:
        return False
    done = subprocess.run(
        shlex.split(_systemctl_line(whose, "show", "--property=Version")),
        capture_output=True,
        timeout=SYSTEMCTL_TIMEOUT_S,
        check=False,
    )
    return done.returncode == 0


def _systemctl(whose: str, *arguments: str) -> None:
    line = _systemctl_line(whose, *arguments)
    try:
        done = subprocess.run(
            shlex.split(line), capture_output=True, text=True, timeout=SYSTEMCTL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StreamerError(f"{line}: no answer", "see what `systemctl status` says") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[0]
        look = "journalctl " + ("--user " if whose == "user" else "") + f"-u {UNIT} -n 20"
        raise StreamerError(f"{line}: {said}", f"see `{look}`")

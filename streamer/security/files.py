"""Files that nobody else may read or change: refused when they are looser, written in one piece."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from streamer.errors import SecurityError

PRIVATE_MODE = 0o600
FILE_MAX_BYTES = 4 * 1024 * 1024
"""Nobody's list of clients is longer; a device or an endless file is not read to its end."""


def own_and_root() -> frozenset[int]:
    """Whose files are trusted: one's own and root's."""
    return frozenset({os.geteuid(), 0})


def owners_around(directory: Path) -> frozenset[int]:
    """Root, who looks after a service's directory for it, also trusts the owner of that directory."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            return own_and_root() | {directory.stat().st_uid}
    return own_and_root()


def read_private(path: Path, owners: frozenset[int] | None = None) -> str | None:
    """The text of a private file; None if there is none, SecurityError if others could read or change it."""
    owners = own_and_root() if owners is None else owners
    try:
        # no waiting for the writer of a pipe that somebody has put there
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SecurityError(f"{path} cannot be read: {error.strerror}", _ask(path)) from None
    try:
        _check_file(path, os.fstat(descriptor), owners)
        check_parents(path, owners)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise SecurityError(f"{path} cannot be read: {error.strerror}", _ask(path)) from None
    finally:
        os.close(descriptor)
    if len(data) > FILE_MAX_BYTES:
        raise SecurityError(f"{path} is larger than {FILE_MAX_BYTES} bytes", "see what has happened to it")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SecurityError(f"{path} is not UTF-8 text", "see what has happened to it") from None


def write_private(path: Path, text: str, *, replace: bool) -> None:
    """Write the whole file or nothing, mode 0600; FileExistsError if it is there and `replace` is off."""
    try:
        _make_directory(path.parent)
        check_parents(path, owners_around(path.parent))
        _write(path, text, replace)
    except FileExistsError:
        if not path.parent.is_dir():
            raise SecurityError(f"{path.parent} is not a directory", "choose another") from None
        raise
    except OSError as error:
        raise SecurityError(f"{path} cannot be written: {error.strerror}", _ask(path)) from None


@contextlib.contextmanager
def editing(directory: Path) -> Iterator[None]:
    """Nobody else who asks for the same edits in this directory meanwhile."""
    try:
        _make_directory(directory)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SecurityError(f"{directory} cannot be used: {error.strerror}", _ask(directory)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def check_parents(path: Path, owners: frozenset[int]) -> None:
    """Whoever may change a directory on the way may put another file in the place of this one."""
    for parent in path.resolve().parents:
        found = parent.stat()
        if found.st_uid not in owners:
            raise SecurityError(
                f"{parent}, on the way to {path.name}, belongs to another user (uid {found.st_uid})",
                "move it to a directory of your own",
            )
        # where the sticky bit is set, as on /tmp, only the owner may rename or remove
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
            mode = stat.S_IMODE(found.st_mode)
            raise SecurityError(
                f"{parent}, on the way to {path.name}, can be changed by others (mode {mode:04o})",
                f"`chmod go-w {parent}`",
            )


def _check_file(path: Path, found: os.stat_result, owners: frozenset[int]) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SecurityError(f"{path} is no file", "see what has happened to it")
    if found.st_uid not in owners:
        raise SecurityError(
            f"{path} belongs to another user (uid {found.st_uid})", f"`chown {os.geteuid()} {path}`"
        )
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise SecurityError(f"{path} is open to others (mode {mode:04o})", f"`chmod 600 {path}`")


def _make_directory(path: Path) -> None:
    if not path.is_dir():
        _make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        _give(path, path.parent)


def _give(made: Path | int, directory: Path) -> None:
    """What root makes in a service's directory is the service's, or it could not read it."""
    owner = directory.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(made, owner.st_uid, owner.st_gid)


def _write(path: Path, text: str, replace: bool) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            _give(descriptor, path.parent)
            os.fsync(descriptor)
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)  # unlike a rename it never replaces
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _ask(path: Path) -> str:
    return f"see who may use {path.parent}, or name another directory with `--keys DIR`"

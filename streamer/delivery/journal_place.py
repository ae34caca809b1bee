"""Where the journal is: its file and the files beside it, private, and locked while a daemon runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from streamer.errors import JournalError

JOURNAL_FILE = "journal.db"
OTHERWISE = "choose another with `--journal PATH`, or none with `--no-journal`"


def state_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Where what outlives a run is kept: chosen by systemd, the session or the system."""
    environ = os.environ if environ is None else environ
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd lists several with colons
    if os.path.isabs(given):
        return Path(given)
    home = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(home):  # the XDG standard: a relative one is to be ignored
        return Path(home) / "streamer"
    if os.geteuid() == 0:
        return Path("/var/lib/streamer")
    return Path.home() / ".local/state/streamer"


def default_journal_path(environ: Mapping[str, str] | None = None) -> Path:
    """The journal's file when nobody says."""
    return state_directory(environ) / JOURNAL_FILE


class JournalPlace:
    """The files of one journal; their names begin with that of the database, as SQLite does it."""

    def __init__(self, path: Path) -> None:
        # systemd makes the directory of a dynamic user a link
        self.database = path.absolute().parent.resolve() / path.name
        self.wal = self._beside("-wal")
        self.shm = self._beside("-shm")
        self.note = self._beside("-seq")
        self.lock_file = self._beside("-lock")
        self.fresh = self._beside("-new")
        """A database under construction; complete as soon as the other one is gone."""
        self._lock: int | None = None

    def _beside(self, ending: str) -> Path:
        return self.database.with_name(self.database.name + ending)

    @property
    def size_bytes(self) -> int:
        """Of database and WAL together."""
        return sum(_size(path) for path in (self.database, self.wal))

    def take(self) -> None:
        """Make the directory if need be, check that all is private, lock; OSError where the disk refuses."""
        directory = self.database.parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise JournalError(f"{directory} is not a directory", OTHERWISE) from None
        self._check_directory(directory)
        if self._lock is None:
            self._lock = self._take_lock()
        for path in (self.database, self.wal, self.shm, self.note, self.fresh):
            self._check_file(path)

    def release(self) -> None:
        """Unlock; the lock's file stays, since removing it would race with the next daemon."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def set_aside(self) -> Path:
        """Rename what is there, for people to look at; the name that the database would have now."""
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = self._beside(f".corrupt-{moment}")
        count = 1
        while aside.exists() or aside.with_name(aside.name + "-wal").exists():
            count += 1
            aside = self._beside(f".corrupt-{moment}-{count}")
        # the database first: see adopt_fresh
        _rename(self.database, aside)
        _rename(self.wal, aside.with_name(aside.name + "-wal"))
        self.shm.unlink(missing_ok=True)
        return aside

    def adopt_fresh(self) -> None:
        """Put the fresh database in the place where nothing is any more.

        A process that is killed between the renames leaves no database and a fresh one, or a WAL without its
        database, which must never meet another: the next start finds either and goes on from there.
        """
        if self.wal.exists() or self.shm.exists():
            self.set_aside()
        self.fresh.rename(self.database)
        sync_directory(self.database.parent)

    def _check_directory(self, directory: Path) -> None:
        found = directory.lstat()
        if found.st_uid != os.geteuid():
            raise JournalError(
                f"the journal's directory {directory} belongs to another user (uid {found.st_uid})", OTHERWISE
            )
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise JournalError(
                f"the journal's directory {directory} is open to others (mode {mode:04o})",
                f"`chmod 700 {directory}`, or {OTHERWISE}",
            )

    def _check_file(self, path: Path) -> None:
        try:
            found = path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISREG(found.st_mode):
            raise JournalError(f"{path} is no file", OTHERWISE)
        if found.st_uid != os.geteuid():
            raise JournalError(f"{path} belongs to another user (uid {found.st_uid})", OTHERWISE)
        if found.st_mode & 0o077:
            raise JournalError(
                f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o})", f"`chmod 600 {path}`"
            )

    def _take_lock(self) -> int:
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            lock = os.open(self.lock_file, flags, 0o600)
        except OSError:  # on a read-only disk there may still be one
            lock = os.open(self.lock_file, flags & ~os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise JournalError(
                f"another streamer keeps its journal in {self.database}",
                "one more daemon wants `--journal PATH` or `--no-journal`",
            ) from None
        return lock


def sync_directory(directory: Path) -> None:
    """Make renames last through a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _rename(path: Path, to: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.rename(to)

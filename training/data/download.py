"""Fetch a public set: goes on where it stopped, checks what came, unpacks it."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from training.data.dataset import DataError
from training.data.public import PublicSet
from training.data.unpack import unpack

PIECE_BYTES = 1 << 20
TIMEOUT_S = 30.0
VAIN_TRIES = 3
"""Gives up after so many tries in a row that brought nothing."""
UNPACKED_TIMES = 1.5
"""Room that an archive's files take, against the archive."""

Report = Callable[[str], None]


def download(wanted: PublicSet, to: Path, *, keep_archive: bool = False, report: Report = print) -> Path:
    """The set's folder below `to`, fetched and unpacked if it is not there yet."""
    folder, archive = to / wanted.name, to / wanted.archive
    if folder.exists():
        report(f"{folder} is already there")
        return folder
    _make(to)
    if not archive.exists():
        _check_room(wanted, to)
        fetch(wanted, archive)
    trusted = _check_archive(wanted, archive, report)
    unpack(archive, folder, lambda place: None if trusted else _check_contents(wanted, place))
    if not keep_archive:
        archive.unlink()
    return folder


def fetch(wanted: PublicSet, archive: Path) -> None:
    """The archive, by as many requests as it takes; what has come is kept beside it until it is whole."""
    part = archive.with_name(f"{archive.name}.part")
    with tqdm(total=wanted.bytes, unit="B", unit_scale=True, desc=wanted.name) as bar:
        vain = 0
        while not _is_whole(wanted, part):
            before = _size(part)
            bar.n = before
            try:
                if _request(wanted, part, before, bar):
                    break  # the server says that this is all
            except (OSError, http.client.HTTPException) as error:
                vain = 0 if _size(part) > before else vain + 1
                if vain >= VAIN_TRIES or _is_final(error):
                    raise _explained(wanted, part, error) from error
    os.replace(part, archive)


def _request(wanted: PublicSet, part: Path, have: int, bar: tqdm) -> bool:
    """Ask for the rest; whether everything has come. Raises where the line broke."""
    request = urllib.request.Request(wanted.url, headers={"User-Agent": "streamer-training"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        part.unlink()  # longer than the file: another edition
        return False
    with answer:
        continues = answer.status == http.client.PARTIAL_CONTENT
        if continues and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise OSError("the server sends another part than was asked for")
        length = answer.headers.get("Content-Length")
        if not continues:
            bar.n = 0
        got = 0
        with part.open("ab" if continues else "wb") as file:
            while piece := answer.read(PIECE_BYTES):
                file.write(piece)
                got += len(piece)
                bar.update(len(piece))
    if length is not None and got < int(length):
        raise http.client.IncompleteRead(b"", int(length) - got)
    return True


def _is_whole(wanted: PublicSet, part: Path) -> bool:
    return wanted.hash_is_promised and _size(part) == wanted.bytes


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_final(error: Exception) -> bool:
    """Asking again would not help."""
    return isinstance(error, urllib.error.HTTPError) and error.code < http.client.INTERNAL_SERVER_ERROR


def _explained(wanted: PublicSet, part: Path, error: Exception) -> DataError:
    reason = getattr(error, "reason", None) or error
    reason = getattr(reason, "strerror", None) or reason
    kept = f"; {_size(part)} bytes are kept, the same command goes on from there" if _size(part) else ""
    if isinstance(error, urllib.error.HTTPError):
        return DataError(
            f"{wanted.url}: the server answers {error.code} {error.reason}", f"look for it by hand{kept}"
        )
    return DataError(f"{wanted.url}: {reason}", f"check the internet connection{kept}")


def _check_archive(wanted: PublicSet, archive: Path, report: Report) -> bool:
    """Whether it is byte by byte what is expected; an error where it must be and is not."""
    found = _sha256(archive)
    if found == wanted.sha256:
        return True
    if wanted.hash_is_promised:
        size = _size(archive)
        archive.unlink()
        raise DataError(
            f"{wanted.name}: SHA-256 is {found} ({size} bytes), not {wanted.sha256} ({wanted.bytes} bytes)",
            "removed; fetch it again, and if it stays so do not trust it",
        )
    report(f"{archive.name}: packed anew by its host (SHA-256 {found}); judged by its contents")
    if wanted.zip_comment and _zip_comment(archive) != wanted.zip_comment:
        raise DataError(f"{archive}: not the commit {wanted.zip_comment}", "remove it and fetch it again")
    return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _zip_comment(archive: Path) -> str:
    try:
        with zipfile.ZipFile(archive) as packed:
            return packed.comment.decode("ascii", "replace")
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive}: not a zip archive: {error}", "remove it and fetch it again") from error


def _check_contents(wanted: PublicSet, folder: Path) -> None:
    found = sum(1 for _ in folder.rglob("*.wav"))
    if wanted.sounds is not None and found != wanted.sounds:
        raise DataError(f"{wanted.name}: {found} .wav files in the archive, {wanted.sounds} expected")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}", "give another folder with --to") from error


def _check_room(wanted: PublicSet, folder: Path) -> None:
    free, needed = shutil.disk_usage(folder).free, int(wanted.bytes * (1 + UNPACKED_TIMES))
    if free < needed:
        raise DataError(
            f"{folder}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed", "give another with --to"
        )

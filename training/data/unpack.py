"""Archives unpacked with care: nothing outside the folder, no links, and all of it or nothing."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from training.data.dataset import DataError

Content = IO[bytes]
_Damage = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError)


def unpack(archive: Path, folder: Path, check: Callable[[Path], None] = lambda _: None) -> None:
    """Unpack a .zip or .tar.gz into a new folder; `check` may refuse what came out."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        try:
            for name, content in _members(archive):
                _write(fresh, archive, name, content)
        except _Damage as error:
            raise DataError(
                f"{archive}: cannot be unpacked: {error}", "remove it and fetch it again"
            ) from error
        top = _only_folder(fresh)
        check(top)
        os.chmod(top, 0o755)
        os.rename(top, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _members(archive: Path) -> Iterator[tuple[str, Content]]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if not info.is_dir():
                    with packed.open(info) as content:
                        yield info.filename, content
        return
    with tarfile.open(archive, "r|*") as packed:
        for member in packed:
            if member.isdir():
                continue
            file = packed.extractfile(member) if member.isreg() else None
            if file is None:
                why = f"{member.name!r} is neither file nor folder"
                raise DataError(f"{archive}: {why}", "do not trust this archive")
            yield member.name, file


def _write(folder: Path, archive: Path, name: str, content: Content) -> None:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or parts[0] == "/" or "\\" in name or PureWindowsPath(name).drive:
        raise DataError(f"{archive}: {name!r} leads out of its folder", "do not trust this archive")
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        shutil.copyfileobj(content, file, 1 << 20)


def _only_folder(folder: Path) -> Path:
    """Archives of a git repository have everything in one folder."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder

"""Files that hold keys and lists: private or refused, whole or not written at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import EXIT_CONFIG, SecurityError
from streamer.security.files import FILE_MAX_BYTES, editing, owners_around, read_private, write_private

NOBODY_UID = 65_534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(SecurityError) as caught:
        read_private(path, **options)
    assert caught.value.status == EXIT_CONFIG
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_written_and_read_back(private: Path) -> None:
    path = private / "deep" / "file"
    write_private(path, "text\n", replace=False)
    assert read_private(path) == "text\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    write_private(path, "new\n", replace=True)
    assert (read_private(path), path.stat().st_mode & 0o777) == ("new\n", 0o600)
    assert os.listdir(path.parent) == ["file"], "something was left lying about"


def test_what_is_not_there_is_none(private: Path) -> None:
    assert read_private(private / "nothing") is None
    assert read_private(private / "no" / "where") is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o777])
def test_a_looser_mode_is_refused(private: Path, mode: int) -> None:
    path = private / "file"
    write_private(path, "text", replace=False)
    path.chmod(mode)
    assert refusal(path) == f"{path} is open to others (mode {mode:04o}); `chmod 600 {path}`"
    path.chmod(0o600)
    assert read_private(path) == "text"


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_change_is_refused(private: Path, mode: int) -> None:
    path = private / "open" / "below" / "file"
    write_private(path, "text", replace=False)
    (private / "open").chmod(mode)
    told = f"{private / 'open'}, on the way to file, can be changed by others (mode {mode:04o})"
    assert refusal(path).startswith(told)
    with pytest.raises(SecurityError, match="can be changed by others"):
        write_private(path, "other", replace=True)
    (private / "open").chmod(0o755)  # to be looked at is no harm
    assert read_private(path) == "text"


def test_a_link_is_judged_by_where_it_leads(private: Path, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    write_private(loose / "file", "text", replace=False)
    (private / "link").symlink_to(loose / "file")
    assert read_private(private / "link") == "text"
    loose.chmod(0o777)
    assert "can be changed by others" in refusal(private / "link")


@ROOT_ONLY
def test_anothers_file_or_directory_is_refused(private: Path) -> None:
    path = private / "theirs" / "file"
    write_private(path, "text", replace=False)
    os.chown(path, NOBODY_UID, -1)
    assert f"belongs to another user (uid {NOBODY_UID})" in refusal(path)
    os.chown(path, 0, -1)
    os.chown(path.parent, NOBODY_UID, -1)
    assert f"on the way to file, belongs to another user (uid {NOBODY_UID})" in refusal(path)


@ROOT_ONLY
def test_root_may_look_after_a_services_directory(private: Path) -> None:
    home = private / "service"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY_UID, -1)
    path = home / "keys" / "file"
    write_private(path, "text", replace=False)
    assert [made.stat().st_uid for made in (path.parent, path)] == [NOBODY_UID] * 2, "it could not read it"
    assert read_private(path, owners_around(path.parent)) == "text"
    refusal(path)  # a daemon of root's has no business there


def test_what_is_no_ordinary_file_is_refused_at_once(private: Path) -> None:
    os.mkfifo(private / "pipe", 0o600)
    assert "is no file" in refusal(private / "pipe")
    assert "is no file" in refusal(private)
    (private / "file").write_text("")
    assert "Not a directory" in refusal(private / "file" / "below")


def test_contents_that_cannot_be(private: Path) -> None:
    path = private / "file"
    path.touch(0o600)
    path.write_bytes(b"\xff")
    assert "is not UTF-8" in refusal(path)
    path.write_bytes(b"x" * (FILE_MAX_BYTES + 1))
    assert "is larger than" in refusal(path)


def test_nothing_is_overwritten_unless_told_to(private: Path) -> None:
    write_private(private / "file", "mine", replace=False)
    with pytest.raises(FileExistsError):
        write_private(private / "file", "yours", replace=False)
    assert (private / "file").read_text() == "mine"
    assert os.listdir(private) == ["file"]


def test_a_failed_write_leaves_what_was_there(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_private(private / "file", "old", replace=False)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SecurityError, match="cannot be written: No space left on device"):
        write_private(private / "file", "new", replace=True)
    assert os.listdir(private) == ["file"]
    assert (private / "file").read_text() == "old"


def test_a_file_in_the_way_of_the_directory(private: Path) -> None:
    (private / "file").touch()
    with pytest.raises(SecurityError, match="is not a directory"):
        write_private(private / "file" / "below", "text", replace=False)
    with pytest.raises(SecurityError, match="cannot be used"), editing(private / "file"):
        pass

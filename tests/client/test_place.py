"""The file of a place: what is read is what was written, whatever cut it off in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamer.client.place import SLOT_BYTES, PlaceError, PlaceFile
from streamer.client.records import Place

PLACE = Place("c0ffee1234567890", 41)
FORMER = {"0123456789abcdef": 7}


def read(path: Path) -> tuple[Place | None, dict[str, int]]:
    file = PlaceFile(path)
    file.close()
    return file.place, file.former


def write(path: Path, *places: Place) -> None:
    file = PlaceFile(path)
    for place in places:
        file.write(place, FORMER)
    file.close()
    file.close()


def test_a_new_file_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "place"
    for _ in range(2):
        assert read(path) == (None, {})
        assert path.stat().st_size == 2 * SLOT_BYTES, "the room is taken, should the disk be full later"
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "made-by-mktemp").touch()
    assert read(tmp_path / "made-by-mktemp") == (None, {})


def test_the_last_place_is_read(tmp_path: Path) -> None:
    path = tmp_path / "place"
    for seq in range(1, 6):
        write(path, Place(PLACE.journal, seq))
        assert read(path) == (Place(PLACE.journal, seq), FORMER)
    write(path, Place("other", 99), Place(PLACE.journal, 3))
    assert read(path) == (Place(PLACE.journal, 3), FORMER), "a place may go back"


def test_a_slot_that_was_cut_off_leaves_the_place_of_before(tmp_path: Path) -> None:
    """At each byte of what a write changes."""
    path = tmp_path / "place"
    write(path, Place(PLACE.journal, 1), Place(PLACE.journal, 2))
    before = path.read_bytes()
    write(path, Place(PLACE.journal, 3))
    after = path.read_bytes()
    changed = [at for at in range(len(after)) if before[at] != after[at]]
    assert changed
    for cut in changed:
        path.write_bytes(after[:cut] + before[cut:])
        assert read(path)[0] in {Place(PLACE.journal, 2), Place(PLACE.journal, 3)}
    for byte in changed:
        path.write_bytes(after[:byte] + bytes([after[byte] ^ 1]) + after[byte + 1 :])
        assert read(path)[0] == Place(PLACE.journal, 2)


@pytest.mark.parametrize("text", [b"{", b"hello\n", b'{"v":1,"journal":"a","seq":3}', b"x" * 2 * SLOT_BYTES])
def test_what_holds_no_place_is_refused_and_left_alone(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_bytes(text)
    with pytest.raises(PlaceError, match=f"the place in {path} is none; remove the file to begin anew"):
        PlaceFile(path)
    assert path.read_bytes() == text


def test_a_longer_file_is_no_place(tmp_path: Path) -> None:
    path = tmp_path / "place"
    write(path, PLACE)
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(PlaceError, match="is none"):
        PlaceFile(path)


def test_a_newer_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("streamer.client.place.VERSION", 2)
        write(tmp_path / "place", PLACE)
    with pytest.raises(PlaceError, match="was written by a newer streamer; install that one"):
        PlaceFile(tmp_path / "place")


def test_nobody_else_may_use_it_meanwhile(tmp_path: Path) -> None:
    file = PlaceFile(tmp_path / "place")
    with pytest.raises(PlaceError, match="is in use by another subscriber"):
        PlaceFile(tmp_path / "place")
    file.close()
    assert read(tmp_path / "place") == (None, {})


def test_places_that_cannot_be(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for name, why in (
        ("pipe", "cannot be kept: Illegal seek"),
        (".", "cannot be kept: Is a directory"),
        ("gone/place", "cannot be kept: No such file or directory"),
        ("file/place", "cannot be kept: Not a directory"),
    ):
        with pytest.raises(PlaceError, match=why):
            PlaceFile(tmp_path / name)


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = PlaceFile(tmp_path / "place")

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        with pytest.raises(PlaceError, match="cannot be written: Input/output error"):
            file.write(PLACE, {})
    file.write(PLACE, {})
    file.close()
    assert read(tmp_path / "place")[0] == PLACE

"""Data sets named on the command line: every slip is one line with the legal values."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recordings import write_sound
from training.data.dataset import DataError
from training.data.readers.esc50 import READER as ESC50
from training.data.readers.folders import READER as FOLDERS
from training.data.spec import READERS, open_dataset


def test_options_have_defaults_and_kinds() -> None:
    assert ESC50.parse("") == {"dev": ("4",), "test": ("5",), "esc10": False, "names": "ours"}
    given = ESC50.parse("dev=1,%202&test=&esc10=yes")
    assert (given["dev"], given["test"], given["esc10"]) == (("1", "2"), (), True)
    assert FOLDERS.parse("dev=12.5&licence=CC%20BY%204.0")["dev"] == 12.5


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "gcs:/x",
            r"no reader 'gcs', did you mean .gsc.\?; .*readers: pack, gsc, esc50, folders, strong, audacity",
        ),
        ("/x", "no reader given; give READER:FOLDER"),
        ("gsc:", "no folder after gsc:"),
        ("gsc:/nowhere", "gsc: /nowhere: no such folder"),
        ("pack:/nowhere", "manifest.csv: No such file"),
        (
            "esc50:/x?dve=5",
            "esc50: no option 'dve', did you mean 'dev'.; legal options: dev, test, esc10, names",
        ),
        ("esc50:/x?esc10=perhaps", "esc50: esc10='perhaps': legal values: yes, no"),
        (
            "folders:/x?kind=keywrd",
            "kind='keywrd': legal values: auto, keyword, event, did you mean 'keyword'",
        ),
        ("folders:/x?dev=some", "folders: dev='some': must be a number"),
        ("folders:/x?dev=-5", "must be a number, 0 or more"),
        ("folders:/x?dev=5&dev=6", "option 'dev' given twice"),
        ("folders:/x?dev", "option 'dev' has no value"),
        ("pack:/x?dev=1", "pack: no option 'dev'; it has none"),
    ],
)
def test_a_slip_is_told_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        open_dataset(spec)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_reader_is_guessed(tmp_path: Path) -> None:
    write_sound(tmp_path / "yes/a.wav")
    with pytest.raises(DataError, match=f"this looks like folders:{tmp_path}"):
        open_dataset(str(tmp_path))
    (tmp_path / "_background_noise_").mkdir()
    with pytest.raises(DataError, match="this looks like gsc:"):
        open_dataset(str(tmp_path))


def test_every_reader_says_what_it_reads() -> None:
    for name, reader in READERS.items():
        assert reader.name == name
        assert reader.about
        assert reader.layout
        assert all(option.about for option in reader.options)

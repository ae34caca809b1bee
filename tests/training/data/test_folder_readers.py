"""Speech Commands, ESC-50 and one folder a label: good folders, and each way in which they can be bad."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.recordings import told, write_sound, write_text
from training.data.dataset import DataError, Dataset
from training.data.spec import open_dataset, open_datasets

SPEAKERS = ("a69b9b3e", "bb05582b", "0a2b400e")  # by hash: dev, test, train
ESC_HEADER = "filename,fold,target,category,esc10,src_file,take"


@pytest.fixture
def gsc(tmp_path: Path) -> Path:
    """Two words of three speakers, and noise."""
    folder = tmp_path / "gsc"
    for number, (word, speaker) in enumerate((w, s) for w in ("yes", "bed") for s in SPEAKERS):
        write_sound(folder / word / f"{speaker}_nohash_0.wav", 300 + 50 * number)
    write_sound(folder / "_background_noise_/white_noise.wav", 2000)
    write_text(folder / "README.md", "words")
    return folder


def splits(dataset: Dataset) -> dict[str, str]:
    """Path: split."""
    return {clip.path: clip.split for clip in dataset.clips}


def test_speech_commands_by_hash(gsc: Path) -> None:
    dataset = open_dataset(f"gsc:{gsc}")
    by_path = {clip.path: clip for clip in dataset.clips}
    assert len(by_path) == 7
    assert by_path["yes/a69b9b3e_nohash_0.wav"].split == "dev"
    assert by_path["bed/bb05582b_nohash_0.wav"].split == "test"
    assert by_path["bed/0a2b400e_nohash_0.wav"].split == "train"
    assert by_path["bed/0a2b400e_nohash_0.wav"].speaker == "0a2b400e"
    assert by_path["_background_noise_/white_noise.wav"].kind == "noise"
    assert not dataset.faults


def test_speech_commands_by_lists(gsc: Path) -> None:
    write_text(gsc / "validation_list.txt", *(f"{word}/0a2b400e_nohash_0.wav" for word in ("yes", "bed")))
    write_text(gsc / "testing_list.txt", "yes/gone_nohash_0.wav", "")
    dataset = open_dataset(f"gsc:{gsc}")
    assert {path for path, split in splits(dataset).items() if split == "dev"} == {
        "yes/0a2b400e_nohash_0.wav",
        "bed/0a2b400e_nohash_0.wav",
    }
    assert "no such file" in told(dataset.faults, "testing_list.txt:1")
    assert splits(open_dataset(f"gsc:{gsc}?split=hash"))["yes/0a2b400e_nohash_0.wav"] == "train"


def test_speech_commands_lists_that_part_a_speaker_are_an_error(gsc: Path) -> None:
    write_text(gsc / "validation_list.txt", "yes/0a2b400e_nohash_0.wav")
    write_text(gsc / "testing_list.txt")
    with pytest.raises(
        DataError, match=r"bed/0a2b\S+ \(train\) and \S+yes/0a2b\S+ \(dev\): 0a2b400e is in both"
    ):
        open_dataset(f"gsc:{gsc}")


def test_speech_commands_lists_that_contradict_each_other_or_are_missing(gsc: Path) -> None:
    write_text(gsc / "validation_list.txt", "yes/0a2b400e_nohash_0.wav")
    with pytest.raises(DataError, match=r"testing_list\.txt: no such file; .*split=hash"):
        open_dataset(f"gsc:{gsc}")
    write_text(gsc / "testing_list.txt", "", "yes/0a2b400e_nohash_0.wav")
    with pytest.raises(DataError, match=r"testing_list\.txt:2: yes/\S+ is in both splits"):
        open_dataset(f"gsc:{gsc}")


def test_the_test_set_of_speech_commands(gsc: Path) -> None:
    write_sound(gsc / "_unknown_/cat_0132a06d_nohash_0.wav", 1500)
    write_sound(gsc / "_silence_/3.wav", 1600)
    dataset = open_dataset(f"gsc:{gsc}?split=test")
    by_path = {clip.path: clip for clip in dataset.clips}
    assert set(splits(dataset).values()) == {"test"}
    unknown = by_path["_unknown_/cat_0132a06d_nohash_0.wav"]
    assert (unknown.kind, unknown.label, unknown.speaker) == ("keyword", "cat", "0132a06d")
    assert by_path["_silence_/3.wav"].kind == "noise"


def test_speech_commands_faults(gsc: Path) -> None:
    (gsc / "yes/empty_nohash_0.wav").touch()
    write_text(gsc / "yes/anna.m4a", "?")
    write_sound(gsc / "yes/recording.wav", 1700)
    write_sound(gsc / "hapy/0132a06d_nohash_0.wav", 1800)
    write_text(gsc / "yes/notes.txt", "mine")
    dataset = open_dataset(f"gsc:{gsc}")
    assert told(dataset.faults, "yes/empty_nohash_0.wav") == "an empty file"
    assert "convert it to WAV" in told(dataset.faults, "yes/anna.m4a")
    assert "no speaker in the name" in told(dataset.warnings, "yes/recording.wav")
    assert "did you mean 'happy'?" in told(dataset.warnings, str(gsc / "hapy"))
    assert dataset.left_out == {"not sound files": 1}
    declared = open_dataset(f"gsc:{gsc}?known=yes,bed,happy")
    assert told(declared.faults, "hapy") == "label 'hapy' is not known, did you mean 'happy'?"


def test_an_empty_class_is_an_error(gsc: Path) -> None:
    (gsc / "no").mkdir()
    with pytest.raises(DataError, match=r"gsc: .*/no: label 'no' has no usable recording"):
        open_dataset(f"gsc:{gsc}")


def test_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    for reader in ("gsc", "folders", "audacity"):
        with pytest.raises(DataError, match=f"{reader}: .*: no usable recording"):
            open_dataset(f"{reader}:{tmp_path}")


def esc50(folder: Path, *rows: str, header: str = ESC_HEADER) -> Path:
    """ESC-50's table and files."""
    write_text(folder / "meta/esc50.csv", header, *rows)
    for number, line in enumerate(rows):
        write_sound(folder / "audio" / line.split(",")[0], 300 + 40 * number)
    return folder


ESC_ROWS = (
    "1-1-A-0.wav,1,0,dog,True,1,A",
    "2-2-A-0.wav,2,0,dog,True,2,A",
    "4-3-A-0.wav,4,0,dog,True,3,A",
    "5-4-A-0.wav,5,0,dog,True,4,A",
    "4-5-A-41.wav,4,41,washing_machine,False,5,A",
)


def test_esc50_folds(tmp_path: Path) -> None:
    esc50(tmp_path, *ESC_ROWS)
    dataset = open_dataset(f"esc50:{tmp_path}")
    assert [clip.split for clip in dataset.clips] == ["train", "train", "dev", "test", "dev"]
    assert [clip.label for clip in dataset.clips] == ["dog_bark"] * 4 + ["washing_machine"]
    assert {clip.licence for clip in dataset.clips} == {"CC BY 3.0", "CC BY-NC 3.0"}
    other = open_dataset(f"esc50:{tmp_path}?dev=1,2&test=&esc10=yes&names=original")
    assert [(clip.split, clip.label) for clip in other.clips] == [
        ("dev", "dog"),
        ("dev", "dog"),
        ("train", "dog"),
        ("train", "dog"),
    ]
    assert other.left_out == {"not in ESC-10": 1}


def test_esc50_bad_rows_are_listed(tmp_path: Path) -> None:
    esc50(
        tmp_path,
        *ESC_ROWS,
        "1-6-A-0.wav,6,0,dog,True,6,A",
        "1-7-A-0.wav,1,0,dogg,True,7,A",
        "1-1-A-0.wav,1,0,dog,True,1,A",
        "1-8-A-0.wav,1,0,dog,True,8,A",
        "1-9-A-0.wav",
    )
    (tmp_path / "audio/1-8-A-0.wav").unlink()
    dataset = open_dataset(f"esc50:{tmp_path}")
    assert len(dataset.clips) == len(ESC_ROWS)
    reasons = [told(dataset.faults, f"meta/esc50.csv:{line}") for line in range(7, 12)]
    assert reasons[0] == "fold '6', legal values: 1, 2, 3, 4, 5"
    assert reasons[1] == "label 'dogg' is not known, did you mean 'dog'?"
    assert "listed twice" in reasons[2]
    assert reasons[3] == "audio/1-8-A-0.wav: no such file"
    assert "label '' is not known" in reasons[4]


def test_esc50_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"esc50\.csv: No such file"):
        open_dataset(f"esc50:{tmp_path}")
    esc50(tmp_path, *ESC_ROWS, header=ESC_HEADER.replace("fold,", "part,"))
    with pytest.raises(DataError, match=r"esc50\.csv:1: no column 'fold'; it must have filename, fold"):
        open_dataset(f"esc50:{tmp_path}")
    with pytest.raises(DataError, match="esc50: dev='6': legal values: 1, 2"):
        open_dataset(f"esc50:{tmp_path}?dev=6")
    with pytest.raises(DataError, match="fold 4 is in both splits"):
        open_dataset(f"esc50:{tmp_path}?test=4")


def test_esc50_recording_in_two_folds_is_an_error(tmp_path: Path) -> None:
    esc50(tmp_path, *ESC_ROWS, "4-1-B-0.wav,4,0,dog,True,1,B")
    with pytest.raises(
        DataError, match=r"1-1-A-0\.wav \(train\) and \S+4-1-B-0\.wav \(dev\): 1 is in both splits"
    ):
        open_dataset(f"esc50:{tmp_path}")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Two labels by speakers whose hashes give train and dev, and all special folders."""
    folder = tmp_path / "labels"
    for number, (label, speaker) in enumerate((w, s) for w in ("open up", "close") for s in ("anna", "emil")):
        write_sound(folder / label / f"{speaker}_1.wav", 300 + 50 * number)
    for number, place in enumerate(("_noise_", "speech", "rir", "_unknown_/tree", "unknown")):
        write_sound(folder / place / "anna_x.flac", 900 + 50 * number)
    return folder


def test_one_folder_a_label(labels: Path) -> None:
    dataset = open_dataset(f"folders:{labels}?kind=keyword&speaker=_&dev=10&licence=mine&name=own")
    found = {(c.path, c.kind, c.label, c.speaker, c.split) for c in dataset.clips}
    assert found == {
        ("open up/anna_1.wav", "keyword", "open_up", "anna", "train"),
        ("open up/emil_1.wav", "keyword", "open_up", "emil", "dev"),
        ("close/anna_1.wav", "keyword", "close", "anna", "train"),
        ("close/emil_1.wav", "keyword", "close", "emil", "dev"),
        ("_noise_/anna_x.flac", "noise", "", "", "train"),
        ("speech/anna_x.flac", "speech", "", "anna", "train"),
        ("rir/anna_x.flac", "rir", "", "", "train"),
        ("_unknown_/tree/anna_x.flac", "keyword", "tree", "anna", "train"),
        ("unknown/anna_x.flac", "keyword", "unknown", "anna", "train"),
    }
    assert {(clip.collection, clip.licence) for clip in dataset.clips} == {("own", "mine")}


def test_a_copy_elsewhere_with_more_beside_it_has_the_same_splits(labels: Path, tmp_path: Path) -> None:
    shutil.copytree(labels, tmp_path / "again")
    write_sound(tmp_path / "again/close/zoe_1.wav", 1500)
    before = splits(open_dataset(f"folders:{labels}?kind=keyword&dev=50"))
    after = splits(open_dataset(f"folders:{tmp_path / 'again'}?kind=keyword&dev=50"))
    assert len(set(before.values())) == 2
    assert {path: after[path] for path in before} == before


def test_folders_for_each_split(tmp_path: Path) -> None:
    write_sound(tmp_path / "train/yes/anna_1.wav", 400)
    write_sound(tmp_path / "validation/yes/emil_1.wav", 500)
    assert splits(open_dataset(f"folders:{tmp_path}")) == {
        "train/yes/anna_1.wav": "train",
        "validation/yes/emil_1.wav": "dev",
    }
    write_sound(tmp_path / "validation/yes/anna_2.wav", 600)
    with pytest.raises(DataError, match="anna is in both splits"):
        open_dataset(f"folders:{tmp_path}?speaker=_")


def test_folders_faults(labels: Path) -> None:
    write_sound(labels / "stray.wav", 1500)
    write_sound(labels / "close/nobody.wav", 1600)
    write_sound(labels / "clos\u00e9!/anna_1.wav", 1700)
    write_sound(labels / "clapsing/anna_1.wav", 1750)
    dataset = open_dataset(f"folders:{labels}?kind=event&speaker=_&known=open_up,close,clapping")
    assert told(dataset.faults, "stray.wav") == "lies in no label's folder"
    assert "no '_' in the name" in told(dataset.faults, "close/nobody.wav")
    assert "must be 1 to 64 letters" in told(dataset.faults, "clos\u00e9!")
    assert "did you mean 'clapping'?" in told(dataset.faults, "clapsing")


def test_a_label_that_nobody_knows_needs_its_kind(labels: Path) -> None:
    why = r"label 'close' is neither a keyword nor .* \(say which it is with \?kind=keyword or \?kind=event\)"
    shutil.rmtree(labels / "unknown")
    shutil.rmtree(labels / "_unknown_")
    with pytest.raises(DataError, match=rf"folders: .*: no usable label \(close: {why}; 2 faults in all\)"):
        open_dataset(f"folders:{labels}")
    write_sound(labels / "yes/anna_1.wav", 1900)
    dataset = open_dataset(f"folders:{labels}")
    assert re.match(why, told(dataset.faults, "close"))
    assert {clip.label for clip in dataset.clips} == {"yes", ""}


def test_a_label_with_nothing_to_judge_it_by_is_warned_of(labels: Path) -> None:
    dataset = open_dataset(f"folders:{labels}?kind=keyword&speaker=_&dev=10")
    assert told(dataset.warnings, "tree") == "none of its 1 recordings is in the dev split"


def test_one_file_in_two_splits_of_two_data_sets_is_an_error(labels: Path) -> None:
    spec = f"folders:{labels}?kind=keyword"
    with pytest.raises(
        DataError, match=r"anna_x.flac \(train\) and \S+anna_x.flac \(dev\): one recording is in both"
    ):
        open_datasets([f"{spec}&split=train", f"{spec}&split=dev"])


def test_speakers_of_all_speech_commands_are_the_same_people(gsc: Path, tmp_path: Path) -> None:
    shutil.copytree(gsc, tmp_path / "other")
    open_datasets([f"gsc:{gsc}", f"gsc:{tmp_path / 'other'}?name=gsc1"])
    with pytest.raises(DataError, match=r"a69b9b3e is in both splits|bb05582b is in both splits"):
        open_datasets([f"gsc:{gsc}", f"gsc:{tmp_path / 'other'}?split=train&name=gsc1"])

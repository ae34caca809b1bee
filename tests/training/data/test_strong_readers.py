"""Many labels in one recording: tables and label tracks, their variants and their faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recordings import told, write_sound, write_text
from training.data.dataset import DataError
from training.data.spec import open_dataset


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Two recordings."""
    for number, name in enumerate(("rec1", "rec2")):
        write_sound(tmp_path / f"{name}.wav", 400 + 100 * number, length_s=1.0)
    return tmp_path


HEADERS = [
    "filename\tonset\toffset\tevent_label",
    "filename,onset,offset,event_label",
    "Filename;Start Time;End Time;Label",
    "event_label\toffset\tonset\tfile",
    "",
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_table_in_its_variants(scenes: Path, header: str) -> None:
    sign = next((sign for sign in "\t;," if sign in header), "\t")
    rows = [
        ("rec1.wav", "0.1", "0.3", "Dog bark"),
        ("rec1.wav", "0.2", "0.9", "rain"),
        ("rec2.wav", "", "", ""),
    ]
    if header.startswith("event_label"):
        rows = [row[::-1] for row in rows]
    lines = [line for line in (header, *(sign.join(row) for row in rows)) if line]
    write_text(scenes / "labels.tsv", *lines)
    dataset = open_dataset(f"strong:{scenes}?dev=10")
    assert dataset.faults == []
    first, second = dataset.clips
    assert first.marks == (("dog_bark", 0.1, 0.3), ("rain", 0.2, 0.9))
    assert (first.kind, first.label, first.split) == ("event", "", "train")
    assert (second.kind, second.marks, second.split) == ("noise", (), "dev")


def test_a_column_may_name_the_split(scenes: Path) -> None:
    header = "filename\tonset\toffset\tevent_label\tsplit"
    write_text(scenes / "l.tsv", header, "rec1.wav\t0\t1\train\tvalidation", "rec2.wav\t0\t1\train\ttrain")
    assert [clip.split for clip in open_dataset(f"strong:{scenes}").clips] == ["dev", "train"]
    write_text(scenes / "l.tsv", header, "rec1.wav\t0\t1\train\tdev", "rec1.wav\t1\t2\train\ttrain")
    with pytest.raises(DataError, match=r"rec1.wav is in both splits, dev \(l.tsv:2\) and train \(l.tsv:3\)"):
        open_dataset(f"strong:{scenes}")


def test_bad_lines_are_listed_and_their_labels_not_scored(scenes: Path) -> None:
    write_text(
        scenes / "labels.tsv",
        HEADERS[0],
        "rec1.wav\t0.1\t0.3\tdog_bark",
        "rec1.wav\t0.9\t0.5\train",
        "rec1.wav\tsoon\t0.5\tcough",
        "rec1.wav\t-1\t0.5\tsneeze",
        "rec1.wav\t0.1\t0.3\tdog_bark",
        "gone.wav\t0.1\t0.3\tdog_bark",
        "rec2.wav\t0.1\t0.3\tdog_brak",
        "rec2.wav\t0.1\t0.3\t",
        "\t0.1\t0.3\train",
        "rec2.wav\t0.1",
        *(f"rec3.wav\t0.1\t0.3\t{label}" for label in ("rain", "cough", "sneeze")),
    )
    write_sound(scenes / "rec3.wav", 700)
    dataset = open_dataset(f"strong:{scenes}?known=dog_bark,rain,cough,sneeze")
    reasons = {line: told(dataset.faults, f"labels.tsv:{line}") for line in range(3, 12)}
    assert reasons[3] == "rec1.wav: ends at 0.5 s, before it starts at 0.9 s"
    assert reasons[4] == "rec1.wav: onset 'soon' is not a number of seconds"
    assert "'-1' is not a number of seconds from 0 on" in reasons[5]
    assert "the same mark twice" in reasons[6]
    assert reasons[7] == "gone.wav: no such file"
    assert reasons[8] == "rec2.wav: label 'dog_brak' is not known, did you mean 'dog_bark'?"
    assert "must be 1 to 64 letters" in reasons[9]
    assert reasons[10] == "no file named"
    assert "must be 1 to 64 letters" in reasons[11]
    first, second, _ = dataset.clips
    assert set(first.unsure) == {"rain", "cough", "sneeze"}
    assert (second.kind, second.unsure) == ("noise", ("dog_bark",))


def test_a_slip_that_nobody_forbade_is_used_and_warned_of(scenes: Path) -> None:
    write_text(scenes / "labels.tsv", HEADERS[0], "rec1.wav\t0.1\t0.3\tdog_brak")
    dataset = open_dataset(f"strong:{scenes}?kind=event")
    assert any("did you mean 'dog_bark'?" in reason for _, reason in dataset.warnings)
    assert dataset.clips[0].marks == (("dog_brak", 0.1, 0.3),)


def test_a_label_of_no_known_kind_is_a_fault_of_its_line(scenes: Path) -> None:
    lines = (HEADERS[0], "rec1.wav\t0.1\t0.3\tdog_brak", "rec2.wav\t0.1\t0.3\train")
    write_text(scenes / "l.tsv", *lines[:2])
    with pytest.raises(DataError, match=r"no usable label \(l.tsv:2: rec1.wav: label 'dog_brak' is neither"):
        open_dataset(f"strong:{scenes}")
    write_text(scenes / "l.tsv", *lines)
    dataset = open_dataset(f"strong:{scenes}")
    assert "did you mean 'dog_bark'? (say which" in told(dataset.faults, "l.tsv:2")
    assert [clip.unsure for clip in dataset.clips] == [("dog_bark",), ()]


def test_a_label_whose_every_line_is_bad_is_an_error(scenes: Path) -> None:
    write_text(scenes / "l.tsv", HEADERS[0], "rec1.wav\t0.1\t0.3\tdog_bark", "rec1.wav\t0.9\t0.5\train")
    with pytest.raises(DataError, match=r"l.tsv:3: label 'rain' has no usable recording .*before it starts"):
        open_dataset(f"strong:{scenes}")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "an empty table"),
        (
            ["filename\tevent_labels", "rec1.wav\train"],
            "l.tsv:1: no column for the onset; legal names: onset",
        ),
        (
            ["file\tonset\toffset\twhat", "rec1.wav\t0\t1\train"],
            "no column for the label; legal names: event_label",
        ),
    ],
)
def test_a_bad_table_is_an_error(scenes: Path, lines: list[str], message: str) -> None:
    write_text(scenes / "l.tsv", *lines)
    with pytest.raises(DataError, match=message):
        open_dataset(f"strong:{scenes}")


def test_the_table_must_be_clear(scenes: Path) -> None:
    with pytest.raises(DataError, match=r"which table\? There is none; name it with"):
        open_dataset(f"strong:{scenes}")
    for name in ("a.tsv", "b.tsv"):
        write_text(scenes / name, HEADERS[0], "rec1.wav\t0\t1\train")
    with pytest.raises(DataError, match=r"which table\? There is a.tsv, b.tsv"):
        open_dataset(f"strong:{scenes}")
    assert len(open_dataset(f"strong:{scenes}?labels=b.tsv").clips) == 1
    with pytest.raises(DataError, match=r"c.tsv: No such file"):
        open_dataset(f"strong:{scenes}?labels=c.tsv")


def test_recordings_may_lie_in_another_folder(tmp_path: Path) -> None:
    write_sound(tmp_path / "audio/a.wav")
    write_text(tmp_path / "meta/l.tsv", HEADERS[0], "a.wav\t0.1\t0.3\train")
    dataset = open_dataset(f"strong:{tmp_path}?labels=meta/l.tsv&audio=audio")
    assert dataset.clips[0].path == "audio/a.wav"


def test_label_tracks(scenes: Path) -> None:
    write_text(
        scenes / "rec1.txt",
        "0.100000\t0.300000\tdog_bark",
        "\\\t200.000000\t4000.000000",
        "0,5\t0,5\tcough",
        "",
    )
    write_text(scenes / "rec2.txt")
    dataset = open_dataset(f"audacity:{scenes}")
    assert dataset.faults == []
    assert dataset.left_out == {}
    assert [clip.marks for clip in dataset.clips] == [(("dog_bark", 0.1, 0.3), ("cough", 0.5, 0.5)), ()]
    assert dataset.clips[1].kind == "noise"


def test_label_track_faults(scenes: Path) -> None:
    write_text(
        scenes / "rec1.txt",
        "0.1\t0.3\tdog_bark",
        "0.1 0.3 rain",
        "0.5\t0.6\t",
        "0.9\t0.5\train",
        "0\t0.1\train",
    )
    write_text(scenes / "other.txt", "0.1\t0.3\tdog_bark")
    dataset = open_dataset(f"audacity:{scenes}")
    assert told(dataset.faults, "rec1.txt:2") == "not start TAB end TAB label"
    assert told(dataset.faults, "rec1.txt:3") == "a label without text"
    assert "before it starts" in told(dataset.faults, "rec1.txt:4")
    assert told(dataset.faults, "other.txt") == "no recording of this name beside it"
    assert "no label track rec2.txt" in told(dataset.faults, "rec2.wav")
    assert dataset.clips[0].unsure == ("rain",)
    assert len(open_dataset(f"audacity:{scenes}?unlabelled=noise").clips) == 2


def test_a_label_track_that_is_not_text_is_listed(scenes: Path) -> None:
    (scenes / "rec1.txt").write_bytes(b"\xff\xfe\x00")
    write_text(scenes / "rec2.txt", "0.1\t0.3\tdog_bark")
    dataset = open_dataset(f"audacity:{scenes}")
    assert "not a label track in UTF-8" in told(dataset.faults, "rec1.txt")
    assert [clip.path for clip in dataset.clips] == ["rec2.wav"]

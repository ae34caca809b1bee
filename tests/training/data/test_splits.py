"""Splits go by names alone: the same on every machine, whatever lies beside a recording."""

from __future__ import annotations

import pytest

from training.data.dataset import DataError
from training.data.splits import check_percent, gsc_split, hashed_split, speaker_of, split_name


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("a69b9b3e_nohash_0.wav", "dev"),  # in the original validation_list.txt
        ("bb05582b_nohash_3.wav", "test"),
        ("0c40e715_nohash_0.wav", "test"),
        ("0a2b400e_nohash_0.wav", "train"),
        ("white_noise.wav", "train"),
    ],
)
def test_the_speech_commands_rule_is_the_original_one(file: str, split: str) -> None:
    assert gsc_split(file) == split
    assert gsc_split(file.replace("_0.", "_4.")) == split


def test_hashed_splits_are_fixed_for_ever() -> None:
    names = ("anna", "emil", "rec1", "rec2", "rec5", "rec8")
    assert [hashed_split(name, 10, 20) for name in names] == ["train", "dev", "train", "dev", "dev", "test"]


def test_hashed_splits_do_not_depend_on_how_a_name_is_composed() -> None:
    assert hashed_split("Ren\u00e9e", 50, 0) == hashed_split("Rene\u0301e", 50, 0)


def test_hashed_splits_have_their_shares() -> None:
    splits = [hashed_split(f"r{number}", 20, 10) for number in range(5000)]
    assert splits.count("dev") == pytest.approx(1000, abs=120)
    assert splits.count("test") == pytest.approx(500, abs=90)


def test_speakers_come_from_names_or_folders() -> None:
    assert speaker_of("yes/anna_03.wav", "_") == "anna"
    assert speaker_of("yes/anna/03.wav", "folder") == "anna"
    with pytest.raises(ValueError, match="no '-' in the name"):
        speaker_of("yes/anna_03.wav", "-")


def test_splits_have_many_names() -> None:
    assert [split_name(name) for name in ("Training", "validation", "eval")] == ["train", "dev", "test"]
    with pytest.raises(ValueError, match="split 'tset', legal values: train, dev, test"):
        split_name("tset")


@pytest.mark.parametrize(("dev", "test"), [(60, 40), (0, 100)])
def test_something_must_be_left_to_train_on(dev: float, test: float) -> None:
    with pytest.raises(DataError, match=r"gsc: dev=.* together below 100"):
        check_percent("gsc", dev, test)

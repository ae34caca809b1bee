"""Google Speech Commands: a folder for each word, background noise, split by speaker's hash or lists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.data.dataset import Clip, DataError, Dataset
from training.data.names import (
    check_folder,
    check_known,
    label_name,
    relative,
    sound_files,
    warn_of_slips,
)
from training.data.options import KNOWN_OPTION, Option, Reader
from training.data.splits import check_percent, gsc_split
from training.labels import LabelSet

NOISE_FOLDERS = ("_background_noise_", "_silence_")
UNKNOWN_FOLDER = "_unknown_"
LISTS = {"validation_list.txt": "dev", "testing_list.txt": "test"}
LICENCE = "CC BY 4.0"
# fmt: off
WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go",
    "happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven",
    "sheila", "six", "stop", "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)
# fmt: on
FILE_NAME = re.compile(r"^(?:(?P<word>[a-z]+)_)?(?P<speaker>[0-9a-z]+)_nohash_\d+\.\w+$", re.IGNORECASE)

Lists = dict[str, str]
"""Path: split."""


def read(folder: Path, options: Mapping[str, Any], labels: LabelSet) -> Dataset:
    """All words and noise of the folder."""
    check_folder("gsc", folder)
    check_percent("gsc", options["dev"], options["test"])
    dataset = Dataset(folder, "gsc")
    lists = _lists(dataset, options["split"])
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for path in sound_files(dataset, place) if _is_wanted(dataset, place, options["known"]) else ():
            _take(dataset, path, place.name, options, lists)
    warn_of_slips(dataset, labels, WORDS)
    return dataset.finish()


def _is_wanted(dataset: Dataset, place: Path, known: tuple[str, ...]) -> bool:
    if place.name in (*NOISE_FOLDERS, UNKNOWN_FOLDER):
        return True
    try:
        label = label_name(place.name)
        check_known(label, known)
    except ValueError as error:
        dataset.refuse_label(place.name, str(error))
        return False
    dataset.named.setdefault(label, str(place))
    return True


def _take(dataset: Dataset, path: Path, place: str, options: Mapping[str, Any], lists: Lists | None) -> None:
    name, where = FILE_NAME.match(path.name), relative(dataset, path)
    is_noise = place in NOISE_FOLDERS
    if place == UNKNOWN_FOLDER:
        # The test set's file names may tell which word it is; either way it is none of the keywords.
        label = label_name(name["word"]) if name and name["word"] else "unknown"
        dataset.others.add(label)
    else:
        label = "" if is_noise else label_name(place)
    if not name and not is_noise:
        why = "no speaker in the name (SPEAKER_nohash_N.wav): taken for a speaker of its own"
        dataset.warnings.append((where, why))
    dataset.add(
        Clip(
            path=where,
            kind="noise" if is_noise else "keyword",
            label=label,
            start_s=None,
            end_s=None,
            speaker="" if is_noise else (name["speaker"].lower() if name else path.stem),
            split=_split(name["speaker"] + "_nohash_" if name else path.name, where, options, lists),
            collection=options["name"],
            licence=LICENCE,
        )
    )


def _split(hashed: str, where: str, options: Mapping[str, Any], lists: Lists | None) -> str:
    if options["split"] in ("train", "dev", "test"):
        return str(options["split"])
    if lists is None or where.startswith(NOISE_FOLDERS):
        return gsc_split(hashed, options["dev"], options["test"])
    return lists.get(where, "train")


def _lists(dataset: Dataset, split: str) -> Lists | None:
    """What the lists say; None: go by the hash."""
    there = [name for name in LISTS if (dataset.folder / name).is_file()]
    if split not in ("auto", "lists") or (split == "auto" and not there):
        return None
    if len(there) < len(LISTS):
        missing = next(name for name in LISTS if name not in there)
        raise DataError(f"gsc: {dataset.folder / missing}: no such file", "put it there, or give ?split=hash")
    splits: Lists = {}
    for name in LISTS:
        _read_list(dataset, name, splits)
    return splits


def _read_list(dataset: Dataset, name: str, splits: Lists) -> None:
    try:
        lines = (dataset.folder / name).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"gsc: {dataset.folder / name}: {error}") from error
    for number, line in enumerate(lines, start=1):
        path = line.strip().replace("\\", "/")
        if not path:
            continue
        if splits.setdefault(path, LISTS[name]) != LISTS[name]:
            raise DataError(f"gsc: {dataset.folder / name}:{number}: {path} is in both splits, dev and test")
        if not (dataset.folder / path).is_file():
            dataset.refuse(f"{name}:{number}", f"{path}: no such file")


READER = Reader(
    name="gsc",
    about="Google Speech Commands and anything laid out like it",
    layout="WORD/SPEAKER_nohash_N.wav, _background_noise_/*.wav, validation_list.txt, testing_list.txt",
    options=(
        Option(
            "split",
            "auto",
            "by the lists where there are any, else by hash; or all into one",
            ("auto", "lists", "hash", "train", "dev", "test"),
        ),
        Option("dev", 10.0, "percent of speakers for the dev split, by hash"),
        Option("test", 10.0, "percent of speakers for the test split, by hash"),
        Option("name", "gsc", "the collection; those that begin with gsc have their speakers in common"),
        KNOWN_OPTION,
    ),
    read=read,
)

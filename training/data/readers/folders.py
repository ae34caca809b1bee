"""One folder for each label, and folders for noise, speech and rooms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.data import options as o
from training.data.dataset import Clip, Dataset
from training.data.names import (
    check_folder,
    check_known,
    kind_of,
    label_name,
    relative,
    sound_files,
    warn_of_slips,
)
from training.data.options import Reader
from training.data.splits import SPLIT_NAMES, check_percent, hashed_split, speaker_of
from training.labels import LabelSet

SPECIAL = {
    **dict.fromkeys(("noise", "background", "background_noise", "silence"), "noise"),
    "speech": "speech",
    "rir": "rir",
    "unknown": "keyword",
}
"""Folder, without the underscores around it: kind. Its clips have no label; in `unknown` they have the name
of the word's own folder, if there is one."""


def read(folder: Path, options: Mapping[str, Any], labels: LabelSet) -> Dataset:
    """Every sound file of every label's folder."""
    check_folder("folders", folder)
    check_percent("folders", options["dev"], options["test"])
    dataset = Dataset(folder, "folders")
    for top, split in _tops(folder, options["split"]):
        for path in sound_files(dataset, top, deep=False):
            dataset.refuse(relative(dataset, path), "lies in no label's folder")
        for place in _folders(top):
            _read_place(dataset, place, split, options, labels)
    warn_of_slips(dataset, labels)
    return dataset.finish()


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _tops(folder: Path, split: str) -> Iterator[tuple[Path, str]]:
    """Where labels' folders lie, and the split there: one place, or a folder for each split."""
    inside = _folders(folder)
    if inside and all(path.name.lower() in SPLIT_NAMES for path in inside):
        for path in inside:
            yield path, SPLIT_NAMES[path.name.lower()] if split == "auto" else split
    else:
        yield folder, split


def _read_place(
    dataset: Dataset, place: Path, split: str, options: Mapping[str, Any], labels: LabelSet
) -> None:
    special = SPECIAL.get(place.name.strip("_").lower(), "")
    kind, label = special, ""
    if not special:
        try:
            label = label_name(place.name)
            check_known(label, options["known"])
            kind = kind_of(label, options["kind"], labels)
        except ValueError as error:
            dataset.refuse_label(relative(dataset, place), str(error))
            return
        dataset.named.setdefault(label, str(place))
    for path in sound_files(dataset, place):
        try:
            word = label or _word(path, place, special)
            if special:
                dataset.others.add(word)
            _take(dataset, path, (kind, word), split, options)
        except ValueError as error:
            dataset.refuse(relative(dataset, path), str(error))


def _word(path: Path, place: Path, special: str) -> str:
    if special != "keyword":
        return ""
    inner = path.relative_to(place).parts
    return label_name(inner[0]) if len(inner) > 1 else "unknown"


def _take(
    dataset: Dataset, path: Path, what: tuple[str, str], split: str, options: Mapping[str, Any]
) -> None:
    kind, label = what
    by_person = options["speaker"] and kind not in ("noise", "rir")
    speaker = speaker_of(relative(dataset, path), options["speaker"]) if by_person else ""
    if split == "auto":
        split = hashed_split(speaker or path.stem, options["dev"], options["test"])
    dataset.add(
        Clip(
            path=relative(dataset, path),
            kind=kind,
            label=label,
            start_s=None,
            end_s=None,
            speaker=speaker,
            split="train" if kind == "rir" else split,
            collection=options["name"] or dataset.folder.resolve().name,
            licence=options["licence"],
        )
    )


READER = Reader(
    name="folders",
    about="your own recordings, a folder for each label",
    layout="LABEL/*.wav, noise/*.wav, speech/*.wav, unknown/*.wav, rir/*.wav; or these below train/ and dev/",
    options=o.OWN_DATA_OPTIONS,
    read=read,
)

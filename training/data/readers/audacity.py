"""Audacity label tracks: beside each recording a text of the same name, "start TAB end TAB label" a line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.data import options as o
from training.data.dataset import Dataset
from training.data.marked import MarkedReader
from training.data.names import SOUND_SUFFIXES, check_folder, relative, sound_files, warn_of_slips
from training.data.options import Option, Reader
from training.data.splits import check_percent
from training.labels import LabelSet

FREQUENCIES = "\\"
"""Begins the line that a spectral selection adds: frequencies in Hz. Only a label's time is used."""


def read(folder: Path, options: Mapping[str, Any], labels: LabelSet) -> Dataset:
    """All recordings that have a label track."""
    check_folder("audacity", folder)
    check_percent("audacity", options["dev"], options["test"])
    dataset = Dataset(folder, "audacity")
    marked = MarkedReader(dataset, options, labels)
    for path in sound_files(dataset, folder):
        _take(dataset, marked, path, options["unlabelled"])
    for track in sorted(folder.rglob("*.txt")):
        _check_has_sound(dataset, track)
    dataset.left_out.pop("not sound files", None)  # the label tracks
    marked.finish()
    warn_of_slips(dataset, labels)
    return dataset.finish()


def _take(dataset: Dataset, marked: MarkedReader, sound: Path, unlabelled: str) -> None:
    track, where = sound.with_suffix(".txt"), relative(dataset, sound)
    if not track.is_file():
        if unlabelled == "noise":
            marked.recording(where, where)
        else:
            why = f"no label track {track.name} beside it; ?unlabelled=noise if nothing is heard there"
            dataset.refuse(where, why)
        return
    try:
        lines = track.read_text(encoding="utf-8-sig").splitlines()
        marked.recording(where, where)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        dataset.refuse(relative(dataset, track), f"not a label track in UTF-8: {error}")
        return
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith(FREQUENCIES):
            _mark(dataset, marked, f"{relative(dataset, track)}:{number}", (where, line))


def _mark(dataset: Dataset, marked: MarkedReader, line_at: str, what: tuple[str, str]) -> None:
    path, line = what
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) < 2:
        dataset.refuse(line_at, "not start TAB end TAB label")
    elif len(cells) == 2 or not cells[2]:
        dataset.refuse(line_at, "a label without text")
    else:
        marked.mark(line_at, path, cells[2], cells[0], cells[1])


def _check_has_sound(dataset: Dataset, track: Path) -> None:
    beside = {path.suffix.lower() for path in track.parent.glob(f"{_literal(track.stem)}.*")}
    if not beside & SOUND_SUFFIXES:
        dataset.refuse(relative(dataset, track), "no recording of this name beside it")


def _literal(text: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)


READER = Reader(
    name="audacity",
    about="recordings with Audacity label tracks beside them",
    layout="REC.wav with REC.txt (File > Export Other > Export Labels), in any folders",
    options=(
        Option("unlabelled", "fault", "recordings without a track: a fault, or noise", ("fault", "noise")),
        *o.OWN_DATA_OPTIONS,
    ),
    read=read,
)

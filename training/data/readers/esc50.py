"""ESC-50: five-second clips of fifty sounds, in five folds that keep each original recording together."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.data.dataset import Clip, DataError, Dataset
from training.data.names import check_folder, check_known, unusable
from training.data.options import Option, Reader, folds
from training.labels import LabelSet

TABLE = "meta/esc50.csv"
COLUMNS = ("filename", "fold", "category", "esc10", "src_file")
FOLDS = ("1", "2", "3", "4", "5")
# fmt: off
CATEGORIES = (
    "airplane", "breathing", "brushing_teeth", "can_opening", "car_horn", "cat", "chainsaw",
    "chirping_birds", "church_bells", "clapping", "clock_alarm", "clock_tick", "coughing", "cow",
    "crackling_fire", "crickets", "crow", "crying_baby", "dog", "door_wood_creaks", "door_wood_knock",
    "drinking_sipping", "engine", "fireworks", "footsteps", "frog", "glass_breaking", "hand_saw",
    "helicopter", "hen", "insects", "keyboard_typing", "laughing", "mouse_click", "pig", "pouring_water",
    "rain", "rooster", "sea_waves", "sheep", "siren", "sneezing", "snoring", "thunderstorm",
    "toilet_flush", "train", "vacuum_cleaner", "washing_machine", "water_drops", "wind",
)
# fmt: on
OUR_NAMES = {
    "cat": "cat_meow",
    "clock_alarm": "alarm_clock",
    "coughing": "cough",
    "crackling_fire": "fire_crackling",
    "crying_baby": "baby_cry",
    "dog": "dog_bark",
    "door_wood_knock": "knock",
    "glass_breaking": "glass_break",
    "keyboard_typing": "keyboard",
    "laughing": "laughter",
    "sneezing": "sneeze",
}
"""Their name: the one that the labels of this package have."""


def read(folder: Path, options: Mapping[str, Any], labels: LabelSet) -> Dataset:
    """The clips that meta/esc50.csv lists."""
    check_folder("esc50", folder)
    dev, test = (folds(f"esc50: {name}", options[name], FOLDS) for name in ("dev", "test"))
    if dev & test:
        raise DataError(f"esc50: fold {min(dev & test)} is in both splits, dev and test")
    dataset = Dataset(folder, "esc50")
    for number, row in enumerate(_rows(folder / TABLE), start=2):
        try:
            _take(dataset, number, row, options, {**dict.fromkeys(dev, "dev"), **dict.fromkeys(test, "test")})
        except ValueError as error:
            dataset.refuse(f"{TABLE}:{number}", str(error))
    return dataset.finish()


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, restval="")
            rows, columns = list(table), list(table.fieldnames or ())
    except OSError as error:
        raise DataError(f"esc50: {path}: {error.strerror}", "give the folder that holds meta/") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"esc50: {path}: not a table in UTF-8: {error}") from error
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise DataError(f"esc50: {path}:1: no column {missing[0]!r}", f"it must have {', '.join(COLUMNS)}")
    return rows


def _take(
    dataset: Dataset, number: int, row: dict[str, str], options: Mapping[str, Any], splits: Mapping[str, str]
) -> None:
    category = row["category"].strip()
    check_known(category, CATEGORIES)
    if row["fold"] not in FOLDS:
        raise ValueError(f"fold {row['fold']!r}, legal values: {', '.join(FOLDS)}")
    is_esc10 = row["esc10"].strip().lower() in ("true", "1")
    if options["esc10"] and not is_esc10:
        dataset.leave_out("not in ESC-10")
        return
    label = OUR_NAMES.get(category, category) if options["names"] == "ours" else category
    dataset.named.setdefault(label, f"{dataset.folder / TABLE}:{number}")
    path = f"audio/{row['filename']}"
    if why := unusable(dataset.folder / path) if row["filename"] else "no filename":
        raise ValueError(f"{path}: {why}")
    clip = Clip(
        path=path,
        kind="event",
        label=label,
        start_s=None,
        end_s=None,
        speaker=row["src_file"].strip(),
        split=splits.get(row["fold"], "train"),
        collection="esc50",
        licence="CC BY 3.0" if is_esc10 else "CC BY-NC 3.0",
    )
    dataset.add(clip, f"{TABLE}:{number}")


READER = Reader(
    name="esc50",
    about="ESC-50 and its part ESC-10",
    layout="meta/esc50.csv, audio/*.wav",
    options=(
        Option("dev", ("4",), "folds of the dev split, comma-separated"),
        Option("test", ("5",), "folds of the test split; none: ?test="),
        Option("esc10", False, "only the ten sounds of ESC-10, whose licence allows commercial use"),
        Option("names", "ours", "ours: dog_bark ...; original: dog ...", ("ours", "original")),
    ),
    read=read,
)

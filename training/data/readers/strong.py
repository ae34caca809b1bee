"""Strong labels in a table: which file, from when to when, what (DCASE's TSV and its relatives)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.data import options as o
from training.data.dataset import DataError, Dataset
from training.data.marked import MarkedReader
from training.data.names import check_folder, warn_of_slips
from training.data.options import Option, Reader
from training.data.splits import check_percent, split_name
from training.labels import LabelSet

HEADERS = {
    "file": ("filename", "file", "file_name", "audio_filename", "audio_file", "path", "wav"),
    "onset": ("onset", "onset_s", "start", "start_s", "start_time", "onset_time", "begin"),
    "offset": ("offset", "offset_s", "end", "end_s", "end_time", "offset_time", "stop"),
    "label": ("event_label", "label", "event", "event_labels", "class", "sound"),
    "split": ("split", "subset", "set"),
}
NEEDED = ("file", "onset", "offset", "label")

Columns = dict[str, int]


def read(folder: Path, options: Mapping[str, Any], labels: LabelSet) -> Dataset:
    """All recordings that the table lists, with their marks."""
    check_folder("strong", folder)
    check_percent("strong", options["dev"], options["test"])
    table = _table(folder, options["labels"])
    dataset = Dataset(folder, "strong")
    marked = MarkedReader(dataset, options, labels)
    lines = _lines(table)
    if not lines:
        raise DataError(f"strong: {table}: an empty table")
    columns, first = _columns(table, lines)
    for number, cells in lines[first:]:
        _take(marked, f"{table.name}:{number}", cells, columns, options)
    marked.finish()
    warn_of_slips(dataset, labels)
    return dataset.finish()


def _table(folder: Path, given: str) -> Path:
    if given:
        return folder / given
    tables = sorted([*folder.glob("*.tsv"), *folder.glob("*.csv")])
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        raise DataError(f"strong: {folder}: which table? There is {names}", "name it with ?labels=FILE.tsv")
    return tables[0]


def _lines(table: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not blank or a comment."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"strong: {table}: {error.strerror}", "name it with ?labels=FILE.tsv") from error
    except UnicodeDecodeError as error:
        raise DataError(f"strong: {table}: not a table in UTF-8: {error}") from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines = [(number, line) for number, line in lines if not line.startswith("#")]
    separator = next((sign for sign in "\t;," if lines and sign in lines[0][1]), "\t")
    return [(number, [cell.strip() for cell in line.split(separator)]) for number, line in lines]


def _columns(table: Path, lines: list[tuple[int, list[str]]]) -> tuple[Columns, int]:
    """Which column is what, and the first line that is data."""
    number, cells = lines[0]
    if len(cells) >= len(NEEDED) and _is_number(cells[1]) and _is_number(cells[2]):
        return dict(zip(NEEDED, range(len(NEEDED)), strict=True)), 0
    names = [cell.lower().replace(" ", "_") for cell in cells]
    columns = {
        column: names.index(name)
        for column, legal in HEADERS.items()
        for name in legal[::-1]
        if name in names
    }
    missing = [column for column in NEEDED if column not in columns]
    if missing:
        raise DataError(
            f"strong: {table}:{number}: no column for the {missing[0]}",
            f"legal names: {', '.join(HEADERS[missing[0]])}; without a header: file, onset, offset, label",
        )
    return columns, 1


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _take(
    marked: MarkedReader, where: str, cells: list[str], columns: Columns, options: Mapping[str, Any]
) -> None:
    try:
        row = {column: cells[at] if at < len(cells) else "" for column, at in columns.items()}
        if not row["file"]:
            raise ValueError("no file named")
        path = f"{options['audio']}/{row['file']}" if options["audio"] else row["file"]
        split = split_name(row["split"]) if row.get("split") and options["split"] == "auto" else ""
        path = marked.recording(where, path, split)
    except ValueError as error:
        marked.dataset.refuse(where, str(error))
        return
    if any(row[column] for column in ("onset", "offset", "label")):  # else listed as holding no event
        marked.mark(where, path, row["label"], row["onset"], row["offset"])


READER = Reader(
    name="strong",
    about="recordings with many labels each, times in a table (DCASE)",
    layout="a .tsv with filename, onset, offset, event_label (seconds), and the files",
    options=(
        Option("labels", "", "the table (default: the only .tsv or .csv there)"),
        Option("audio", "", "folder of the recordings, below the folder given"),
        *o.OWN_DATA_OPTIONS,
    ),
    read=read,
)

"""Data sets by a text: READER:FOLDER?option=value&option=value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.data.dataset import DataError, Dataset, check_leak
from training.data.names import did_you_mean
from training.data.options import Reader
from training.data.pack import COLUMNS, MANIFEST, read_pack
from training.data.readers import audacity, esc50, folders, gsc, strong
from training.label_files import known_labels
from training.labels import LabelSet


def _read_pack(folder: Path, options: Mapping[str, Any], labels: LabelSet) -> Dataset:
    return read_pack(folder)


PACK = Reader(
    name="pack",
    about="recordings that a manifest lists",
    layout=f"{MANIFEST} with {', '.join(COLUMNS)}",
    options=(),
    read=_read_pack,
)
READERS = {
    reader.name: reader
    for reader in (PACK, gsc.READER, esc50.READER, folders.READER, strong.READER, audacity.READER)
}


def open_dataset(spec: str, labels: LabelSet | None = None) -> Dataset:
    """Read one data set; a folder alone is a pack if it has a manifest.

    What is a keyword and what a sound is as these labels have it, and then as the default model does.
    """
    name, colon, rest = spec.partition(":")
    if not colon or name not in READERS:
        if (Path(spec).expanduser() / MANIFEST).is_file():
            return read_pack(Path(spec).expanduser())
        guess = _guess(Path(spec).expanduser()) if not colon else ""
        hint = f"this looks like {guess}:{spec}" if guess else "give READER:FOLDER?option=value"
        which = f"no reader {name!r}{did_you_mean(name, READERS)}" if colon else "no reader given"
        raise DataError(f"{spec!r}: {which}", f"{hint}; readers: {', '.join(READERS)}")
    folder, _, text = rest.partition("?")
    if not folder:
        raise DataError(f"{spec!r}: no folder after {name}:", f"{name}:FOLDER")
    reader = READERS[name]
    options = reader.parse(text)
    known = labels.beside(known_labels()) if labels else known_labels()
    return reader.read(Path(folder).expanduser(), options, known)


def open_datasets(specs: Sequence[str], labels: LabelSet | None = None) -> list[Dataset]:
    """Read several; a speaker of the same collection in two splits is an error across them too."""
    datasets = [open_dataset(spec, labels) for spec in specs]
    check_leak(datasets)
    return datasets


def _guess(folder: Path) -> str:
    """Which layout a folder seems to have."""
    if (folder / esc50.TABLE).is_file():
        return "esc50"
    if (folder / "_background_noise_").is_dir() or any((folder / name).is_file() for name in gsc.LISTS):
        return "gsc"
    if next(folder.glob("*.tsv"), None):
        return "strong"
    if folder.is_dir() and next(folder.glob("*.txt"), None):
        return "audacity"
    return "folders" if folder.is_dir() and any(path.is_dir() for path in folder.iterdir()) else ""

"""Names of labels and files: one spelling, did-you-mean, and which files are sound."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

from streamer.names import NAME_PATTERN
from training.data.dataset import DataError, Dataset
from training.labels import LabelSet

SOUND_SUFFIXES = frozenset(
    (
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aiff",
        ".aif",
        ".aifc",
        ".au",
        ".w64",
        ".rf64",
        ".caf",
    )
)
UNREADABLE_SUFFIXES = frozenset(
    (".m4a", ".m4b", ".aac", ".mp4", ".mov", ".wma", ".webm", ".mka", ".mkv", ".amr", ".3gp")
)

# Of difflib's ratio: "dve" for "dev" is 0.67, "dog_brak" for "dog_bark" 0.88.
SIMILAR_ENOUGH_TO_ASK = 0.65
SIMILAR_ENOUGH_TO_TELL = 0.75


def label_name(text: str) -> str:
    """One spelling for "Dog bark", "dog-bark" and "dog_bark"; raises ValueError."""
    name = re.sub(r"[\s-]+", "_", unicodedata.normalize("NFC", text).strip().lower())
    if not re.match(NAME_PATTERN, name):
        raise ValueError(f"label {text!r}: must be 1 to 64 letters a-z, digits, '_' or '-'")
    return name


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The nearest known name in words, or nothing."""
    near = nearest(name, known, SIMILAR_ENOUGH_TO_ASK)
    return f", did you mean {near!r}?" if near else ""


def nearest(name: str, known: Collection[str], similar: float = SIMILAR_ENOUGH_TO_TELL) -> str:
    """The known name that this one is most likely a slip of; empty: none."""
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=similar)
    return found[0] if found else ""


def check_known(label: str, known: Collection[str]) -> None:
    """Raise ValueError for a label that is not among those declared; nothing declared allows all."""
    if known and label not in known:
        hint = did_you_mean(label, known) or f", known: {', '.join(sorted(known))}"
        raise ValueError(f"label {label!r} is not known{hint}")


def warn_of_slips(dataset: Dataset, labels: LabelSet, more_known: Collection[str] = ()) -> None:
    """Labels that nobody declared and that look like a slip of a known one, of four letters and more."""
    known = {*labels.names, *more_known}
    for label, where in dataset.named.items():
        if label not in known and len(label) > 3 and (near := nearest(label, known)):
            dataset.warnings.append((where, f"label {label!r} is used as it is; did you mean {near!r}?"))


def kind_of(label: str, given: str, labels: LabelSet) -> str:
    """Keyword or event: as given, else as these labels have it; raises ValueError."""
    if given != "auto":
        return given
    if label not in labels:
        hint = did_you_mean(label, labels.names)
        raise ValueError(
            f"label {label!r} is neither a keyword nor a sound that is known{hint}"
            " (say which it is with ?kind=keyword or ?kind=event)"
        )
    return "keyword" if labels.is_keyword(label) else "event"


def sound_files(dataset: Dataset, folder: Path, deep: bool = True) -> Iterator[Path]:
    """Sound files in a folder, in order; others are counted, unreadable formats and empty files listed."""
    for path in sorted(folder.rglob("*") if deep else folder.iterdir()):
        if path.name.startswith(".") or path.is_dir():
            continue
        suffix = path.suffix.lower()
        if suffix in UNREADABLE_SUFFIXES:
            why = f"{suffix} cannot be decoded; convert it to WAV, FLAC or Ogg"
            dataset.refuse(relative(dataset, path), why)
        elif suffix not in SOUND_SUFFIXES:
            dataset.leave_out("not sound files")
        elif why := unusable(path):
            dataset.refuse(relative(dataset, path), why)
        else:
            yield path


def unusable(path: Path) -> str:
    """Why this file is of no use, as far as can be told without decoding it; empty: it may be fine."""
    try:
        if not path.is_file():
            return "no such file"
        return "" if path.stat().st_size else "an empty file"
    except OSError as error:
        return error.strerror or str(error)


def relative(dataset: Dataset, path: Path) -> str:
    """The path as a clip has it: the same on every system."""
    return path.relative_to(dataset.folder).as_posix()


def check_folder(reader: str, folder: Path) -> None:
    """Raise DataError where there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"{reader}: {folder}: no such folder", "check the path")

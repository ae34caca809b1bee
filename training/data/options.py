"""A reader's options: their kinds, defaults and legal values, and the text after "?" in a data set's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from training.data.dataset import DataError, Dataset
from training.data.names import did_you_mean
from training.labels import LabelSet

Value = str | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """One option; the default's type is the value's."""

    name: str
    default: Value
    about: str
    legal: tuple[str, ...] = ()
    """Of text: only these."""

    def parse(self, text: str) -> Value:
        """The value; raises ValueError with the legal ones."""
        if isinstance(self.default, bool):
            return _boolean(text)
        if isinstance(self.default, tuple):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if isinstance(self.default, float):
            return _number(text)
        if self.legal and text not in self.legal:
            raise ValueError(f"legal values: {', '.join(self.legal)}{did_you_mean(text, self.legal)}")
        return text


@dataclass(frozen=True, slots=True)
class Reader:
    """One layout that can be read."""

    name: str
    about: str
    layout: str
    """Which files it looks for, for people."""
    options: tuple[Option, ...]
    read: Callable[[Path, Mapping[str, Any], LabelSet], Dataset]
    """The labels say what is a keyword and what a sound, where the data does not."""

    def parse(self, text: str) -> dict[str, Value]:
        """Options from "a=1&b=x"; those not given have their defaults."""
        values = {option.name: option.default for option in self.options}
        given: set[str] = set()
        for part in filter(None, text.split("&")):
            name, equals, value = (unquote_plus(piece) for piece in part.partition("="))
            option = self._option(name)
            if not equals or name in given:
                raise DataError(f"{self.name}: option {name!r} {'given twice' if equals else 'has no value'}")
            given.add(name)
            try:
                values[name] = option.parse(value)
            except ValueError as error:
                raise DataError(f"{self.name}: {name}={value!r}: {error}") from None
        return values

    def _option(self, name: str) -> Option:
        names = [option.name for option in self.options]
        if name not in names:
            legal = f"legal options: {', '.join(names)}" if names else "it has none"
            raise DataError(f"{self.name}: no option {name!r}{did_you_mean(name, names)}", legal)
        return self.options[names.index(name)]


def _boolean(text: str) -> bool:
    values = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in values:
        raise ValueError("legal values: yes, no")
    return values[text.lower()]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("must be a number") from None
    if not 0 <= number <= 1e9:
        raise ValueError("must be a number, 0 or more")
    return number


def folds(option: str, values: Sequence[str], legal: Sequence[str]) -> set[str]:
    """Names of folds, checked; raises DataError."""
    for value in values:
        if value not in legal:
            raise DataError(f"{option}={value!r}: legal values: {', '.join(legal)}")
    return set(values)


SPLIT_OPTION = Option("split", "auto", "put everything into this split", ("auto", "train", "dev", "test"))
KNOWN_OPTION = Option("known", (), "the labels there are, comma-separated; any other is a fault")
KIND_OPTION = Option(
    "kind", "auto", "what its labels are; auto: as the labels have it", ("auto", "keyword", "event")
)
NAME_OPTION = Option("name", "", "the collection's name (default: the folder's)")
LICENCE_OPTION = Option("licence", "not stated", "for the model card")
DEV_OPTION = Option("dev", 20.0, "percent of speakers or recordings for the dev split")
TEST_OPTION = Option("test", 0.0, "percent for the test split")
SPEAKER_OPTION = Option(
    "speaker", "", "what ends the speaker in a file's name, '_' in anna_03.wav; or: folder"
)

OWN_DATA_OPTIONS = (
    KIND_OPTION,
    SPEAKER_OPTION,
    DEV_OPTION,
    TEST_OPTION,
    SPLIT_OPTION,
    KNOWN_OPTION,
    NAME_OPTION,
    LICENCE_OPTION,
)
"""What every reader of somebody's own recordings takes."""

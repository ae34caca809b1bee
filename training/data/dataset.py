"""What every reader gives: clips that can be used, what was refused and why; the checks that hold for all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from streamer.errors import StreamerError

KINDS = ("keyword", "speech", "event", "noise", "rir")
SPLITS = ("train", "dev", "test")

Mark = tuple[str, float, float]
"""(label, onset_s, offset_s)."""


class DataError(StreamerError):
    """Recordings that cannot be used at all, or must not be used like this."""


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """One recording that can be used."""

    path: str
    """Below the data set's folder, with forward slashes."""
    kind: str
    """With marks: what those labels are that are not among the labels to be learnt."""
    label: str
    start_s: float | None
    end_s: float | None
    speaker: str
    """Person or original recording: whatever must not be in two splits. Empty: not known."""
    split: str
    collection: str
    licence: str
    unsure: tuple[str, ...] = ()
    """Labels that may be heard in it although it is not labelled so: never scored on this clip."""
    marks: tuple[Mark, ...] = ()
    """Many things heard in one recording, each with its time; `label` is then empty.
    A mark without length is a point: prepare looks for the sound there."""


@dataclass(slots=True)
class Dataset:
    """What a folder offers."""

    folder: Path
    reader: str = "pack"
    clips: list[Clip] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    """(path or line, reason) of what cannot be used."""
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """(path or label, what to look at) of what is used all the same."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason: how many readable clips or files are not used."""
    named: dict[str, str] = field(default_factory=dict)
    """Label: where it is named first. Each of them needs a clip."""
    others: set[str] = field(default_factory=set)
    """Words that are there to be none of the labels, unless they are named as well."""
    texts: dict[str, str] = field(default_factory=dict)
    """Path: what is said in it, where somebody has written that down."""
    refused_labels: int = 0
    """How often a label was refused."""
    _paths: set[str] = field(default_factory=set)

    def add(self, clip: Clip, where: str = "") -> None:
        """Take a clip, unless its path has been taken already."""
        if clip.path in self._paths:
            self.faults.append((where or clip.path, f"{clip.path} is listed twice"))
            return
        self._paths.add(clip.path)
        self.clips.append(clip)

    def refuse(self, where: str, reason: str) -> None:
        """List what cannot be used."""
        self.faults.append((where, reason))

    def refuse_label(self, where: str, reason: str) -> None:
        """List a label that cannot be used."""
        self.refused_labels += 1
        self.refuse(where, reason)

    def leave_out(self, reason: str) -> None:
        """Count what could be used and is not."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def finish(self) -> Dataset:
        """Check what only the whole can tell: no clips, an empty class, a leak."""
        if not self.clips:
            raise DataError(f"{self.reader}: {self.folder}: no usable recording{self._first_fault()}")
        held = labels_of(self.clips)
        if self.refused_labels and not held:
            raise DataError(f"{self.reader}: {self.folder}: no usable label{self._first_fault()}")
        for label, where in self.named.items():
            if label not in held:
                why = self._first_fault(where, label)
                raise DataError(
                    f"{self.reader}: {where}: label {label!r} has no usable recording{why}",
                    "add recordings, or remove the label",
                )
        check_leak([self])
        self._warn_of_thin_labels(held)
        return self

    def _first_fault(self, *about: str) -> str:
        told = [fault for fault in self.faults if any(word in " ".join(fault) for word in about)]
        told = told or self.faults
        return f" ({told[0][0]}: {told[0][1]}; {len(self.faults)} faults in all)" if told else ""

    def _warn_of_thin_labels(self, held: Counter[str]) -> None:
        if len({clip.split for clip in self.clips}) == 1:
            return  # the whole set was put into one split
        dev = labels_of(clip for clip in self.clips if clip.split == "dev")
        for label in sorted(set(held) - set(dev)):
            self.warnings.append((label, f"none of its {held[label]} recordings is in the dev split"))


def labels_of(clips: Iterable[Clip]) -> Counter[str]:
    """Each label with the number of recordings that hold it."""
    counted: Counter[str] = Counter()
    for clip in clips:
        counted.update({mark[0] for mark in clip.marks} | ({clip.label} if clip.label else set()))
    return counted


def check_leak(datasets: Sequence[Dataset]) -> None:
    """A speaker or recording on both sides would make every figure a lie."""
    seen: dict[tuple[str, str], tuple[Path, Clip]] = {}
    for dataset in datasets:
        folder = dataset.folder.absolute()
        for clip in dataset.clips:
            for key in _belongings(folder, clip):
                first_folder, first = seen.setdefault(key, (folder, clip))
                if first.split != clip.split:
                    whose = clip.speaker if clip.speaker == key[1] else "one recording"
                    raise DataError(
                        f"{first_folder / first.path} ({first.split}) and"
                        f" {folder / clip.path} ({clip.split}): {whose} is in both splits",
                        "split by speaker or recording",
                    )


def _belongings(folder: Path, clip: Clip) -> Iterator[tuple[str, str]]:
    """What all of must be in one split: the file, the speaker."""
    yield "file", os.path.normpath(folder / clip.path)
    if clip.speaker:
        yield _namespace(clip), clip.speaker


def _namespace(clip: Clip) -> str:
    """Speaker names of all Speech Commands collections are the same people's; others are each their own."""
    return "gsc" if clip.collection.startswith("gsc") else clip.collection

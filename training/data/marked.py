"""What readers of strong labels share: recordings and the marks on them, put together line by line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from training.data.dataset import Clip, DataError, Dataset, Mark
from training.data.names import check_known, kind_of, label_name, nearest, unusable
from training.data.splits import hashed_split, speaker_of
from training.labels import LabelSet


@dataclass(slots=True)
class _Recording:
    where: str
    split: str
    marks: list[Mark] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)


class MarkedReader:
    """Collects recordings and marks; a bad mark is listed, and its label not scored on that recording."""

    def __init__(self, dataset: Dataset, options: Mapping[str, Any], labels: LabelSet) -> None:
        self.dataset, self._options, self._labels = dataset, options, labels
        self._recordings: dict[str, _Recording] = {}
        self._bad: dict[str, str] = {}

    def recording(self, where: str, path: str, split: str = "") -> str:
        """A recording, new or met before; its path as clips have it. Raises ValueError if it is of no use."""
        path = PurePosixPath(path.replace("\\", "/")).as_posix()
        if path in self._bad:
            raise ValueError(self._bad[path])
        if why := unusable(self.dataset.folder / path):
            self._bad[path] = f"{path}: {why}"
            raise ValueError(self._bad[path])
        known = self._recordings.setdefault(path, _Recording(where, split))
        if split and known.split != split:
            raise DataError(
                f"{self.dataset.reader}: {path} is in both splits,"
                f" {known.split} ({known.where}) and {split} ({where})",
                "give a recording one split",
            )
        return path

    def mark(self, where: str, path: str, label: str, onset: str, offset: str) -> None:
        """One thing heard, from onset to offset; equal times are a point."""
        recording = self._recordings[path]
        try:
            name = label_name(label)
            check_known(name, self._options["known"])
            kind_of(name, self._options["kind"], self._labels)
            self.dataset.named.setdefault(name, f"{self.dataset.folder}: {where}")
            mark = (name, *_times(onset, offset))
        except ValueError as error:
            self.dataset.refuse_label(where, f"{path}: {error}")
            self._not_scored(recording, label)
            return
        if mark in recording.marks:
            self.dataset.refuse(where, f"{path}: the same mark twice: {name} from {onset} to {offset}")
        else:
            recording.marks.append(mark)

    def finish(self) -> None:
        """Turn recordings into clips."""
        for path, recording in self._recordings.items():
            try:
                self._add(path, recording)
            except ValueError as error:
                self.dataset.refuse(path, str(error))

    def _add(self, path: str, recording: _Recording) -> None:
        options = self._options
        speaker = speaker_of(path, options["speaker"]) if options["speaker"] else ""
        given = recording.split or ("" if options["split"] == "auto" else options["split"])
        kinds = [kind_of(label, options["kind"], self._labels) for label, _, _ in recording.marks]
        clip = Clip(
            path=path,
            # Without any mark it is something to hear labels in.
            kind="noise" if not kinds else kinds[0],
            label="",
            start_s=None,
            end_s=None,
            marks=tuple(sorted(recording.marks, key=lambda mark: (mark[1], mark[2], mark[0]))),
            unsure=tuple(recording.unsure),
            speaker=speaker,
            split=given or hashed_split(speaker or PurePosixPath(path).stem, options["dev"], options["test"]),
            collection=options["name"] or self.dataset.folder.resolve().name,
            licence=options["licence"],
        )
        self.dataset.add(clip, recording.where)

    def _not_scored(self, recording: _Recording, label: str) -> None:
        """It is heard somewhere, but not known where: neither right nor wrong to hear it."""
        try:
            name = label_name(label)
        except ValueError:
            return
        name = name if name in self._labels else nearest(name, self._labels.names)
        if name and name not in recording.unsure:
            recording.unsure.append(name)


def _times(onset: str, offset: str) -> tuple[float, float]:
    onset_s, offset_s = _seconds("onset", onset), _seconds("offset", offset)
    if offset_s < onset_s:
        raise ValueError(f"ends at {offset_s:g} s, before it starts at {onset_s:g} s")
    return onset_s, offset_s


def _seconds(column: str, text: str) -> float:
    try:
        # Audacity writes the system's decimal comma.
        second = float(text.replace(",", "."))
    except ValueError:
        raise ValueError(f"{column} {text!r} is not a number of seconds") from None
    if not math.isfinite(second) or second < 0:
        raise ValueError(f"{column} {text!r} is not a number of seconds from 0 on")
    return second

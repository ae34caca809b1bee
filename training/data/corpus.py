"""Prepared recordings as training and evaluation use them: clips by what they are for, memory-mapped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamer.audio import F32
from training.data import duplicates
from training.data.blocks import Entry, is_heard, read_index, sound_path
from training.data.dataset import Mark
from training.data.marks import excerpts
from training.label_files import cached_labels
from training.labels import LabelSet

ONE_WORD_SPEECH = ("arabic", "dspspeech", "kokoro_near")


class Item:
    """A clip with its sound, and what it is for these labels."""

    __slots__ = ("_block", "clip", "entry", "labels")

    def __init__(self, entry: Entry, block: np.memmap, labels: LabelSet) -> None:
        self.entry, self.clip, self._block, self.labels = entry, entry.clip, block, labels

    @property
    def label(self) -> str:
        """Which of the labels it holds; empty: none."""
        return self.labels.of_clip(self.clip.kind, self.clip.label)

    @property
    def spans(self) -> list[tuple[float, float]]:
        """(onset_s, offset_s) of what is heard."""
        return self.entry.spans

    @property
    def marks(self) -> list[Mark]:
        """(label, onset_s, offset_s) of everything that is known to be heard in it."""
        if self.clip.marks:
            return list(self.clip.marks)
        return [(self.clip.label, onset_s, offset_s) for onset_s, offset_s in self.spans if self.clip.label]

    @property
    def other_marks(self) -> list[Mark]:
        """What is heard in it besides that for which it was chosen."""
        return list(self.clip.marks[1:])

    def samples(self) -> F32:
        """(n,) float32, -1..1, a copy."""
        first = self.entry.first_sample
        return np.asarray(self._block[first : first + self.entry.samples], np.float32) / np.float32(32768.0)


class Corpus:
    """All prepared clips of one split.

    Recordings with marks are in `items` as excerpts, one for each mark, and whole in `recordings`.
    Labels that do not ship are learnt from among the unknown words and the other sounds.
    """

    def __init__(self, cache: Path, split: str, labels: LabelSet | None = None) -> None:
        """None: the labels that it was prepared for."""
        self.labels = labels or cached_labels(cache)
        self.items: list[Item] = []
        self.recordings: list[Item] = []
        self.licences: set[tuple[str, str]] = set()
        left_out = duplicates.read(cache)
        for number, block in enumerate(read_index(cache)):
            sound = np.memmap(sound_path(cache, number), np.int16, mode="r")
            for place, entry in enumerate(block.entries):
                if entry.clip.split == split and (number, place) not in left_out:
                    self.licences.add((entry.clip.collection, entry.clip.licence))
                    self._take(entry, sound)

    def _take(self, entry: Entry, sound: np.memmap) -> None:
        if entry.clip.marks:
            self.recordings.append(Item(entry, sound, self.labels))
            for clip, first, end in excerpts(entry.clip, entry.samples, self.labels):
                own = [clip.marks[0][1:]]
                part = Entry(clip, entry.first_sample + first, end - first, own)
                self.items.append(Item(part, sound, self.labels))
        elif is_heard(entry):
            self.items.append(Item(entry, sound, self.labels))

    def select(self, wanted: Callable[[Item], bool]) -> list[Item]:
        """The clips for which this holds, in the manifest's order."""
        return [item for item in self.items if wanted(item)]

    def keyword(self, label: str) -> list[Item]:
        """Clips of one keyword."""
        return self.select(lambda item: item.clip.kind == "keyword" and item.clip.label == label)

    def unknown_words(self) -> list[Item]:
        """Single words that are none of the keywords that ship."""
        return self.select(is_unknown_word)

    def sentences(self) -> list[Item]:
        """Running speech."""
        return self.select(lambda i: i.clip.kind == "speech" and i.clip.collection not in ONE_WORD_SPEECH)

    def sound(self, label: str) -> list[Item]:
        """Clips of one everyday sound, among the labels or not."""
        return self.select(lambda item: item.clip.kind == "event" and item.clip.label == label)

    def other_sounds(self) -> list[Item]:
        """Everyday sounds that no label of the bundle names: they must not fire."""
        return self.select(lambda item: item.clip.kind == "event" and not self.labels.ships(item.label))

    def of_kind(self, kind: str) -> list[Item]:
        """Clips of noise, or impulse responses."""
        return self.select(lambda item: item.clip.kind == kind)


def is_unknown_word(item: Item) -> bool:
    """Whether it is one word, and none of the keywords that ship."""
    if item.clip.kind == "speech":
        return item.clip.collection in ONE_WORD_SPEECH
    return item.clip.kind == "keyword" and not item.labels.ships(item.label)

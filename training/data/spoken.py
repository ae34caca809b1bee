"""Keywords inside running speech, where it is written down what is said: neither right nor wrong to hear."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec

from training.data.dataset import Clip, Dataset
from training.labels import LabelSet


def with_spoken(dataset: Dataset, labels: LabelSet) -> Dataset:
    """The same, with the keywords that its speech holds marked as unsure there."""
    if not dataset.texts:
        return dataset
    return replace(
        dataset, clips=[_told(clip, dataset.texts.get(clip.path, ""), labels) for clip in dataset.clips]
    )


def _told(clip: Clip, text: str, labels: LabelSet) -> Clip:
    if clip.kind != "speech" or not text:
        return clip
    words = f" {' '.join(re.findall('[a-z]+', text.lower()))} "
    spoken = [name for name in labels.keywords if f" {name.replace('_', ' ').lower()} " in words]
    return msgspec.structs.replace(clip, unsure=(*clip.unsure, *spoken)) if spoken else clip

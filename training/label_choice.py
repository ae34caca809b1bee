"""Which labels are learnt from some data: the default ones, a file's, or all that the data names often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.augment.synthetic import SYNTHETIC
from training.data.corpus import Corpus
from training.data.dataset import Clip, Dataset
from training.data.names import did_you_mean
from training.label_files import LabelError, default_labels, known_labels, read_labels
from training.labels import Keyword, LabelSet, Sound

DEFAULT, DATA = "default", "data"
ENOUGH = 5
"""So many recordings to learn from make a label of what the data names; with fewer it is one among others."""
KIND_WORDS = {"keyword": "keyword", "event": "sound"}

Counts = Counter[tuple[str, str]]
"""(kind, label): recordings."""


@dataclass(slots=True)
class Choice:
    """The labels, and what there is to say about them."""

    labels: LabelSet
    why: str
    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_text(self) -> str:
        """For the screen."""
        labels = self.labels
        helpers = [name for name in labels.names if not labels.ships(name)]
        told = {
            "keywords": labels.shipped_keywords,
            "sounds": labels.shipped_sounds,
            "learnt, not shipped": helpers,
            "other words and sounds": self.left_out,
        }
        return "\n".join(
            [
                f"labels: {self.why}",
                *(f"  {what}: {', '.join(names)}" for what, names in told.items() if names),
            ]
        )


def given_labels(wanted: str | None) -> LabelSet | None:
    """The labels of `--labels`; None: they depend on the data."""
    if wanted == DEFAULT:
        return default_labels()
    return None if wanted in (None, DATA) else read_labels(Path(wanted))


def choose(datasets: Sequence[Dataset], wanted: str | None) -> Choice:
    """The labels for these data sets; raises LabelError where one of them cannot be learnt."""
    wanted = wanted or (DEFAULT if all(dataset.reader == "pack" for dataset in datasets) else DATA)
    labels = given_labels(wanted)
    counts = _recordings(datasets, "train", labels or known_labels())
    if labels is None:
        choice = _of_data(datasets, counts)
    else:
        others = sorted({label for kind, label in counts if not labels.of_clip(kind, label)})
        why = "those of the default model" if wanted == DEFAULT else f"as {wanted} has them"
        choice = Choice(labels, why, others)
    _check_train(choice.labels, counts)
    choice.warnings = _without_dev(datasets, choice.labels)
    return choice


def check_heard(cache: Path, labels: LabelSet) -> None:
    """Raise LabelError for a label of which nothing is left to learn from now that all is decoded."""
    items = Corpus(cache, "train", labels).items
    heard = Counter((item.clip.kind, item.clip.label) for item in items)
    _check_train(labels, heard)


def _recordings(datasets: Sequence[Dataset], split: str, known: LabelSet) -> Counts:
    counts: Counts = Counter()
    for dataset in datasets:
        for clip in dataset.clips:
            if clip.split == split:
                counts.update(set(_held(clip, known)))
    return counts


def _held(clip: Clip, known: LabelSet) -> Iterator[tuple[str, str]]:
    """(kind, label) of what is said to be heard in it."""
    if clip.label and clip.kind in KIND_WORDS:
        yield clip.kind, clip.label
    for label, _, _ in clip.marks:
        if label in known:
            yield "keyword" if known.is_keyword(label) else "event", label
        else:
            yield clip.kind, label


def _of_data(datasets: Sequence[Dataset], counts: Counts) -> Choice:
    """Every label that is named often enough, in the order in which the data names them."""
    others = {label for dataset in datasets for label in dataset.others}
    others -= {label for dataset in datasets for label in dataset.named}
    found: dict[str, str] = {}
    left_out = []
    for (kind, label), count in counts.items():
        if label in others:
            left_out.append(label)
        elif count < ENOUGH:
            left_out.append(f"{label} ({count} train recordings of {ENOUGH})")
        elif found.setdefault(label, kind) != kind:
            raise LabelError(
                f"label {label!r} is a keyword and a sound",
                "rename one of them, or name your labels with --labels",
            )
    if not found:
        raise LabelError(
            f"no label has {ENOUGH} train recordings: {', '.join(left_out) or 'none is named'}",
            "record more, or name your labels in a file: --labels FILE.toml",
        )
    known = known_labels()
    labels = LabelSet(
        {name: known.keywords.get(name, Keyword()) for name, kind in found.items() if kind == "keyword"},
        {name: known.sounds.get(name, Sound()) for name, kind in found.items() if kind == "event"},
    )
    return Choice(labels, f"those that the data names, with {ENOUGH} train recordings or more", left_out)


def _check_train(labels: LabelSet, counts: Counts) -> None:
    """Each label needs something to learn from; some sounds are made by code."""
    heard = {labels.of_clip(kind, label) for kind, label in counts}
    missing = [
        name
        for name in labels.names
        if name not in heard and not (labels.is_sound(name) and name in SYNTHETIC)
    ]
    if not missing:
        return
    first, own = missing[0], "keyword" if labels.is_keyword(missing[0]) else "event"
    other = next((kind for kind, label in counts if label == first and kind != own), None)
    hint = did_you_mean(first, {label for _, label in counts})
    if other:
        hint = f": in the data it is a {KIND_WORDS.get(other, other)}, in the labels a {KIND_WORDS[own]}"
    more = f" (and {len(missing) - 1} more: {', '.join(missing[1:])})" if len(missing) > 1 else ""
    raise LabelError(
        f"label {first!r} has no train recording{hint}{more}",
        "add recordings, or choose other labels: --labels data, or --labels FILE.toml",
    )


def _without_dev(datasets: Sequence[Dataset], labels: LabelSet) -> list[str]:
    """Labels that will not be judged, unless their data set says so itself."""
    counts = _recordings(datasets, "dev", labels)
    heard = {labels.of_clip(kind, label) for kind, label in counts}
    told = {where for dataset in datasets for where, _ in dataset.warnings}
    return [name for name in labels.shipped if name not in heard and name not in told]

"""What is in a data set, in figures: before anything is decoded."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import soundfile

from training.data.dataset import SPLITS, Clip, Dataset

Figures = dict[str, Any]


def summarise(dataset: Dataset) -> Figures:
    """Counts, hours and speakers; files whose header cannot be read are counted among the faults."""
    faults = [*dataset.faults]
    seconds: defaultdict[str, float] = defaultdict(float)
    for clip in dataset.clips:
        try:
            seconds[clip.split] += soundfile.info(str(dataset.folder / clip.path)).duration
        except (OSError, RuntimeError, TypeError) as error:
            reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
            faults.append((clip.path, f"not a sound file that can be read ({reason})"))
    return {
        "reader": dataset.reader,
        "folder": str(dataset.folder),
        "recordings": len(dataset.clips),
        "hours": {split: round(seconds[split] / 3600, 3) for split in SPLITS if seconds[split]},
        "kinds": dict(Counter(clip.kind for clip in dataset.clips)),
        "labels": _labels(dataset.clips),
        "speakers": _speakers(dataset.clips),
        "left_out": dataset.left_out,
        "faults": faults,
        "warnings": dataset.warnings,
    }


def _labels(clips: list[Clip]) -> dict[str, dict[str, int]]:
    """Label: split: how often; of recordings with marks the marks are counted."""
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        for label in [mark[0] for mark in clip.marks] or [clip.label]:
            counted[label or f"({clip.kind})"][clip.split] += 1
    return {label: {split: counted[label][split] for split in SPLITS} for label in sorted(counted)}


def _speakers(clips: list[Clip]) -> dict[str, int]:
    pairs = {(clip.split, clip.collection, clip.speaker) for clip in clips if clip.speaker}
    return dict(Counter(split for split, _, _ in pairs))


def as_text(figures: Figures, most_faults: int) -> str:
    """For the terminal."""
    hours = ", ".join(f"{split} {figure:.2f} h" for split, figure in figures["hours"].items())
    kinds = ", ".join(f"{kind} {count}" for kind, count in figures["kinds"].items())
    lines = [
        f"{figures['reader']}:{figures['folder']}",
        f"  {figures['recordings']} recordings ({kinds}); {hours}",
    ]
    if figures["speakers"]:
        told = ", ".join(
            f"{split} {figures['speakers'][split]}" for split in SPLITS if split in figures["speakers"]
        )
        lines.append(f"  speakers or original recordings: {told}")
    lines.append(f"  {'label':24}" + "".join(f"{split:>8}" for split in SPLITS))
    for label, counts in figures["labels"].items():
        lines.append(f"  {label:24}" + "".join(f"{counts[split]:8}" for split in SPLITS))
    lines += [f"  left out: {count}: {reason}" for reason, count in figures["left_out"].items()]
    for what in ("warnings", "faults"):
        lines += _listed(what, figures[what], most_faults)
    return "\n".join(lines)


def _listed(what: str, found: list[tuple[str, str]], most: int) -> list[str]:
    lines = [f"  {what[:-1]}: {where}: {reason}" for where, reason in found[:most]]
    if len(found) > most:
        lines.append(f"  ... and {len(found) - most} more {what}; --all lists them")
    return lines

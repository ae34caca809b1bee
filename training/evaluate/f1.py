"""F1 of sounds by the row and by the event, and of words by the hit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from streamer.audio import SAMPLE_RATE_HZ
from streamer.decoding.rules import LabelRule
from training.evaluate.condition import Condition, Heard, count_missed, is_heard, own_truths
from training.evaluate.metrics import Event

COLLAR_S = 0.2
OFFSET_SHARE = 0.2
"""An end may be wrong by this share of the event's length, or by the collar if that is more."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class F1:
    """Counts, and what follows from them."""

    right: int = 0
    told: int = 0
    wanted: int = 0

    def __add__(self, other: F1) -> F1:
        """Both together."""
        return F1(self.right + other.right, self.told + other.told, self.wanted + other.wanted)

    @property
    def precision(self) -> float:
        """Share of what was told that is right; 1 where nothing was told."""
        return self.right / self.told if self.told else 1.0

    @property
    def recall(self) -> float:
        """Share of what was to be told that was; 1 where nothing was."""
        return self.right / self.wanted if self.wanted else 1.0

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        return 2 * self.right / (self.told + self.wanted) if self.told + self.wanted else 1.0

    def as_dict(self) -> dict[str, Any]:
        """Rounded, with the counts."""
        shares = {"f1": self.f1, "precision": self.precision, "recall": self.recall}
        return {**{k: round(v, 4) for k, v in shares.items()}, "told": self.told, "wanted": self.wanted}


def frame_f1(
    told: Iterable[Span], wanted: Iterable[Span], rows: int, row_s: float, first_s: float = 0.0
) -> F1:
    """Rows on both sides; a row counts for what holds at its middle."""
    heard, true = (_mask(spans, rows, row_s, first_s) for spans in (told, wanted))
    return F1(int((heard & true).sum()), int(heard.sum()), int(true.sum()))


def _mask(spans: Iterable[Span], rows: int, row_s: float, first_s: float) -> NDArray[np.bool_]:
    mask = np.zeros(rows, np.bool_)
    for onset_s, offset_s in spans:
        first, last = (int(np.ceil((second - first_s) / row_s - 0.5)) for second in (onset_s, offset_s))
        mask[max(0, first) : max(0, last)] = True
    return mask


def event_f1(
    told: Sequence[Span], wanted: Sequence[Span], offsets: bool = False, collar_s: float = COLLAR_S
) -> F1:
    """One event for one event, the most pairs that the collar allows; ends count where asked for."""
    if not told or not wanted:
        return F1(0, len(told), len(wanted))
    heard, true = np.array(told), np.array(wanted)
    close = np.abs(heard[:, None, 0] - true[None, :, 0]) <= collar_s + 1e-9
    if offsets:
        slack = np.maximum(collar_s, OFFSET_SHARE * (true[:, 1] - true[:, 0])) + 1e-9
        close &= np.abs(heard[:, None, 1] - true[None, :, 1]) <= slack[None, :]
    pairs = maximum_bipartite_matching(csr_array(close), perm_type="column")
    return F1(int((pairs >= 0).sum()), len(told), len(wanted))


def sounds_f1(condition: Condition) -> dict[str, Any]:
    """Every sound on the stream of sounds, and the mean over labels."""
    by_label = {
        rule.name: _summed([_sound(heard, rule) for heard in homes])
        for rule in condition.of_kind("sound")
        if (homes := condition.homes(rule))
    }
    kinds = ("frame", "event_onset", "event_onset_offset", "clip")
    macro = {kind: _mean([entry[kind]["f1"] for entry in by_label.values()]) for kind in kinds}
    return {"macro": macro, "by_label": by_label}


def _summed(parts: Sequence[dict[str, F1]]) -> dict[str, Any]:
    return {name: sum((part[name] for part in parts), F1()).as_dict() for name in parts[0]}


def _sound(heard: Heard, rule: LabelRule) -> dict[str, F1]:
    found, truths = heard.events(rule), own_truths(heard, rule.name)
    told = [(event.onset_s, event.offset_s) for event in found]
    wanted = [span for truth in truths for span in truth.spans]
    row_s = heard.played.row_samples / SAMPLE_RATE_HZ
    return {
        "frame": frame_f1(told, wanted, len(heard.smoothed), row_s, heard.second(0)),
        "event_onset": event_f1(told, wanted),
        "event_onset_offset": event_f1(told, wanted, offsets=True),
        "clip": _by_clip(found, heard, rule),
    }


def words_f1(condition: Condition) -> dict[str, Any]:
    """Hits of words where words are said: right in their clip or just after it, wrong anywhere else."""
    by_label = {
        rule.name: sum((_by_clip(heard.events(rule), heard, rule) for heard in homes), F1()).as_dict()
        for rule in condition.of_kind("keyword")
        if (homes := condition.homes(rule))
    }
    return {"macro": _mean([entry["f1"] for entry in by_label.values()]), "by_label": by_label}


def _by_clip(found: list[Event], heard: Heard, rule: LabelRule) -> F1:
    """Clips of which an event tells, against events that tell of no clip."""
    truths = own_truths(heard, rule.name)
    right = len(truths) - count_missed(found, truths, rule.kind)
    wrong = sum(not any(is_heard(event, truth, rule.kind) for truth in truths) for event in found)
    return F1(right, right + wrong, len(truths))


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None

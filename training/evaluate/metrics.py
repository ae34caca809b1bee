"""Counting: what was hit, missed, confused and falsely told, and how late."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamer.audio import SAMPLE_RATE_HZ
from streamer.decoding.decoder import Detection
from training.data.marks import union
from training.evaluate.play import Played
from training.evaluate.streams import LongStream, Truth

TEN_COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
"""Of the figure that papers quote: these, other words and silence."""
AFTER_CLIP_S = 0.45
"""A hit may come so long after its clip; pauses between clips are longer."""
ONSET_SLACK_S = 0.5
"""A sound's start may be told so long before the energy says so, or overlap it any time later."""


@dataclass(frozen=True, slots=True)
class Event:
    """A hit, or a sound from its start to its end, in seconds."""

    label: str
    onset_s: float
    offset_s: float
    detected_s: float
    score: float


def events(detections: Sequence[Detection]) -> list[Event]:
    """Hits and ended sounds; a sound's detection time is that of its start."""
    found, started = [], {}
    for d in detections:
        if d.phase == "start":
            started[d.label] = d.detected_sample
        else:
            detected = started.pop(d.label, d.detected_sample)
            samples = (d.onset_sample, d.offset_sample or d.detected_sample, detected)
            onset_s, offset_s, detected_s = (sample / SAMPLE_RATE_HZ for sample in samples)
            found.append(Event(d.label, onset_s, offset_s, detected_s, d.score))
    return found


def excuses(stream: LongStream, label: str, kind: str) -> list[tuple[float, float]]:
    """Stretches in which it is no false alarm to tell this label: in order, and none within another."""
    told = [(t.start_s, t.end_s) for t in stream.truths if label in (t.label, *t.unsure)]
    told += [(from_s, to_s) for unsure, from_s, to_s in stream.unsure if unsure == label]
    early_s = ONSET_SLACK_S if kind == "sound" else 0.0
    last_s = len(stream.samples) / SAMPLE_RATE_HZ
    late = [(label, max(0.0, a - early_s), min(last_s, b + AFTER_CLIP_S)) for a, b in told]
    return union(tuple(late))


def by_clip(truths: Sequence[Truth], found: Sequence[Event]) -> list[list[Event]]:
    """For each clip the events that were told during it or just after."""
    starts = np.array([truth.start_s for truth in truths])
    clips: list[list[Event]] = [[] for _ in truths]
    for event in found:
        at = int(np.searchsorted(starts, event.detected_s)) - 1
        if at >= 0 and event.detected_s <= truths[at].end_s + AFTER_CLIP_S:
            clips[at].append(event)
    return clips


def decide(found: Sequence[Event], wanted: Sequence[str]) -> str:
    """One decision for a clip: the hit with the highest score; none: nothing."""
    heard = [event for event in found if event.label in wanted]
    return max(heard, key=lambda event: event.score).label if heard else ""


def keyword_figures(played: Played, detections: Sequence[Detection], words: Sequence[str]) -> dict[str, Any]:
    """Clip decisions, misses and latency of these words, one by one or in whole recordings."""
    truths = played.stream.words
    clips = by_clip(truths, events(detections))
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    confused: Counter[str] = Counter()
    late_ms: defaultdict[str, list[float]] = defaultdict(list)
    for truth, found in zip(truths, clips, strict=True):
        kind = truth.label or ("silence" if truth.group == "silence" else "unknown")
        total[kind] += 1
        answer = decide(found, words)
        right[kind] += answer == truth.label
        if answer != truth.label:
            confused[f"{kind} -> {answer or 'nothing'}"] += 1
        late_ms[truth.label] += [
            1000 * (event.detected_s - truth.spans[-1][1])
            for event in found
            if event.label == truth.label and truth.spans
        ][:1]
    late = [value for label in words for value in late_ms[label]]
    return {
        **_speech_commands(right, total, words),
        "right_by_label": {k: {"right": right[k], "of": total[k]} for k in (*words, "unknown", "silence")},
        "miss_rate": {k: round(1 - right[k] / total[k], 4) for k in words if total[k]},
        "most_confused": dict(confused.most_common(15)),
        "latency_ms": _latency(late),
        "latency_ms_by_label": {k: _latency(late_ms[k])["median"] for k in words if late_ms[k]},
    }


def _speech_commands(right: Counter[str], total: Counter[str], words: Sequence[str]) -> dict[str, float]:
    """Nothing unless all ten commands are labels, and some are said."""
    if not set(TEN_COMMANDS) <= set(words) or not any(total[command] for command in TEN_COMMANDS):
        return {}
    return {
        "accuracy_twelve": _share(right, total, [*TEN_COMMANDS, "unknown", "silence"]),
        "accuracy_ten_commands": _share(right, total, TEN_COMMANDS),
    }


def _share(right: Counter[str], total: Counter[str], kinds: Sequence[str]) -> float:
    return round(sum(right[kind] for kind in kinds) / max(1, sum(total[kind] for kind in kinds)), 4)


def _latency(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"median": None, "p90": None, "count": 0}
    return {
        "median": round(float(np.median(values))),
        "p90": round(float(np.percentile(values, 90))),
        "count": len(values),
    }


def false_events(
    played: Played, detections: Sequence[Detection], labels: Sequence[str], kind: str = "keyword"
) -> list[Event]:
    """Events of these labels, all of one kind, but for those where they are heard or may well be."""
    found = [event for event in events(detections) if event.label in labels]
    right = {label: excuses(played.stream, label, kind) for label in {event.label for event in found}}
    return [event for event in found if not any(a <= event.detected_s <= b for a, b in right[event.label])]


def false_alarms(
    played: Played, detections: Sequence[Detection], labels: Sequence[str], kind: str = "keyword"
) -> dict[str, Any]:
    """False events of these labels in all that was heard."""
    told = Counter(event.label for event in false_events(played, detections, labels, kind))
    hours = played.stream.hours
    return {
        "hours": round(hours, 3),
        "false_alarms": sum(told.values()),
        "per_hour": round(sum(told.values()) / hours, 2),
        "by_label": dict(told.most_common()),
    }


def sound_figures(played: Played, detections: Sequence[Detection], sounds: Sequence[str]) -> dict[str, Any]:
    """Events of these sounds against where their energy is, and one decision a clip."""
    truths = played.stream.truths
    found = [event for event in events(detections) if event.label in sounds]
    figures: dict[str, Any] = {}
    for label in sounds:
        wanted = [truth for truth in truths if truth.label == label]
        told = [event for event in found if event.label == label]
        good = [event for event in told if any(_touches(event, truth) for truth in wanted)]
        heard = sum(any(_touches(event, truth) for event in told) for truth in wanted)
        precision, recall = len(good) / max(1, len(told)), heard / max(1, len(wanted))
        figures[label] = {
            "f1": round(2 * precision * recall / max(1e-9, precision + recall), 3),
            "precision": round(precision, 3),
            "recall": round(recall, 3),
            "clips": len(wanted),
            "events": len(told),
        }
    f1 = [entry["f1"] for entry in figures.values() if entry["clips"]]
    return {
        "macro_f1": round(float(np.mean(f1)), 3) if f1 else None,
        **esc10_accuracy(played),
        "by_label": figures,
    }


def _touches(event: Event, truth: Truth) -> bool:
    return event.onset_s < truth.end_s and event.offset_s > truth.start_s - ONSET_SLACK_S


def esc10_accuracy(played: Played) -> dict[str, Any]:
    """One decision for each ESC-10 clip of a label in the bundle: whose best half second scores highest."""
    truths = [t for t in played.stream.truths if t.group == "esc10" and t.label in played.labels]
    labels = sorted({truth.label for truth in truths})
    columns = [played.labels.index(label) for label in labels]
    right = 0
    for truth in truths:
        first, last = (
            int(second * SAMPLE_RATE_HZ / played.row_samples) for second in (truth.start_s, truth.end_s)
        )
        scores = played.scores[first : last + 1, columns]
        window = max(1, round(0.5 * SAMPLE_RATE_HZ / played.row_samples))
        sums = np.cumsum(np.concatenate((np.zeros((1, len(columns))), scores)), axis=0)
        best = (sums[window:] - sums[:-window]).max(axis=0)
        right += labels[int(best.argmax())] == truth.label
    return {"esc10_clip_accuracy": round(right / max(1, len(truths)), 4), "esc10_clips": len(truths)}

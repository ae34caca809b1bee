"""One decision for each clip of a word, and how long after the word its hit comes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from training.evaluate.condition import RECORDINGS, WORDS, Condition, Heard
from training.evaluate.metrics import Event, by_clip, decide
from training.evaluate.streams import Truth

UNKNOWN, SILENCE, NOTHING = "(other word)", "(silence)", "(nothing)"


def word_figures(condition: Condition) -> dict[str, Any]:
    """Confusions, share of right decisions, and times from a word's end to its hit."""
    heard = [condition.streams[kind] for kind in (WORDS, RECORDINGS) if kind in condition.streams]
    words = [rule.name for rule in condition.of_kind("keyword") if rule.enabled]
    truths = [truth for one in heard for truth in one.played.stream.words]
    if not truths or not words:
        return {}
    clips = [clip for one in heard for clip in _clips(condition, one)]
    answers = [
        (_row(truth, words), decide(events, words) or NOTHING)
        for truth, events in zip(truths, clips, strict=True)
    ]
    rows = [name for name in (*words, UNKNOWN, SILENCE) if any(row == name for row, _ in answers)]
    counted = Counter(answers)
    columns = [*words, NOTHING]
    return {
        "rows": rows,
        "columns": columns,
        "matrix": [[counted[row, column] for column in columns] for row in rows],
        "right": sum(count for pair, count in counted.items() if _is_right(*pair)),
        "clips": len(answers),
        "latency_ms": _latencies(truths, clips, words),
    }


def _clips(condition: Condition, heard: Heard) -> list[list[Event]]:
    """The hits in each of a stream's words."""
    found = [event for rule in condition.of_kind("keyword") for event in heard.events(rule)]
    return by_clip(heard.played.stream.words, sorted(found, key=lambda event: event.detected_s))


def _row(truth: Truth, words: list[str]) -> str:
    if truth.label in words:
        return truth.label
    return SILENCE if truth.group == "silence" else UNKNOWN


def _is_right(row: str, column: str) -> bool:
    return column == (NOTHING if row in (UNKNOWN, SILENCE) else row)


def _latencies(truths: list[Truth], clips: list[list[Event]], words: list[str]) -> dict[str, list[int]]:
    """Milliseconds from the end of each word to its first hit; below 0: before its end."""
    late: dict[str, list[int]] = {word: [] for word in words}
    for truth, events in zip(truths, clips, strict=True):
        hit = next((event for event in events if event.label == truth.label), None)
        if hit and truth.spans and truth.label in late:
            late[truth.label].append(round(1000 * (hit.detected_s - truth.spans[-1][1])))
    return {word: values for word, values in late.items() if values}


def quantiles(late: dict[str, list[int]]) -> dict[str, float | None]:
    """The median and the slowest tenth of all words together."""
    values = [value for part in late.values() for value in part]
    if not values:
        return {"median": None, "p90": None}
    return {"median": float(np.median(values)), "p90": float(np.percentile(values, 90))}

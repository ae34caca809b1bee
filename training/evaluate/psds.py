"""The polyphonic sound detection score, by sed_scores_eval: all thresholds at once, exactly."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np

from streamer.errors import MissingExtra, StreamerError
from training.evaluate.condition import Condition, Heard, own_truths

SETTINGS: dict[str, dict[str, Any]] = {
    "psds1": {"dtc_threshold": 0.7, "gtc_threshold": 0.7, "alpha_ct": 0.0, "alpha_st": 1.0},
    "psds2": {
        "dtc_threshold": 0.1,
        "gtc_threshold": 0.1,
        "cttc_threshold": 0.3,
        "alpha_ct": 0.5,
        "alpha_st": 1.0,
    },
}
"""As in DCASE task 4: the first asks for exact times, the second for no confusions."""
MAX_FALSE_PER_HOUR = 100.0
BEFORE_S = 0.2


def psds(condition: Condition) -> dict[str, float]:
    """Both scores of the sounds, on their smoothed scores; raises StreamerError."""
    rules = condition.of_kind("sound")
    heard = condition.home(rules[0]) if rules else None
    labels = [rule.name for rule in rules if heard and own_truths(heard, rule.name)]
    return _scores(heard, labels) if heard and labels else {}


def _scores(heard: Heard, labels: list[str]) -> dict[str, float]:
    evaluate, data_frame = _library()
    columns = [heard.played.labels.index(label) for label in labels]
    inputs: dict[str, dict[str, Any]] = {"scores": {}, "ground_truth": {}, "audio_durations": {}}
    for number, (first, end) in enumerate(_pieces(heard)):
        edges = np.round([heard.second(row) - heard.second(first) for row in range(first, end + 1)], 6)
        table = np.column_stack((edges[:-1], edges[1:], heard.smoothed[first:end, columns]))
        name = f"{number:05d}"
        inputs["scores"][name] = data_frame(table, columns=["onset", "offset", *labels])
        inputs["ground_truth"][name] = _spans(heard, labels, heard.second(first), heard.second(end))
        inputs["audio_durations"][name] = float(edges[-1])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas and numpy, about the library's own doings
            return {
                name: round(float(evaluate(**inputs, **settings, max_efpr=MAX_FALSE_PER_HOUR)[0]), 4)
                for name, settings in SETTINGS.items()
            }
    except ValueError as error:  # sed_scores_eval 0.0.4 cannot write to what pandas 3 hands it
        raise StreamerError(f"sed_scores_eval: {error}", "pip install 'pandas<3'") from error


def _pieces(heard: Heard) -> list[tuple[int, int]]:
    """Rows from just before each clip to just before the next: a stream in one piece took 20 GB."""
    starts = [heard.row(truth.start_s - BEFORE_S) for truth in heard.played.stream.truths]
    return [(a, b) for a, b in pairwise([0, *starts[1:], len(heard.smoothed)]) if b > a]


def _spans(heard: Heard, labels: list[str], first_s: float, end_s: float) -> list[tuple[float, float, str]]:
    inside = [t for t in heard.played.stream.truths if t.label in labels and first_s <= t.start_s < end_s]
    return [(round(a - first_s, 6), round(b - first_s, 6), t.label) for t in inside for a, b in t.spans]


def _library() -> tuple[Any, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from sed_scores_eval.intersection_based import psds as evaluate

            # It brings pandas along.
            from pandas import DataFrame  # isort: skip
    except ImportError as error:
        raise MissingExtra(error.name or "sed_scores_eval", "evaluate") from error
    return evaluate, DataFrame

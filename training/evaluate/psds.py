"""The polyphonic sound detection score, by sed_scores_eval: all thresholds at once, exactly."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from streamer.errors import MissingExtra, StreamerError
from training.evaluate.condition import Condition, Heard

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
    homes = {rule.name: found for rule in condition.of_kind("sound") if (found := condition.homes(rule))}
    streams = {heard.played.stream.name: heard for found in homes.values() for heard in found}
    return _scores(list(streams.values()), list(homes)) if streams else {}


def _scores(streams: Sequence[Heard], labels: list[str]) -> dict[str, float]:
    evaluate, data_frame = _library()
    inputs: dict[str, dict[str, Any]] = {"scores": {}, "ground_truth": {}, "audio_durations": {}}
    pieces = ((heard, first, end) for heard in streams for first, end in _pieces(heard))
    for number, (heard, first, end) in enumerate(pieces):
        columns = [heard.played.labels.index(label) for label in labels]
        edges = np.round([heard.second(row) - heard.second(first) for row in range(first, end + 1)], 6)
        table = np.column_stack((edges[:-1], edges[1:], heard.smoothed[first:end, columns]))
        name = f"{number:05d}"
        inputs["scores"][name] = data_frame(table, columns=["onset", "offset", *labels])
        inputs["ground_truth"][name] = _spans(heard, labels, heard.second(first), heard.second(end))
        inputs["audio_durations"][name] = float(edges[-1])
    # The library cannot count confusions where there is nothing to confuse.
    left_out = ("cttc_threshold", "alpha_ct") if len(labels) == 1 else ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas and numpy, about the library's own doings
            return {
                name: round(float(evaluate(**inputs, **_without(settings, left_out))[0]), 4)
                for name, settings in SETTINGS.items()
            }
    except ValueError as error:  # sed_scores_eval 0.0.4 cannot write to what pandas 3 hands it
        raise StreamerError(f"sed_scores_eval: {error}", "pip install 'pandas<3'") from error


def _without(settings: Mapping[str, Any], left_out: Collection[str]) -> dict[str, Any]:
    kept = {name: value for name, value in settings.items() if name not in left_out}
    return {**kept, "max_efpr": MAX_FALSE_PER_HOUR}


def _pieces(heard: Heard) -> list[tuple[int, int]]:
    """Rows from just before each clip to just before the next: a stream in one piece took 20 GB.

    Nothing is cut in two.
    """
    truths = heard.played.stream.truths
    cuts, until_s = [0], truths[0].end_s
    for truth in truths[1:]:
        if truth.start_s - BEFORE_S > until_s:
            cuts.append(heard.row(truth.start_s - BEFORE_S))
        until_s = max(until_s, truth.end_s)
    return [(a, b) for a, b in pairwise([*cuts, len(heard.smoothed)]) if b > a]


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

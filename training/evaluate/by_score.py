"""The twelve labels by score: which command scores highest in a clip, and one threshold for "none of them".

What the scores can do, whatever thresholds a false-alarm budget asks for; by event is what the daemon tells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.audio import SAMPLE_RATE_HZ
from streamer.decoding.rules import LabelRule
from training.evaluate.decide import smooth
from training.evaluate.metrics import AFTER_CLIP_S, TEN_COMMANDS
from training.evaluate.play import Played

GRID = np.linspace(0.02, 0.98, 49)


def twelve_by_score(played: Played, rules: Sequence[LabelRule]) -> dict[str, Any]:
    """Shares of clips decided rightly: the ten alone, and with others and silence; {} without the ten."""
    names = [rule.name for rule in rules]
    truths = played.stream.words
    if not set(TEN_COMMANDS) <= set(names) or not any(truth.label in TEN_COMMANDS for truth in truths):
        return {}
    columns = [names.index(command) for command in TEN_COMMANDS]
    own = [rules[column] for column in columns]
    smoothed = smooth(np.ascontiguousarray(played.scores[:, columns]), own, played.row_samples)
    keywords = {rule.name for rule in rules if rule.kind == "keyword"}
    of_ten, best_of_ten, best_of_others = [], [], []
    for truth in truths:
        if truth.label in keywords and truth.label not in TEN_COMMANDS:
            continue  # the other keywords are labels of their own, none of the twelve
        best = _best(played, smoothed, truth.start_s, truth.end_s)
        if truth.label in TEN_COMMANDS:
            of_ten.append(int(best.argmax()) == TEN_COMMANDS.index(truth.label))
            best_of_ten.append(float(best.max()))
        else:
            best_of_others.append(float(best.max()))
    right, ten, others = np.array(of_ten), np.array(best_of_ten), np.array(best_of_others)
    shares = [((right & (ten >= level)).sum() + (others < level).sum()) for level in GRID]
    most = int(np.argmax(shares))
    return {
        "ten": float(right.mean()),
        "twelve": float(shares[most]) / (len(ten) + len(others)),
        "threshold": round(float(GRID[most]), 2),
        "clips": len(ten) + len(others),
    }


def _best(played: Played, smoothed: NDArray[np.float32], start_s: float, end_s: float) -> NDArray[np.float32]:
    """The highest smoothed score of each command while a clip lasts, or just after."""
    first, last = (
        (second * SAMPLE_RATE_HZ - played.first_sample) / played.row_samples
        for second in (start_s, end_s + AFTER_CLIP_S)
    )
    rows = smoothed[max(0, math.floor(first)) : math.ceil(last) + 1]
    best: NDArray[np.float32] = rows.max(axis=0) if len(rows) else np.zeros(smoothed.shape[1], np.float32)
    return best

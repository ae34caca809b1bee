"""Scenes that the network never learns from, and when to stop because of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import StreamerError
from training.train.settings import TrainSettings

if TYPE_CHECKING:
    from training.train.feed import Rendered


def held_out_scenes(cache: Path, settings: TrainSettings, count: int) -> list[Rendered]:
    """Scenes from the dev split, as hard as training's last ones; the same for every network."""
    import numpy as np

    from training.train.feed import SceneRenderer

    renderer = SceneRenderer(cache, settings, "dev")
    scenes = [renderer.render(settings.rounds, number) for number in range(count)]
    if not scenes:
        raise StreamerError("no held-out scenes", "--scenes must be at least 1")
    return [(np.stack([rows for rows, _ in scenes]), np.stack([codes for _, codes in scenes]))]


def has_labels(cache: Path, split: str = "dev") -> bool:
    """Whether this split holds anything with a label: without it, held-out scenes would tell nothing."""
    from training.data.corpus import Corpus
    from training.labels import LABELS

    return any(mark[0] in LABELS for item in Corpus(cache, split).items for mark in item.marks)


@dataclass(slots=True)
class Patience:
    """How training fares on held-out scenes."""

    limit: int
    """So many judgements in a row without gain are enough; 0: never."""
    best_loss: float = math.inf
    best_round: int = 0
    without_gain: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it is time to stop."""
        return 0 < self.limit <= self.without_gain

    def take(self, loss: float, round_number: int) -> bool:
        """One more judgement; whether it is the best so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_round, self.without_gain = loss, round_number, 0
            return True
        self.without_gain += 1
        return False

    def saved(self) -> dict[str, float]:
        """For the checkpoint; the limit is the settings' own."""
        return {name: value for name, value in asdict(self).items() if name != "limit"}

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
    """Scenes from the dev split, as hard as training's last ones; the same for every network.

    Labels that do not ship are not judged.
    """
    import msgspec
    import numpy as np

    from training.augment.targets import UNSURE
    from training.train.feed import SceneRenderer

    as_heard = msgspec.structs.replace(settings, vary=False, kept_hours=0.0)
    renderer = SceneRenderer(cache, as_heard, "dev")
    scenes = [renderer.render(settings.rounds, number) for number in range(count)]
    if not scenes:
        raise StreamerError("no held-out scenes", "--scenes must be at least 1")
    rows, codes = (np.stack(parts) for parts in zip(*scenes, strict=True))
    codes[..., [not settings.labels.ships(label) for label in settings.labels.names]] = UNSURE
    return [(rows, codes)]


def has_labels(cache: Path, split: str = "dev") -> bool:
    """Whether this split holds anything with a label: without it, held-out scenes would tell nothing."""
    from training.data.corpus import Corpus

    corpus = Corpus(cache, split)
    return any(corpus.labels.ships(mark[0]) for item in corpus.items for mark in item.marks)


@dataclass(slots=True)
class Patience:
    """How training fares on held-out scenes."""

    limit: int
    """So many judgements in a row without gain are enough; 0: never."""
    best_loss: float = math.inf
    best_round: int = 0
    without_gain: int = 0
    last_loss: float = math.inf
    last_round: int = 0
    """0: not judged yet."""

    @property
    def is_over(self) -> bool:
        """Whether it is time to stop."""
        return 0 < self.limit <= self.without_gain

    def take(self, loss: float, round_number: int) -> bool:
        """One more judgement; whether it is the best so far."""
        self.last_loss, self.last_round = loss, round_number
        if loss < self.best_loss:
            self.best_loss, self.best_round, self.without_gain = loss, round_number, 0
            return True
        self.without_gain += 1
        return False

    def saved(self) -> dict[str, float]:
        """For the checkpoint; the limit is the settings' own."""
        return {name: value for name, value in asdict(self).items() if name != "limit"}

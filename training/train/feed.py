"""Scenes rendered by worker processes, handed on in order: the same rounds however many workers there are."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from streamer.audio import F32
from streamer.features.extractor import Extractor
from training.augment.pieces import Shelf
from training.augment.scene import SceneMaker
from training.augment.targets import Codes, at_stride
from training.data.corpus import Corpus
from training.train.settings import TrainSettings

Rendered = tuple[F32, Codes]
"""Feature rows (T, F) and codes (T // stride, L)."""

_worker: dict[str, Any] = {}


class SceneRenderer:
    """Scenes as the network takes them."""

    def __init__(self, cache: Path, settings: TrainSettings, split: str = "train") -> None:
        self._settings = settings
        self._maker = SceneMaker(Shelf(Corpus(cache, split)), settings.scene_s)
        self._extractor = Extractor(settings.features)

    def render(self, round_number: int, stream: int) -> Rendered:
        """One stream's part of a round."""
        hardness = self._settings.hardness(round_number)
        scene = self._maker.make(self._settings.seed, round_number, stream, hardness=hardness)
        self._extractor.reset()
        rows = self._extractor.process(scene.samples)
        kept = len(rows) // self._settings.stride * self._settings.stride
        return rows[:kept], at_stride(scene.codes, self._settings.stride)[: kept // self._settings.stride]


def _start(cache: Path, settings: TrainSettings) -> None:
    _worker["renderer"] = SceneRenderer(cache, settings)


def _render(job: tuple[int, int]) -> Rendered:
    rendered: Rendered = _worker["renderer"].render(*job)
    return rendered


class Feed:
    """Rounds of scenes, rendered ahead."""

    def __init__(self, cache: Path, settings: TrainSettings, workers: int) -> None:
        self._settings = settings
        context = multiprocessing.get_context("forkserver")
        self._pool = context.Pool(workers, _start, (cache, settings))

    def rounds(self, first: int) -> Iterator[Rendered]:
        """Stacked scenes of round after round: (N, T, F) and (N, T // stride, L)."""
        ahead: deque[Any] = deque()
        streams = self._settings.streams
        wanted = first * streams
        while True:
            while len(ahead) < 2 * streams:
                ahead.append(self._pool.apply_async(_render, (divmod(wanted, streams),)))
                wanted += 1
            scenes = [ahead.popleft().get() for _ in range(streams)]
            yield np.stack([rows for rows, _ in scenes]), np.stack([codes for _, codes in scenes])

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.terminate()
        self._pool.join()

"""Scenes rendered by worker processes, handed on in order: the same rounds however many workers there are."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from streamer.audio import F32
from training.augment.rows import RowChanger
from training.augment.targets import Codes, at_stride
from training.train.scenes import Scenes
from training.train.settings import TrainSettings

DRAW = 1
"""Beside seed, round and stream: what is drawn here has nothing to do with what a scene draws."""

Rendered = tuple[F32, Codes]
"""Feature rows (T, F) and codes (T // stride, L)."""

_worker: dict[str, Any] = {}


class SceneRenderer:
    """A round's scenes as the network takes them."""

    def __init__(self, cache: Path, settings: TrainSettings, split: str = "train") -> None:
        self._settings = settings
        self._scenes = Scenes(cache, settings, split)
        self._changer = RowChanger(settings.features) if settings.vary else None

    def render(self, round_number: int, stream: int) -> Rendered:
        """One stream's part of a round."""
        settings = self._settings
        rng = np.random.default_rng((settings.seed, round_number, stream, DRAW))
        rows, codes = self._draw(round_number, stream, rng)
        if self._changer:
            rows, codes = self._changer.change(rows, codes, rng)
        # All streams of a round are equally long, whatever was done to their time.
        wanted = settings.rows_of_a_round * settings.stride
        if len(rows) < wanted:
            repeated = np.arange(wanted) % len(rows)
            rows, codes = rows[repeated], codes[repeated]
        return rows[:wanted], at_stride(codes[:wanted], settings.stride)

    def _draw(self, round_number: int, stream: int, rng: np.random.Generator) -> Rendered:
        settings = self._settings
        hardness = settings.hardness(round_number)
        if not settings.kept_scenes:
            return self._scenes.fresh(round_number, stream, hardness=hardness)
        if rng.random() < hardness:
            return self._scenes.kept(int(rng.integers(settings.kept_scenes)), 1.0)
        return self._scenes.kept(int(rng.integers(settings.kept_easy_scenes)), 0.0)


def _start(cache: Path, settings: TrainSettings, stopping: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; only the learning process answers
    _worker["renderer"], _worker["stopping"] = SceneRenderer(cache, settings), stopping


def _render(job: tuple[int, int]) -> Rendered | None:
    if _worker["stopping"].is_set():
        return None  # nobody waits for it any more
    rendered: Rendered = _worker["renderer"].render(*job)
    return rendered


class Feed:
    """Rounds of scenes, rendered ahead."""

    def __init__(
        self, cache: Path, settings: TrainSettings, workers: int, streams: range | None = None
    ) -> None:
        self._streams = range(settings.streams) if streams is None else streams
        SceneRenderer(cache, settings)  # bad data is told here, not by workers that die one after the other
        context = multiprocessing.get_context("forkserver")
        self._stopping = context.Event()
        self._pool = context.Pool(workers, _start, (cache, settings, self._stopping))

    def rounds(self, first: int) -> Iterator[Rendered]:
        """Stacked scenes of these streams, round after round: (N, T, F) and (N, T // stride, L)."""
        ahead: deque[Any] = deque()
        jobs = ((round_number, stream) for round_number in count(first) for stream in self._streams)
        while True:
            while len(ahead) < 2 * len(self._streams):
                ahead.append(self._pool.apply_async(_render, (next(jobs),)))
            scenes = [ahead.popleft().get() for _ in self._streams]
            yield np.stack([rows for rows, _ in scenes]), np.stack([codes for _, codes in scenes])

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Never terminate: a worker killed while it hands a scene over leaves a lock behind that hangs us.
        self._stopping.set()
        self._pool.close()
        self._pool.join()

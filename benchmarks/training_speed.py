"""How fast the trainer is on this machine, one core for each figure: python benchmarks/training_speed.py

features    the daemon's own, on noise
rendering   scenes of a prepared cache with their features, as one of `train --workers` makes them
learning    the default network on ready scenes, as `train --threads` goes through them
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Before numpy and torch are imported: a figure for one core must not use two.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import msgspec
import numpy as np

from streamer.audio import SAMPLE_RATE_HZ
from streamer.errors import StreamerError
from streamer.features.extractor import Extractor
from training.label_files import cached_labels
from training.train.settings import TrainSettings

FEATURES_S = 600.0


def seconds_of(work: Callable[[], object], times: int) -> float:
    """The median of some runs, after one to warm up."""
    work()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def features(settings: TrainSettings, times: int) -> float:
    """Seconds of sound a second."""
    samples = np.random.default_rng(1).standard_normal(int(FEATURES_S * SAMPLE_RATE_HZ)).astype(np.float32)
    extractor = Extractor(settings.features)

    def work() -> None:
        extractor.reset()
        extractor.process(0.1 * samples)

    return FEATURES_S / seconds_of(work, times)


def rendering(settings: TrainSettings, cache: Path, scenes: int) -> float:
    """Seconds of sound a second, mean over different scenes, all as hard as they get."""
    from training.train.feed import SceneRenderer

    renderer = SceneRenderer(cache, msgspec.structs.replace(settings, labels=cached_labels(cache)))
    renderer.render(settings.rounds, scenes)
    begun = time.perf_counter()
    for number in range(scenes):
        renderer.render(settings.rounds, number)
    return scenes * settings.scene_s / (time.perf_counter() - begun)


def learning(settings: TrainSettings, times: int) -> float:
    """Seconds of sound a second."""
    import torch

    from training.train.loop import Run

    torch.set_num_threads(1)
    rows_of_scene = int(settings.scene_s * 100) // settings.stride * settings.stride
    rng = np.random.default_rng(1)
    shape = (settings.streams, rows_of_scene, settings.features.size)
    rows = rng.standard_normal(shape).astype(np.float32)
    shape = (settings.streams, rows_of_scene // settings.stride, len(settings.labels.names))
    codes = np.zeros(shape, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(settings, Path(folder))
        run.network.train()
        taken_s = seconds_of(lambda: run.play_round(rows, codes), times)
    return settings.streams * settings.scene_s / taken_s


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache/training"), help="what `prepare` made")
    parser.add_argument("--scenes", type=int, default=20, help="scenes to render (default: 20)")
    parser.add_argument("--times", type=int, default=3, help="measurements of the others (default: 3)")
    options = parser.parse_args()
    settings = TrainSettings(scene_s=60.0)
    print(f"{'one core':24}{'times real time':>16}{'hours a minute':>16}")
    tell("features", features(settings, options.times))
    try:
        tell("rendering scenes", rendering(settings, options.cache, options.scenes))
    except StreamerError as error:
        print(f"rendering was left out: {error}", file=sys.stderr)
    tell("learning, bf16", learning(settings, options.times))
    tell("learning, float32", learning(TrainSettings(half_precision=False), options.times))


def tell(what: str, real_times: float) -> None:
    """One line."""
    print(f"{what:24}{real_times:16,.0f}{real_times / 60:16.1f}", flush=True)


if __name__ == "__main__":
    main()

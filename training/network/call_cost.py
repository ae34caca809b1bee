"""What a bundle costs in the daemon's own calls, against a plain LSTM measured in the same minute:

    python -m training.network.call_cost models/default

The plain one is a layer of 128 units over 40 coefficients, a row every 10 ms, 16 labels. Both get some
80 ms of sound a call, one stream, one thread, and take turns; processor time, medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from streamer.errors import StreamerError
from streamer.inference.bundle import Provenance, load_bundle
from streamer.inference.classifier import Classifier
from streamer.inference.model import open_classifier
from training.export.bundle_writer import write_bundle
from training.export.onnx_graph import network_graph, network_state
from training.network.build import build_network
from training.network.specs import make_spec, streaming
from training.train.settings import TrainSettings

FRAMES_A_CALL = 8
CALLS, TURNS = 30, 31


def plain_lstm(folder: Path) -> Classifier:
    """The yardstick, with weights that nobody has trained."""
    settings = TrainSettings()
    spec = make_spec("lstm", inputs=40, outputs=16, stride=1, hidden=128, layers=1, front=0)
    weights = {name: value.numpy() for name, value in build_network(spec).state_dict().items()}
    write_bundle(
        folder,
        name="plain",
        version="0",
        description="",
        labels=[settings.labels.rule(label) for label in settings.labels.names[:16]],
        features=settings.features,
        network=streaming(spec),
        state=network_state(spec),
        files={"onnx": ("model.onnx", network_graph(spec, weights).SerializeToString())},
        provenance=Provenance(data=[], licences=[], git_revision="", trained_utc="", command=""),
        metrics={},
    )
    return open_classifier(load_bundle(folder))


def caller(classifier: Classifier) -> Callable[[], float]:
    """A turn of calls: processor time of one of them, in microseconds, for 80 ms of sound."""
    rng = np.random.default_rng(1)
    frames = max(1, round(FRAMES_A_CALL / classifier.stride)) * classifier.stride
    rows = rng.normal(0, 1, (1, frames, classifier.n_features)).astype(np.float32)

    def turn() -> float:
        state = classifier.initial_state()
        begun_s = time.process_time()
        for _ in range(CALLS):
            _, state = classifier.step(rows, state)
        return 1e6 * (time.process_time() - begun_s) / CALLS * FRAMES_A_CALL / frames

    return turn


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        "python -m training.network.call_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", help="name or folder")
    options = parser.parse_args(arguments)
    try:
        bundle = load_bundle(options.bundle)
        variants = [name for name in ("onnx", "onnx-int8") if name in bundle.manifest.files]
        with tempfile.TemporaryDirectory() as folder:
            turns = {"plain 1 x 128 LSTM": caller(plain_lstm(Path(folder) / "plain"))}
            turns |= {
                f"{bundle.manifest.name}, {name}": caller(open_classifier(bundle, name)) for name in variants
            }
            taken: dict[str, list[float]] = {name: [] for name in turns}
            for _ in range(TURNS):
                for name, turn in turns.items():
                    taken[name].append(turn())
    except StreamerError as error:
        print(f"training: {error}", file=sys.stderr)
        return error.status
    yardstick = statistics.median(next(iter(taken.values())))
    for name, costs in taken.items():
        cost = statistics.median(costs)
        print(f"{name:<24} {cost:7.1f} us for 80 ms of sound, {cost / yardstick:.2f} times the plain one")
    return 0


if __name__ == "__main__":
    sys.exit(main())

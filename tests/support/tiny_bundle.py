"""A small bundle made by hand: its weights are written down here, nothing is trained and nothing is random.

Each label listens to one band of the spectrum and fires while a steady tone in that band stands out of
the rest: `low` (500 Hz) and `mid` (1 kHz) are keywords, `high` (3 kHz) is a sound. Two LSTM layers are used
as they are in a real model, the first as detectors with a little memory, the second as a short integrator.

    python -m tests.support.tiny_bundle FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from safetensors.numpy import save

from streamer.decoding.rules import LabelRule
from streamer.features.mel import mel_weights
from streamer.features.settings import FFT_SIZE, FeatureSettings
from streamer.inference.bundle import Provenance
from streamer.inference.spec import LstmSpec
from training.export.bundle_writer import write_bundle
from training.export.onnx_graph import network_graph, network_state

TONES_HZ = {"low": 500.0, "mid": 1000.0, "high": 3000.0}
RULES = (
    LabelRule(name="low", kind="keyword", threshold=0.5, smoothing_ms=40, refractory_ms=300),
    LabelRule(name="mid", kind="keyword", threshold=0.5, smoothing_ms=40, refractory_ms=300),
    LabelRule(
        name="high",
        kind="sound",
        threshold=0.5,
        smoothing_ms=60,
        min_ms=60,
        release_ms=120,
        refractory_ms=100,
    ),
)
FEATURES = FeatureSettings(kind="log-mel", mel_bins=40, coefficients=None)
STRIDE = 2
HIDDEN = 8

Weights = dict[str, NDArray[np.float32]]


def tone_bin(hz: float, features: FeatureSettings = FEATURES) -> int:
    """The mel band in which a tone of this frequency is strongest."""
    return int(mel_weights(features)[round(hz * FFT_SIZE / 16_000)].argmax())


def tiny_weights(features: FeatureSettings = FEATURES, stride: int = STRIDE) -> Weights:
    """Band minus mean of all bands, through two nearly linear, leaky LSTM layers, to one logit a label."""
    size, labels = features.size, len(TONES_HZ)
    gathered = size * stride
    weights: Weights = {
        "mean": np.full(size, 10.0, np.float32),
        "scale": np.full(size, 0.1, np.float32),
        "lstm.weight_ih_l0": np.zeros((4 * HIDDEN, gathered), np.float32),
        "lstm.weight_ih_l1": np.zeros((4 * HIDDEN, HIDDEN), np.float32),
        "head.weight": np.zeros((labels, HIDDEN), np.float32),
        "head.bias": np.full(labels, -4.0, np.float32),
    }
    for layer in range(2):
        weights[f"lstm.weight_hh_l{layer}"] = np.zeros((4 * HIDDEN, HIDDEN), np.float32)
        weights[f"lstm.bias_ih_l{layer}"] = gates(forget=-1.0 if layer == 0 else 0.0)
        weights[f"lstm.bias_hh_l{layer}"] = np.zeros(4 * HIDDEN, np.float32)
    cell = slice(2 * HIDDEN, 3 * HIDDEN)
    for column, hz in enumerate(TONES_HZ.values()):
        # Against the bands that sound at 8 kHz has too: beyond them it has only the resampler's silence.
        shared = tone_bin(3700.0, features)
        contrast = np.zeros(size)
        contrast[:shared] = -1.0 / shared
        contrast[tone_bin(hz, features)] += 1.0
        weights["lstm.weight_ih_l0"][cell][column] = np.tile(contrast, stride) * 4.0 / stride
        weights["lstm.weight_ih_l1"][cell][column, column] = 2.0
        weights["head.weight"][column, column] = 10.0
    weights["lstm.bias_ih_l0"][cell][: len(TONES_HZ)] = -2.6  # how far a band must stand out
    return weights


def gates(forget: float) -> NDArray[np.float32]:
    """Input and output gates open, the forget gate as given: how much a cell remembers."""
    bias = np.zeros(4 * HIDDEN, np.float32)
    bias[:HIDDEN] = bias[3 * HIDDEN :] = 4.0
    bias[HIDDEN : 2 * HIDDEN] = forget
    return bias


def make_tiny_bundle(
    folder: Path,
    *,
    name: str = "tiny",
    prefix: str = "",
    features: FeatureSettings = FEATURES,
    stride: int = STRIDE,
) -> Path:
    """Write the bundle, or one that hears the same by other names or from other features; its folder."""
    network = LstmSpec(
        inputs=features.size, outputs=len(RULES), stride=stride, front=0, hidden=HIDDEN, layers=2
    )
    weights = tiny_weights(features, stride)
    card = "# tiny\n\nTone detectors with hand-written weights, for tests.\n"
    write_bundle(
        folder,
        name=name,
        version="1",
        description="tone detectors for tests",
        labels=[replace(rule, name=prefix + rule.name) for rule in RULES],
        features=features,
        network=network,
        state=network_state(network),
        files={
            "onnx": ("model.onnx", network_graph(network, weights).SerializeToString()),
            "torch": ("model.safetensors", save(weights)),
            "card": ("README.md", card.encode()),
        },
        provenance=Provenance(
            data=["none"],
            licences=["none"],
            git_revision="",
            trained_utc="",
            command="tests/support/tiny_bundle.py",
        ),
        metrics={},
    )
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print(make_tiny_bundle(parser.parse_args().folder))

"""One small network of each family, with scores that move."""

from __future__ import annotations

import numpy as np

from streamer.audio import F32
from streamer.inference.spec import NetworkSpec
from training.network.specs import make_spec

SHAPES: dict[str, dict[str, int]] = {
    "lstm": {"hidden": 24, "layers": 2, "front": 20},
    "gru": {"hidden": 24, "layers": 3, "front": 0},
    "conv_lstm": {"hidden": 20, "layers": 2, "front": 18, "convolutions": 3, "kernel": 4},
    "conv": {"hidden": 24, "layers": 5, "kernel": 3, "cycle": 3},
    "attention": {"hidden": 24, "layers": 2, "heads": 3, "window": 7, "expand": 3},
}
INPUTS, OUTPUTS, STRIDE = 13, 5, 3


def small(family: str, **changes: int) -> NetworkSpec:
    """A spec in which no two sizes are equal by accident."""
    common = {"inputs": INPUTS, "outputs": OUTPUTS, "stride": STRIDE}
    return make_spec(family, **{**common, **SHAPES.get(family, SHAPES["lstm"]), **changes})


def lively(spec: NetworkSpec, seed: int):  # type: ignore[no-untyped-def]
    """The network with weights as large as trained ones.

    With small ones any two graphs agree, with larger ones the recurrence is chaotic.
    """
    import torch

    from training.network.build import build_network

    torch.manual_seed(seed)
    network = build_network(spec)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn_like(weight), alpha=0.3)
            else:
                weight.normal_(0, (4 if name == "head.weight" else 1.5) / np.sqrt(weight[0].numel()))
            if name.endswith("attention.age"):
                weight.normal_(0, 1)
        network.mean.normal_()
        network.scale.uniform_(0.5, 1.5)
    return network.eval()


def some_rows(rng: np.random.Generator, streams: int, rows: int, spec: NetworkSpec) -> F32:
    """(N, rows * stride, F)."""
    return rng.standard_normal((streams, rows * spec.stride, spec.inputs)).astype(np.float32)


def cuts(rng: np.random.Generator, rows: int, chunks: int) -> list[int]:
    """Lengths in rows that add up, some of them 0."""
    at = np.sort(rng.integers(0, rows + 1, chunks - 3))
    edges = np.sort(np.concatenate(([0, 0], at, at[:1], [rows])))
    return np.diff(edges).tolist()

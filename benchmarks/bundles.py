"""The default model with another number of labels: its last layer, a row for each, taken round and round."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from streamer.inference.bundle import Provenance, load_bundle


def with_labels(count: int, folder: Path) -> Path:
    """The folder of such a bundle; RuntimeError where what writes it is not installed."""
    try:
        from safetensors.numpy import load_file, save

        from training.export.bundle_writer import write_bundle
        from training.export.onnx_graph import network_graph, network_state
    except ImportError as error:
        raise RuntimeError(f"{error}: pip install onnx safetensors") from error
    bundle = load_bundle("default")
    manifest = bundle.manifest
    rows = np.arange(count) % len(manifest.labels)
    weights = load_file(bundle.file("torch"))
    weights |= {name: weights[name][rows].copy() for name in ("head.weight", "head.bias")}
    network = msgspec.structs.replace(manifest.network, outputs=count)
    rules = [manifest.labels[row] for row in rows]
    write_bundle(
        folder / f"labels-{count}",
        name=f"labels-{count}",
        version="0",
        description="the default model's labels, round and round",
        labels=[msgspec.structs.replace(rule, name=f"l{n}_{rule.name}") for n, rule in enumerate(rules)],
        features=manifest.features,
        network=network,
        state=network_state(network),
        files={
            "onnx": ("model.onnx", network_graph(network, weights).SerializeToString()),
            "torch": ("model.safetensors", save(weights)),
        },
        provenance=Provenance(data=[], licences=[], git_revision="", trained_utc="", command=""),
        metrics={},
    )
    return folder / f"labels-{count}"

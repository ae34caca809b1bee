"""A checkpoint becomes a bundle: three variants, all checked before anything is written."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from streamer.audio import F32
from streamer.errors import StreamerError
from streamer.inference.bundle import Bundle, Provenance, load_bundle
from streamer.inference.model import open_classifier
from streamer.inference.network import StreamingNetwork, build_network
from streamer.inference.spec import Network
from training.export.bundle_writer import write_bundle
from training.export.onnx_graph import network_graph, network_state
from training.export.quantise import quantise_weights
from training.labels import LabelSet
from training.network.specs import streaming
from training.report.page import check_judged
from training.train import checkpoint
from training.train.origin import saved_origin
from training.train.settings import TrainSettings

ALLOWED = {"onnx": 1e-4, "torch": 1e-5, "onnx-int8": 0.1}
"""Largest difference of a score from the training network's; int8 weights round some so far."""
ALLOWED_CHUNKING = 1e-5
CHECK_ROWS = 3000


class ExportError(StreamerError):
    """A variant does not compute what was trained; nothing has been written."""


@dataclass(slots=True)
class Wanted:
    """What the bundle says of itself beside the weights."""

    name: str
    version: str
    description: str = ""
    thresholds: dict[str, float] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    """Labels that were trained but do not work well enough to ship."""
    data: list[str] = field(default_factory=list)
    licences: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Further files by role: card, credits, report, page."""


def export(run: Path, folder: Path, wanted: Wanted) -> dict[str, float]:
    """Write the bundle; the largest difference of each variant's scores from the training network's."""
    file = checkpoint.chosen(run)
    settings, saved = checkpoint.load(file)
    origin = saved_origin(settings, saved)
    labels = shipped(settings.labels, wanted).names
    spec, weights = _without(settings, saved["average"], labels)
    network = build_network(spec)
    network.load_state_dict(weights)
    graph = network_graph(spec, {name: value.numpy() for name, value in weights.items()})
    onnx = graph.SerializeToString()
    if "page" in wanted.texts:
        check_judged(wanted.texts["page"][1], hashlib.sha256(onnx).hexdigest())
    contents: dict[str, Any] = {
        "name": wanted.name,
        "version": wanted.version,
        "description": wanted.description,
        "labels": [settings.labels.rule(name, wanted.thresholds.get(name, 0.5)) for name in labels],
        "features": settings.features,
        "network": spec,
        "state": network_state(spec),
        "files": {
            "onnx": ("model.onnx", onnx),
            "onnx-int8": ("model.int8.onnx", quantise_weights(graph).SerializeToString()),
            "torch": ("model.safetensors", safetensors_bytes(weights)),
            **wanted.texts,
        },
        "provenance": Provenance(
            data=wanted.data,
            licences=wanted.licences,
            git_revision=", ".join(origin.revisions),
            trained_utc=datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds"),
            command=origin.commands[-1],
            earlier_commands=origin.commands[:-1],
            settings=origin.settings,
            checkpoint=checkpoint.about(file, saved),
        ),
    }
    with tempfile.TemporaryDirectory() as trial:
        write_bundle(Path(trial) / "trial", metrics={}, **contents)
        differences = check(load_bundle(Path(trial) / "trial"), network.eval())
    write_bundle(folder, metrics={**wanted.metrics, "score_differences": differences}, **contents)
    return differences


def shipped(labels: LabelSet, wanted: Wanted) -> LabelSet:
    """What the bundle tells."""
    unknown = next((name for name in wanted.dropped if name not in labels), None)
    kept = [name for name in labels.shipped if name not in wanted.dropped]
    if unknown or not kept:
        raise StreamerError(
            f"--drop {unknown}: no label of this run" if unknown else "--drop: no label is left",
            f"its labels are {', '.join(labels.shipped)}",
        )
    return labels.only(kept)


def _without(
    settings: TrainSettings, weights: dict[str, Tensor], labels: Sequence[str]
) -> tuple[Network, dict[str, Tensor]]:
    """The network without the head's rows for labels that are not shipped."""
    kept = torch.tensor([settings.labels.column(name) for name in labels])
    lean = {name: value[kept] if name.startswith("head.") else value for name, value in weights.items()}
    return msgspec.structs.replace(streaming(settings.network), outputs=len(labels)), {
        name: value.contiguous() for name, value in lean.items()
    }


def check(bundle: Bundle, network: StreamingNetwork, seed: int = 0) -> dict[str, float]:
    """Largest differences of every variant from the network, over random chunkings; raises if too large."""
    rng = np.random.default_rng(seed)
    spec = bundle.manifest.network
    centre, spread = network.mean.numpy(), 1 / network.scale.numpy()
    noise = rng.standard_normal((1, CHECK_ROWS * spec.stride, spec.inputs)).astype(np.float32)
    # Smoothed in time, because white rows keep a trained network silent.
    rows = np.asarray(centre + spread * 2 * np.apply_along_axis(_smooth, 1, noise), np.float32)
    with torch.inference_mode():
        truth = torch.sigmoid(network(torch.from_numpy(rows), network.initial_state())[0]).numpy()
    found: dict[str, float] = {}
    for variant, allowed in ALLOWED.items():
        whole = _scores(bundle, variant, rows, [len(rows[0]) // spec.stride])
        pieces = _scores(bundle, variant, rows, list(rng.integers(1, 40, CHECK_ROWS)))
        found[variant] = float(np.abs(whole - truth).max())
        found[f"{variant} chunked"] = float(np.abs(whole - pieces).max())
        if found[variant] > allowed or found[f"{variant} chunked"] > ALLOWED_CHUNKING:
            raise ExportError(
                f"{variant}: scores differ by {found[variant]:.2g} from the trained network and by "
                f"{found[f'{variant} chunked']:.2g} between chunkings",
                f"at most {allowed:g} and {ALLOWED_CHUNKING:g} are allowed",
            )
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def _smooth(column: F32) -> F32:
    return np.asarray(np.convolve(column, np.ones(7) / np.sqrt(7), mode="same"), np.float32)


def _scores(bundle: Bundle, variant: str, rows: F32, lengths: list[int]) -> F32:
    classifier = open_classifier(bundle, variant)
    state, at, parts = classifier.initial_state(), 0, []
    for length in lengths:
        scores, state = classifier.step(rows[:, at : at + length * classifier.stride], state)
        parts.append(scores)
        at += length * classifier.stride
    return np.concatenate(parts, axis=1)

"""Every family as the daemon runs it: bundle written and read back, all variants against the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need the `train` extra")
pytest.importorskip("onnx", reason="graphs are written with onnx")

import torch

from streamer.audio import F32
from streamer.decoding.rules import LabelRule
from streamer.errors import BundleError
from streamer.features.settings import FeatureSettings
from streamer.inference.bundle import Bundle, Provenance, load_bundle
from streamer.inference.classifier import split_state, stack_states
from streamer.inference.model import open_classifier
from streamer.inference.network import StreamingNetwork
from streamer.inference.spec import NetworkSpec
from tests.support.chunks import told
from tests.support.networks import SHAPES, cuts, lively, small, some_rows
from training.export.bundle_writer import write_bundle
from training.export.onnx_graph import network_graph, network_state
from training.export.quantise import quantise_weights
from training.network.specs import streaming

AGREE = 1e-5
INT8_AGREES = {"lstm": 0.03, "gru": 0.06, "conv_lstm": 0.15, "conv": 0.15, "attention": 0.15}
"""Largest difference of a score with these random weights, about twice what is measured."""
INT8_AGREES_ON_AVERAGE = 0.02


def write(folder: Path, network: StreamingNetwork) -> Bundle:
    from safetensors.torch import save

    spec = network.spec
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    graph = network_graph(spec, {name: value.numpy() for name, value in weights.items()})
    write_bundle(
        folder,
        name="random",
        version="1",
        description="random weights, for tests",
        labels=[LabelRule(name=f"label{index}", kind="sound") for index in range(spec.outputs)],
        features=FeatureSettings(mel_bins=23, coefficients=13),
        network=streaming(spec),
        state=network_state(spec),
        files={
            "onnx": ("model.onnx", graph.SerializeToString()),
            "onnx-int8": ("model.int8.onnx", quantise_weights(graph).SerializeToString()),
            "torch": ("model.safetensors", save(weights)),
        },
        provenance=Provenance(data=[], licences=[], git_revision="", trained_utc="", command=""),
        metrics={},
    )
    return load_bundle(folder)


def truth(network: StreamingNetwork, rows: F32) -> F32:
    with torch.inference_mode():
        logits, _ = network(torch.from_numpy(rows), network.initial_state(len(rows)))
    return torch.sigmoid(logits).numpy()


def scores_of(bundle: Bundle, variant: str, rows: F32, lengths: list[int]) -> F32:
    classifier = open_classifier(bundle, variant)
    state, parts, at = classifier.initial_state(len(rows)), [], 0
    for length in lengths:
        piece = rows[:, at : at + length * classifier.stride]
        scores, state = classifier.step(piece, state)
        parts.append(scores)
        at += length * classifier.stride
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("streams", [1, 3])
def test_both_backends_give_the_networks_scores_for_any_chunks(
    spec: NetworkSpec, tmp_path: Path, rng: np.random.Generator, streams: int
) -> None:
    network, rows = lively(spec, 11), some_rows(rng, streams, 150, spec)
    bundle = write(tmp_path / "random", network)
    assert bundle.manifest.network == spec
    expected = truth(network, rows)
    assert expected.std() > 0.05
    for variant in ("onnx", "torch"):
        for lengths in ([150], [1] * 150, cuts(rng, 150, 40)):
            scores = scores_of(bundle, variant, rows, lengths)
            np.testing.assert_allclose(scores, expected, atol=AGREE, err_msg=f"{variant} {told(lengths)}")


def test_int8_stays_near_and_any_chunks_agree(
    spec: NetworkSpec, tmp_path: Path, rng: np.random.Generator
) -> None:
    network, rows = lively(spec, 12), some_rows(rng, 2, 200, spec)
    bundle = write(tmp_path / "random", network)
    whole = scores_of(bundle, "onnx-int8", rows, [200])
    errors = np.abs(whole - truth(network, rows))
    print(f"{spec.type}: int8 within {errors.max():.4f}, on average {errors.mean():.4f}")
    assert 1e-6 < errors.max() < INT8_AGREES[spec.type]
    assert errors.mean() < INT8_AGREES_ON_AVERAGE
    pieces = scores_of(bundle, "onnx-int8", rows, cuts(rng, 200, 50))
    np.testing.assert_allclose(pieces, whole, atol=AGREE)


def test_int8_is_much_smaller() -> None:
    for family in SHAPES:
        spec = small(family, hidden=96)
        weights = {name: value.numpy() for name, value in lively(spec, 13).state_dict().items()}
        graph = network_graph(spec, weights)
        sizes = [len(proto.SerializeToString()) for proto in (quantise_weights(graph), graph)]
        assert sizes[0] < 0.45 * sizes[1], f"{family}: {sizes}"


def test_int8_weights_have_a_scale_for_each_unit(spec: NetworkSpec) -> None:
    """One loud unit must not cost the others their precision."""
    from onnx import numpy_helper

    weights = {name: value.numpy() for name, value in lively(spec, 19).state_dict().items()}
    proto = quantise_weights(network_graph(spec, weights))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    rounded = [name for name in values if name.endswith(".int8")]
    assert len(rounded) > spec.layers
    for name in rounded:
        units = values[name].shape[1]
        assert units > 1
        assert values[name.replace(".int8", ".scale")].size == units, name
        assert values[name].min() < -100 or values[name].max() > 100


@pytest.mark.parametrize("variant", ["onnx", "onnx-int8", "torch"])
def test_streams_with_pasts_of_their_own_share_a_call(
    spec: NetworkSpec, tmp_path: Path, rng: np.random.Generator, variant: str
) -> None:
    classifier = open_classifier(write(tmp_path / "random", lively(spec, 14)), variant)
    states = [classifier.step(some_rows(rng, 1, n, spec), classifier.initial_state())[1] for n in (0, 1, 9)]
    rows = some_rows(rng, 3, 12, spec)
    together, after = classifier.step(rows, stack_states(states))
    for n, own in enumerate(split_state(after, 3)):
        alone, own_after = classifier.step(rows[n : n + 1], states[n])
        np.testing.assert_allclose(together[n : n + 1], alone, atol=AGREE)
        for one, other in zip(own, own_after, strict=True):
            np.testing.assert_allclose(one, other, AGREE, AGREE)


def test_state_is_named_and_shaped_as_the_manifest_says(spec: NetworkSpec) -> None:
    weights = {name: value.numpy() for name, value in lively(spec, 15).state_dict().items()}
    graph = network_graph(spec, weights).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    inputs = {name: [size.dim_value for size in shape][1:] for name, shape in shapes.items()}
    assert inputs == {"features": [0, spec.inputs], **{s.name: list(s.shape) for s in network_state(spec)}}
    assert [v.name for v in graph.output] == ["scores", *(f"{s.name}_out" for s in network_state(spec))]


@pytest.mark.parametrize("fill", [0.0, 80.0, -1e6])
def test_scores_stay_finite(spec: NetworkSpec, tmp_path: Path, fill: float) -> None:
    bundle = write(tmp_path / "random", lively(spec, 16))
    rows = np.full((1, 60 * spec.stride, spec.inputs), fill, np.float32)
    for variant in ("onnx", "onnx-int8", "torch"):
        assert np.isfinite(scores_of(bundle, variant, rows, [30, 30])).all(), variant


@pytest.mark.parametrize(
    ("family", "field", "value", "problem"),
    [
        ("attention", "heads", 5, "cannot be shared out among 5 heads"),
        ("attention", "window", 1, "network.window"),
        ("attention", "window", 10**9, "network.window"),
        ("conv", "kernel", 1, "network.kernel"),
        ("conv", "layers", 60_000, "65536 rows"),
        ("conv_lstm", "front", 0, "network.front"),
        ("gru", "cycle", 3, "cycle"),
        ("lstm", "type", "bidirectional", "network.type"),
    ],
)
def test_a_manifest_that_asks_for_the_impossible(
    tmp_path: Path, family: str, field: str, value: object, problem: str
) -> None:
    import json

    folder = tmp_path / "random"
    write(folder, lively(small(family), 17))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["network"][field] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=problem):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("family", "field", "value"), [("attention", "window", 9), ("conv", "kernel", 5), ("gru", "layers", 1)]
)
def test_weights_of_another_shape(tmp_path: Path, family: str, field: str, value: int) -> None:
    import json

    folder = tmp_path / "random"
    write(folder, lively(small(family), 18))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["network"][field] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"files\.torch"):
        open_classifier(load_bundle(folder), "torch")

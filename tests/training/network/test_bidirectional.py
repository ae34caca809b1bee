"""The network for whole clips: it hears what comes later, it tags, and the daemon never gets it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need the `train` extra")
pytest.importorskip("onnx", reason="graphs are written with onnx")

import torch

from streamer.inference.network import build_network as build_for_daemon
from tests.support.networks import lively, small, some_rows
from training.export.export import Wanted, export
from training.export.onnx_graph import network_graph, network_state
from training.label_files import default_labels
from training.network.specs import NotForTheDaemon
from training.train.loop import Run
from training.train.settings import TrainSettings

REASON = r"bidirectional network is not exported.*needs the end of the sound.*has no end; train a causal"


def test_the_end_of_a_clip_tells_about_its_beginning(rng: np.random.Generator) -> None:
    spec = small("bidirectional")
    network, rows = lively(spec, 1), some_rows(rng, 1, 30, spec)
    other = rows.copy()
    other[:, 20 * spec.stride :] += 1
    with torch.inference_mode():
        one, two = (network(torch.from_numpy(some), ())[0] for some in (rows, other))
    assert one.shape == (1, 30, spec.outputs)
    assert (one[:, 0] - two[:, 0]).abs().max() > 1e-6


def test_a_tag_is_a_soft_maximum_over_the_clip(rng: np.random.Generator) -> None:
    spec = small("bidirectional")
    network, rows = lively(spec, 2), torch.from_numpy(some_rows(rng, 4, 25, spec))
    with torch.inference_mode():
        tags, (logits, _) = network.tag(rows), network(rows, ())
    assert tags.shape == (4, spec.outputs)
    assert (tags <= logits.amax(dim=1) + 1e-6).all()
    assert (tags >= logits.mean(dim=1) - 1e-6).all()


def test_no_graph_no_state_and_no_place_in_the_daemon() -> None:
    spec = small("bidirectional")
    with pytest.raises(NotForTheDaemon, match=REASON) as raised:
        network_graph(spec, {})
    assert "\n" not in str(raised.value)
    with pytest.raises(NotForTheDaemon, match=REASON):
        network_state(spec)
    with pytest.raises(TypeError, match="bidirectional"):
        build_for_daemon(spec)


def test_a_run_trains_but_is_not_exported(tmp_path: Path, rng: np.random.Generator) -> None:
    settings = TrainSettings(
        family="bidirectional",
        streams=2,
        hidden=8,
        chunk_rows=20,
        labels=default_labels().only(("yes", "rain")),
    )
    run = Run(settings, tmp_path / "run")
    rows = rng.standard_normal((2, 120, settings.features.size)).astype(np.float32)
    assert np.isfinite(run.play_round(rows, np.zeros((2, 40, 2), np.uint8)))
    run.save()
    with pytest.raises(NotForTheDaemon, match=REASON):
        export(tmp_path / "run", tmp_path / "bundle", Wanted(name="x", version="1", description="x"))
    assert not (tmp_path / "bundle").exists()

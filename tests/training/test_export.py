"""Export: what is written is what was trained, in all variants, or nothing is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the trainer needs the `train` extra")

import torch

from streamer.inference.bundle import load_bundle
from streamer.inference.model import open_classifier
from training.export import export as export_module
from training.export.card import bundle_texts
from training.export.export import ExportError, Wanted, export
from training.train.loop import Run
from training.train.settings import TrainSettings

SETTINGS = TrainSettings(streams=2, hidden=24, front=24)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a network with lively scores."""
    folder = tmp_path_factory.mktemp("run")
    run = Run(SETTINGS, folder)
    rng = np.random.default_rng(3)
    for weight in run.average.weights.values():
        if weight.ndim == 2:
            weight.add_(torch.from_numpy(rng.normal(0, 0.3, tuple(weight.shape)).astype(np.float32)))
    run.average.weights["head.bias"].zero_()
    run.save()
    return folder


def wanted(**changes: object) -> Wanted:
    return Wanted(name="toy", version="1", description="a toy", **changes)  # type: ignore[arg-type]


def test_all_variants_run_and_agree(run_folder: Path, tmp_path: Path) -> None:
    differences = export(run_folder, tmp_path / "toy", wanted(thresholds={"yes": 0.7}))
    bundle = load_bundle(tmp_path / "toy")
    assert bundle.label_names == list(SETTINGS.labels.shipped)
    assert bundle.manifest.labels[0].threshold == 0.7
    rows = np.random.default_rng(1).standard_normal((1, 60, 40)).astype(np.float32)
    scores = {}
    for variant in ("onnx", "onnx-int8", "torch"):
        classifier = open_classifier(bundle, variant)
        scores[variant], _ = classifier.step(rows, classifier.initial_state())
    assert scores["onnx"].std() > 0.01
    np.testing.assert_allclose(scores["onnx"], scores["torch"], atol=1e-5)
    np.testing.assert_allclose(scores["onnx"], scores["onnx-int8"], atol=0.1)
    assert not np.array_equal(scores["onnx"], scores["onnx-int8"])
    assert differences["onnx chunked"] <= 1e-5


def test_int8_is_much_smaller(run_folder: Path, tmp_path: Path) -> None:
    export(run_folder, tmp_path / "toy", wanted())
    bundle = load_bundle(tmp_path / "toy")
    assert bundle.file("onnx-int8").stat().st_size < 0.45 * bundle.file("onnx").stat().st_size


def test_dropped_labels_leave_the_other_scores_as_they_were(run_folder: Path, tmp_path: Path) -> None:
    export(run_folder, tmp_path / "all", wanted())
    export(run_folder, tmp_path / "few", wanted(dropped=("no", "rain")))
    rows = np.random.default_rng(1).standard_normal((1, 30, 40)).astype(np.float32)
    scores = {}
    for name in ("all", "few"):
        bundle = load_bundle(tmp_path / name)
        classifier = open_classifier(bundle)
        values, _ = classifier.step(rows, classifier.initial_state())
        scores[name] = dict(zip(bundle.label_names, values[0].T, strict=True))
    assert set(scores["all"]) - set(scores["few"]) == {"no", "rain"}
    for label, column in scores["few"].items():
        np.testing.assert_allclose(column, scores["all"][label], atol=1e-6)


def test_a_graph_that_differs_is_not_written(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = export_module.network_graph

    def wrong(spec, values):  # type: ignore[no-untyped-def]
        return real(spec, {**values, "head.bias": values["head.bias"] + 0.5})

    monkeypatch.setattr(export_module, "network_graph", wrong)
    with pytest.raises(ExportError, match="onnx: scores differ"):
        export(run_folder, tmp_path / "toy", wanted())
    assert not (tmp_path / "toy").exists()


def test_the_card_names_data_licences_and_labels(run_folder: Path, toy_cache: Path, tmp_path: Path) -> None:
    bundle_wanted = wanted(dropped=("rain",))
    bundle_texts(bundle_wanted, toy_cache, run_folder, {}, "Made for a test.")
    export(run_folder, tmp_path / "toy", bundle_wanted)
    bundle = load_bundle(tmp_path / "toy")
    card = bundle.file("card").read_text()
    assert "Made for a test." in card
    assert "| toy | 12 | CC0 |" in card
    assert "rain" not in card.split("network:")[0]
    assert bundle.manifest.provenance.licences == ["CC0"]

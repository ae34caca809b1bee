"""The demo scene and the default model belong together: what is in the one, the other reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.audio import SAMPLE_RATE_HZ, Chunk
from streamer.decoding.decoder import Detection
from streamer.inference.model import open_model
from streamer.pipeline import StreamPipeline, advance

ROOT = Path(__file__).resolve().parents[2]
SCENE, TRUTH = (ROOT / "streamer" / "assets" / name for name in ("demo.ogg", "demo.json"))
DEFAULT = ROOT / "models" / "default"

Events = list[tuple[str, float, float]]


def heard(variant: str, samples: np.ndarray, piece: int = SAMPLE_RATE_HZ) -> list[Detection]:
    model = open_model(DEFAULT, variant)
    manifest = model.bundle.manifest
    stream = StreamPipeline(model.classifier, manifest.features, manifest.labels, SAMPLE_RATE_HZ, 80)
    found: list[Detection] = []
    for first in range(0, len(samples), piece):
        stream.feed(Chunk(samples[first : first + piece], first, 0.0))
        advance(model.classifier, [stream])
        found += stream.take_output().detections
    stream.end()
    advance(model.classifier, [stream])
    return found + stream.take_output().detections


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    sound, rate_hz = soundfile.read(SCENE, dtype="float32")
    assert rate_hz == SAMPLE_RATE_HZ
    return sound


@pytest.fixture(scope="module")
def truth() -> Events:
    return [(event["label"], event["onset_s"], event["offset_s"]) for event in json.loads(TRUTH.read_text())]


def test_the_scene_is_small_and_shows_what_the_product_does(samples: np.ndarray, truth: Events) -> None:
    assert SCENE.stat().st_size < 500_000
    assert 25 <= len(samples) / SAMPLE_RATE_HZ <= 40
    labels = {label for label, _, _ in truth}
    kinds = {rule.name: rule.kind for rule in open_model(DEFAULT).bundle.manifest.labels}
    assert {"computer", "jarvis"} <= labels
    assert sum(kinds[label] == "keyword" for label in labels) >= 6
    assert sum(kinds[label] == "sound" for label in labels) >= 2


@pytest.mark.parametrize("variant", ["onnx", "onnx-int8", "torch"])
def test_the_default_model_reports_exactly_what_is_in_it(
    variant: str, samples: np.ndarray, truth: Events
) -> None:
    if variant == "torch":
        pytest.importorskip("torch", reason="the Torch variant needs the `torch` extra")
    found = heard(variant, samples)
    begun = [(d.label, d.onset_sample / SAMPLE_RATE_HZ) for d in found if d.phase != "end"]
    assert [label for label, _ in begun] == [label for label, _, _ in truth]
    for (label, at_s), (_, onset_s, offset_s) in zip(begun, truth, strict=True):
        assert onset_s < at_s < offset_s + 0.3, label
    ended = {d.label: d.offset_sample / SAMPLE_RATE_HZ for d in found if d.phase == "end" and d.offset_sample}
    for label, offset_s in ((name, offset) for name, _, offset in truth if name in ended):
        assert ended[label] == pytest.approx(offset_s, abs=2.0), label


def test_no_chunking_changes_an_event(samples: np.ndarray) -> None:
    assert heard("onnx", samples, 1_237) == heard("onnx", samples, len(samples))

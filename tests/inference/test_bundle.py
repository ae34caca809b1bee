"""A bundle's claims are checked: each fault is one line that names the file and the field."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.errors import EXIT_BUNDLE, BundleError, ConfigError
from streamer.inference.bundle import find_bundle, list_bundles, load_bundle
from streamer.inference.model import open_classifier, open_model
from tests.support.tiny_bundle import RULES

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle, to be spoilt."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "spoilt"))


def edit_manifest(folder: Path, edit: Edit) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def replace_file(folder: Path, role: str, content: bytes) -> None:
    """Another content, with the hash that belongs to it."""

    def edit(manifest: dict[str, Any]) -> None:
        entry = manifest["files"][role]
        (folder / entry["path"]).write_bytes(content)
        entry["sha256"] = hashlib.sha256(content).hexdigest()

    edit_manifest(folder, edit)


def fault_of(folder: Path, variant: str = "onnx") -> str:
    """The fault's one line."""
    with pytest.raises(BundleError) as caught:
        open_model(folder, variant)
    line = str(caught.value)
    assert caught.value.status == EXIT_BUNDLE
    assert "\n" not in line.strip()
    return line


def put(*place: Any) -> Edit:
    """An edit that sets what lies at the place named by all but the last argument."""

    def edit(manifest: Any) -> None:
        for step in place[:-2]:
            manifest = manifest[step]
        manifest[place[-2]] = place[-1]

    return edit


def drop(*place: Any) -> Edit:
    """An edit that takes away what lies at the place."""

    def edit(manifest: Any) -> None:
        for step in place[:-1]:
            manifest = manifest[step]
        del manifest[place[-1]]

    return edit


def test_the_tiny_bundle_is_sound(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert bundle.label_names == ["low", "mid", "high"] == open_model(str(tiny_bundle)).labels
    assert bundle.manifest.labels == list(RULES)
    assert bundle.file("onnx") == tiny_bundle / "model.onnx"


MANIFEST_FAULTS: dict[str, tuple[Edit, list[str]]] = {
    "a label twice": (put("labels", 2, "name", "low"), ["labels[2].name", "'low'", "twice"]),
    "no labels": (put("labels", []), ["labels"]),
    "a label with a dot": (put("labels", 0, "name", "a.b"), ["labels[0].name"]),
    "a label with a blank": (put("labels", 0, "name", "a b"), ["labels[0].name"]),
    "a label with a line break": (put("labels", 0, "name", "low\n"), ["labels[0].name"]),
    "an empty label": (put("labels", 0, "name", ""), ["labels[0].name"]),
    "an unknown kind": (put("labels", 0, "kind", "noise"), ["labels[0].kind"]),
    "threshold too high": (put("labels", 1, "threshold", 1.5), ["labels[1].threshold"]),
    "threshold 0": (put("labels", 1, "threshold", 0), ["labels[1].threshold"]),
    "threshold a text": (put("labels", 1, "threshold", "0.5"), ["labels[1].threshold"]),
    "ends above its start": (put("labels", 1, "end_threshold", 0.9), ["labels[1]", "end_threshold"]),
    "an unknown setting of a label": (put("labels", 0, "treshold", 0.5), ["labels[0]", "treshold"]),
    "a time below zero": (put("labels", 0, "min_ms", -1), ["labels[0].min_ms"]),
    "unknown format": (put("format", 2), ["format", "2", "reads format 1"]),
    "format a text": (put("format", "1"), ["format"]),
    "format true": (put("format", True), ["format"]),
    "no format": (drop("format"), ["format"]),
    "no labels at all": (drop("labels"), ["labels", "missing"]),
    "no provenance": (drop("provenance"), ["provenance", "missing"]),
    "no licences": (drop("provenance", "licences"), ["provenance.licences", "missing"]),
    "no hash of the features": (drop("features_sha256"), ["features_sha256", "missing"]),
    "no hidden": (drop("network", "hidden"), ["network.hidden", "missing"]),
    "an unknown field": (put("colour", "red"), ["colour"]),
    "an unknown feature": (put("features", "dither", 1.0), ["features", "dither"]),
    "illegal features": (put("features", "mel_bins", 500), ["features.mel_bins"]),
    "features that do not go together": (put("features", "coefficients", 13), ["features", "coefficients"]),
    "wrong hash of the features": (put("features_sha256", "0" * 64), ["features_sha256", "other features"]),
    "other features": (put("features", "low_hz", 30.0), ["features_sha256", "other features"]),
    "a name that is none": (put("name", "../tiny"), ["name"]),
    "a name that is a number": (put("name", 5), ["name"]),
    "inputs that are not the features": (put("network", "inputs", 41), ["network.inputs", "41", "40"]),
    "outputs that are not the labels": (put("network", "outputs", 4), ["network.outputs", "4", "3"]),
    "one label too few": (drop("labels", 2), ["network.outputs"]),
    "stride 0": (put("network", "stride", 0), ["network.stride"]),
    "a stride that would need a petabyte": (put("network", "stride", 10**13), ["network.stride"]),
    "another stride": (put("network", "stride", 4), ["network.stride"]),
    "a stride that does not divide": (put("network", "stride", 3), ["files.onnx"]),
    "path out of the bundle": (put("files", "onnx", "path", "../spoilt/model.onnx"), ["files", "path"]),
    "absolute path": (put("files", "onnx", "path", "/etc/passwd"), ["files", "path"]),
    "path of a hidden file": (put("files", "onnx", "path", ".model.onnx"), ["files", "path"]),
    "path in a folder": (put("files", "onnx", "path", "a/model.onnx"), ["files", "path"]),
    "path with a line break": (put("files", "onnx", "path", "model.onnx\n"), ["files", "path"]),
    "path to nothing": (put("files", "card", "path", "CARD.md"), ["CARD.md", "files.card", "missing"]),
    "a hash that is none": (put("files", "card", "sha256", "abc"), ["files", "sha256"]),
    "wrong hash of the graph": (
        put("files", "onnx", "sha256", "0" * 64),
        ["model.onnx", "files.onnx.sha256"],
    ),
    "wrong hash of the card": (put("files", "card", "sha256", "0" * 64), ["README.md", "files.card.sha256"]),
    "no graph": (drop("files", "onnx"), ["files.onnx", "missing"]),
    "no files": (put("files", {}), ["files.onnx", "missing"]),
    "a state that the graph lacks": (put("state", 0, "name", "z"), ["state", "'z'"]),
    "one state too many": (lambda m: m["state"].append({"name": "z", "shape": [1]}), ["state", "'z'"]),
    "one state too few": (drop("state", 1), ["files.onnx", "c"]),
    "a state of another shape": (put("state", 0, "shape", [2, 9]), ["files.onnx"]),
    "a state of no shape": (put("state", 0, "shape", [0]), ["state[0].shape"]),
    "a state beyond all memory": (put("state", 0, "shape", [10**13]), ["state[0].shape"]),
    "a state of terabytes": (put("state", 0, "shape", [50_000] * 3), ["files.onnx"]),
    "a hash of the features that is none": (put("features_sha256", "abc"), ["features_sha256"]),
    "a number beyond all numbers": (put("network", "hidden", 10**40), ["network.hidden"]),
}


@pytest.mark.parametrize(("edit", "words"), MANIFEST_FAULTS.values(), ids=MANIFEST_FAULTS)
def test_a_manifest_with(
    folder: Path, edit: Edit, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    edit_manifest(folder, edit)
    line = fault_of(folder)
    assert line.startswith(f"{folder}/"), line
    missing = [word for word in words if word not in line.removeprefix(str(folder))]
    assert not missing, f"{missing} not in: {line}"
    assert capfd.readouterr().err == "", "onnxruntime wrote to standard error behind our back"


NOT_A_MANIFEST = {
    "nothing": b"",
    "no JSON": b"labels: [yes]",
    "half": b'{"format": 1, "name": "ti',
    "a list": b"[1, 2]",
    "a number": b"1",
    "null": b"null",
    "not UTF-8": b'{"format": 1, "name": "\xff\xfe"}',
    "UTF-16": '{"format": 1}'.encode("utf-16"),
    "deep": b"[" * 200_000,
    "deep and closed": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "bytes": bytes(range(256)) * 10,
    "NaN": b'{"format": NaN}',
}


@pytest.mark.parametrize("content", NOT_A_MANIFEST.values(), ids=NOT_A_MANIFEST)
def test_a_manifest_that_is(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    assert "manifest.json: " in fault_of(folder)


@pytest.mark.parametrize("file", ["model.onnx", "model.safetensors", "README.md"])
def test_each_missing_file(folder: Path, file: str) -> None:
    (folder / file).unlink()
    line = fault_of(folder)
    assert line.startswith(f"{folder / file}: files.")
    assert "missing" in line


@pytest.mark.parametrize("file", ["model.onnx", "README.md", "manifest.json"])
def test_a_folder_where_a_file_should_be(folder: Path, file: str) -> None:
    (folder / file).unlink()
    (folder / file).mkdir()
    assert str(folder) in fault_of(folder)


def test_a_missing_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    assert "no manifest.json there" in fault_of(folder)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\x08\x08\x12\x00", bytes(5000)], ids=["empty", "text", "stub", "zeros"]
)
def test_a_graph_that_is_none(folder: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    replace_file(folder, "onnx", content)
    line = fault_of(folder)
    assert line.startswith(f"{folder / 'model.onnx'}: files.onnx"), line
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_graph_that_is_cut_off(folder: Path, share: float) -> None:
    whole = (folder / "model.onnx").read_bytes()
    replace_file(folder, "onnx", whole[: int(len(whole) * share)])
    assert "files.onnx" in fault_of(folder)


def test_a_graph_with_other_scores_than_labels(folder: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["labels"].append({"name": "fourth", "kind": "sound"})
        manifest["network"]["outputs"] = 4

    edit_manifest(folder, edit)
    line = fault_of(folder)
    assert "labels: 4, but the graph gives 3" in line


def test_a_variant_that_the_bundle_lacks(tiny_bundle: Path) -> None:
    line = fault_of(tiny_bundle, "onnx-int8")
    assert "files.onnx-int8" in line
    assert "card, onnx, torch" in line


def test_an_unknown_variant(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.variant.*onnx, onnx-int8, torch"):
        open_classifier(load_bundle(tiny_bundle), "tensorflow")


TORCH_FAULTS: dict[str, tuple[Edit, str]] = {
    "another width": (put("network", "hidden", 9), "files.torch"),
    "a width beyond all memory": (put("network", "hidden", 10**9), "network.hidden"),
    "a width of gigabytes": (put("network", "hidden", 30_000), "files.torch"),
    "another depth": (put("network", "layers", 3), "files.torch"),
    "a front that is not there": (put("network", "front", 4), "files.torch"),
    "an unknown type": (put("network", "type", "transformer"), "network.type"),
}


@pytest.mark.parametrize(("edit", "field"), TORCH_FAULTS.values(), ids=TORCH_FAULTS)
def test_a_torch_variant_with(folder: Path, edit: Edit, field: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    edit_manifest(folder, edit)
    assert field in fault_of(folder, "torch")


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", b"\xff" * 100]
)
def test_torch_weights_that_are_none(folder: Path, content: bytes) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    replace_file(folder, "torch", content)
    assert "files.torch" in fault_of(folder, "torch")


# --- Finding a bundle


def test_by_name_through_the_environment(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_MODELS", f"/nowhere:{tiny_bundle.parent}")
    assert find_bundle("tiny") == tiny_bundle
    assert list_bundles()["tiny"] == tiny_bundle
    assert open_model("tiny").name == "tiny"


def test_the_first_folder_wins(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Path(shutil.copytree(tiny_bundle, tmp_path / "models" / "tiny"))
    monkeypatch.setenv("STREAMER_MODELS", f"{other.parent}:{tiny_bundle.parent}")
    assert find_bundle("tiny") == other


@pytest.mark.parametrize("name", ["unheard-of", "", "a/b", "tiny/", "x" * 5000, "nul\0"])
def test_an_unknown_name_lists_what_there_is(
    tiny_bundle: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMER_MODELS", str(tiny_bundle.parent))
    with pytest.raises(BundleError, match=r"no manifest\.json there.*found by name:.*tiny.*STREAMER_MODELS"):
        find_bundle(name)


# --- Anything at all


def flipped(rng: np.random.Generator, content: bytes, flips: int) -> bytes:
    spoilt = bytearray(content)
    for at in rng.integers(0, len(spoilt), flips):
        spoilt[at] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def opens_or_says_why(folder: Path, variant: str, what: str) -> None:
    """Opens, since not every bit is vital, or raises BundleError with one line; anything else fails."""
    try:
        model = open_model(folder, variant)
    except BundleError as error:
        said = str(error)
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__} instead of BundleError: {error}") from error
    else:
        assert len(model.labels) == model.classifier.n_labels
        return
    assert "\n" not in said.strip(), f"{what}: more than a line: {said}"


@pytest.mark.parametrize("variant", ["onnx", "torch"])
def test_random_bits_of_the_manifest(folder: Path, rng: np.random.Generator, variant: str) -> None:
    if variant == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    path = folder / "manifest.json"
    whole = path.read_bytes()
    for attempt in range(250):
        path.write_bytes(flipped(rng, whole, 1 + attempt % 3))
        opens_or_says_why(folder, variant, f"flip {attempt} of the manifest")


@pytest.mark.parametrize(("role", "variant"), [("onnx", "onnx"), ("torch", "torch")])
def test_random_bits_of_the_model(folder: Path, rng: np.random.Generator, role: str, variant: str) -> None:
    """Found by the hash; and where the hash was made to fit, by what reads the file."""
    if variant == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    path = load_bundle(folder).file(role)
    whole = path.read_bytes()
    for attempt in range(100):
        spoilt = flipped(rng, whole, 1)
        path.write_bytes(spoilt)
        assert f"files.{role}.sha256" in fault_of(folder, variant)
        # The weights are most of the file and any weight is legal; the head and the tail are the structure.
        head, tail = whole[:400], whole[-400:]
        spoilt = flipped(rng, head, 2) + whole[400:-400] + (flipped(rng, tail, 2) if role == "onnx" else tail)
        replace_file(folder, role, spoilt)
        opens_or_says_why(folder, variant, f"flip {attempt} of {path.name}")
        replace_file(folder, role, whole)


def test_random_values_in_the_manifest(folder: Path, rng: np.random.Generator) -> None:
    """Any value of another type or size, anywhere."""
    odd = [
        None,
        True,
        -1,
        0,
        2**31,
        2**63,
        10**30,
        1e308,
        -0.5,
        "",
        "x",
        "../x",
        "\n",
        [],
        [[]],
        {},
        {"a": 1},
    ]
    path = folder / "manifest.json"
    whole = path.read_bytes()
    for attempt in range(250):
        node = manifest = json.loads(whole)
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = keys[int(rng.integers(len(keys)))]
            if not isinstance(node[key], dict | list) or not node[key] or rng.random() < 0.2:
                break
            node = node[key]
        before, node[key] = node[key], odd[int(rng.integers(len(odd)))]
        path.write_text(json.dumps(manifest))
        opens_or_says_why(
            folder, "onnx", f"attempt {attempt}: {key} = {node[key]!r} instead of {str(before)[:40]}"
        )

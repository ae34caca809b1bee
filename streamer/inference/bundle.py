"""A model bundle: a folder with a manifest that says what the model is, and hashes that prove it."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from streamer.decoding.rules import LabelRule
from streamer.errors import BundleError
from streamer.features.settings import FeatureSettings
from streamer.inference.spec import Network, StateSpec
from streamer.names import NAME_PATTERN

FORMAT = 1
MANIFEST = "manifest.json"
DEFAULT_BUNDLE = "default"

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the bundle and what it must hash to."""

    path: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
    sha256: Sha256


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model comes from."""

    data: list[str]
    licences: list[str]
    git_revision: str
    trained_utc: str
    command: str
    earlier_commands: list[str] = []
    """What made the weights that `command` began with, earliest first."""
    settings: dict[str, Any] = {}
    """All that was not as in the trainer's reference run, what no option can change as well."""
    checkpoint: str = ""
    """Which of the run's weights these are."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything the daemon needs to know of a model."""

    format: int
    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
    version: str
    description: str
    labels: Annotated[list[LabelRule], msgspec.Meta(min_length=1)]
    features: FeatureSettings
    features_sha256: Sha256
    network: Network
    state: list[StateSpec]
    files: dict[str, FileEntry]
    provenance: Provenance
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle: its folder and its manifest."""

    folder: Path
    manifest: Manifest
    sha256: str
    """Of the manifest, and by the hashes in it of all that the bundle is."""

    @property
    def label_names(self) -> list[str]:
        """Labels in the order of the score columns."""
        return [rule.name for rule in self.manifest.labels]

    def file(self, role: str) -> Path:
        """The file that plays a role ("onnx", "onnx-int8", "torch", "card", "report", "page")."""
        entry = self.manifest.files.get(role)
        if entry is None:
            have = ", ".join(sorted(self.manifest.files))
            raise fault(self.folder, f"files.{role}", f"the bundle has no such variant, only {have}")
        return self.folder / entry.path


def fault(folder: Path, field: str, problem: str, file: str = MANIFEST) -> BundleError:
    """One line that names the file and the field."""
    return BundleError(f"{folder / file}: {field}: {problem}")


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Find a bundle and check every claim that its manifest makes about itself."""
    folder = find_bundle(name_or_path)
    content = _read_manifest(folder)
    manifest = _parse_manifest(folder, content)
    _check_labels(folder, manifest)
    _check_features(folder, manifest)
    _check_network(folder, manifest)
    for role, entry in manifest.files.items():
        _check_file(folder, role, entry)
    if "onnx" not in manifest.files:
        raise fault(folder, "files.onnx", "missing: every bundle has the float32 graph")
    return Bundle(folder, manifest, hashlib.sha256(content).hexdigest())


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}") from error


def _parse_manifest(folder: Path, content: bytes) -> Manifest:
    try:
        raw = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise fault(folder, "(whole file)", f"not JSON: {error}") from error
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT:
        raise fault(folder, "format", f"{version!r} is unknown, this streamer reads format {FORMAT}")
    try:
        return msgspec.convert(raw, Manifest)
    except msgspec.ValidationError as error:
        raise fault(folder, *_place_and_problem(str(error))) from error


def _place_and_problem(text: str) -> tuple[str, str]:
    """msgspec's "problem - at `$.place`" the other way round."""
    found = re.fullmatch(r"(?s)(.*?)(?: - at `\$\.?(.*)`)?", text)
    problem, place = found.groups() if found else (text, None)
    missing = re.search(r"required field `(\w+)`", problem)
    if missing:
        return ".".join(part for part in (place, missing[1]) if part), "missing"
    return place or "(whole file)", problem


def _check_labels(folder: Path, manifest: Manifest) -> None:
    seen: set[str] = set()
    for index, rule in enumerate(manifest.labels):
        if rule.name in seen:
            raise fault(folder, f"labels[{index}].name", f"{rule.name!r} stands there twice")
        seen.add(rule.name)


def _check_features(folder: Path, manifest: Manifest) -> None:
    if manifest.features_sha256 != manifest.features.sha256:
        raise fault(
            folder,
            "features_sha256",
            f"{manifest.features_sha256[:12]}... is not what these feature settings hash to here "
            f"({manifest.features.sha256[:12]}...): the model was made with other features",
        )


def _check_network(folder: Path, manifest: Manifest) -> None:
    network = manifest.network
    for field, claimed, real in (
        ("network.inputs", network.inputs, manifest.features.size),
        ("network.outputs", network.outputs, len(manifest.labels)),
    ):
        if claimed != real:
            raise fault(folder, field, f"{claimed}, but the features or labels make it {real}")


def _check_file(folder: Path, role: str, entry: FileEntry) -> None:
    try:
        with (folder / entry.path).open("rb") as file:
            real = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise fault(folder, f"files.{role}", "the file is missing", entry.path) from None
    except OSError as error:
        raise fault(folder, f"files.{role}", error.strerror or str(error), entry.path) from error
    if real != entry.sha256:
        raise fault(
            folder,
            f"files.{role}.sha256",
            f"wrong hash: {real[:12]}... instead of {entry.sha256[:12]}...",
            entry.path,
        )


def model_folders() -> list[Path]:
    """Where bundles are looked for by name, first match wins."""
    given = [Path(part) for part in os.environ.get("STREAMER_MODELS", "").split(os.pathsep) if part]
    package = Path(__file__).resolve().parent.parent
    # An installed wheel carries its models inside the package; a checkout has them beside it.
    return [*given, package / "_models", package.parent / "models"]


def list_bundles() -> dict[str, Path]:
    """Every bundle that can be named, by name."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
            found.setdefault(manifest.parent.name, manifest.parent)
    return found


def find_bundle(name_or_path: str | Path) -> Path:
    """The folder of a bundle given by name or by path."""
    if _holds_manifest(Path(name_or_path)):
        return Path(name_or_path)
    bundles = list_bundles()
    if str(name_or_path) in bundles:
        return bundles[str(name_or_path)]
    have = ", ".join(bundles) or "none"
    raise BundleError(
        f"{name_or_path}: no {MANIFEST} there, and no bundle of that name",
        f"bundles found by name: {have}; add folders with STREAMER_MODELS",
    )


def _holds_manifest(folder: Path) -> bool:
    try:
        return (folder / MANIFEST).is_file()
    except OSError:  # no path at all, for instance far too long
        return False

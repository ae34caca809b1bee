"""Writes a bundle: the files first, then the manifest with their hashes, at once or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from streamer.decoding.rules import LabelRule
from streamer.features.settings import FeatureSettings
from streamer.inference.bundle import (
    FORMAT,
    MANIFEST,
    FileEntry,
    Manifest,
    Provenance,
    load_bundle,
)
from streamer.inference.spec import Network, StateSpec


def write_bundle(
    folder: Path,
    *,
    name: str,
    version: str,
    description: str,
    labels: Sequence[LabelRule],
    features: FeatureSettings,
    network: Network,
    state: Sequence[StateSpec],
    files: Mapping[str, tuple[str, bytes]],
    provenance: Provenance,
    metrics: Mapping[str, Any],
) -> None:
    """Write {role: (file name, content)} and the manifest; the folder appears whole or stays as it was."""
    manifest = Manifest(
        format=FORMAT,
        name=name,
        version=version,
        description=description,
        labels=list(labels),
        features=features,
        features_sha256=features.sha256,
        network=network,
        state=list(state),
        files={
            r: FileEntry(path, hashlib.sha256(content).hexdigest()) for r, (path, content) in files.items()
        },
        provenance=provenance,
        metrics=dict(metrics),
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for path, content in files.values():
            (fresh / path).write_bytes(content)
        (fresh / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        load_bundle(fresh)
        _put_in_place(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _put_in_place(fresh: Path, folder: Path) -> None:
    os.chmod(fresh, 0o755)
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        os.rename(folder, old / folder.name)
        os.rename(fresh, folder)
        shutil.rmtree(old)
    else:
        os.rename(fresh, folder)

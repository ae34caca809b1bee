"""Scenes as feature rows, rendered once and kept on disk: to play one again costs a tenth of rendering it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from pathlib import Path

import msgspec
import numpy as np

from streamer.audio import F32
from streamer.errors import StreamerError
from streamer.features.extractor import Extractor
from training.augment.pieces import Shelf
from training.augment.rooms import simulated_rooms
from training.augment.scene import SceneMaker
from training.augment.targets import UNSURE, YES, Codes
from training.data.blocks import read_index
from training.data.corpus import Corpus
from training.label_files import check_same
from training.train.settings import TrainSettings

VERSION = 2
"""Raised when the same settings would give other scenes."""


class Scenes:
    """Scenes of one split by their number; the same number gives the same scene."""

    def __init__(self, cache: Path, settings: TrainSettings, split: str = "train") -> None:
        check_same(cache, settings.labels)
        self._settings = settings
        rooms = simulated_rooms(cache, settings.rooms)
        self._maker = SceneMaker(Shelf(Corpus(cache, split)), settings.scene_s, rooms)
        self._extractor = Extractor(settings.features)
        self._folder = cache / "scenes" / _key(cache, settings, split)

    def kept(self, number: int, hardness: float) -> tuple[F32, Codes]:
        """Rows (T, F) and codes (T, L) of a scene that will be wanted again: rendered at most once."""
        path = self._folder / f"{hardness:g}-{number:06d}.npz"
        found = _read(path, len(self._settings.labels.names))
        if found is None:
            rows, codes = self.fresh(number, hardness=hardness)
            _write(path, rows, codes)
            found = rows.astype(np.float16).astype(np.float32), codes  # what the next one will read
        return found

    def fresh(self, *number: int, hardness: float) -> tuple[F32, Codes]:
        """The same of a scene that nobody will ask for again."""
        scene = self._maker.make(self._settings.seed, *number, hardness=hardness)
        self._extractor.reset()
        rows = self._extractor.process(scene.samples)
        return rows, scene.codes[: len(rows)]


def _key(cache: Path, settings: TrainSettings, split: str) -> str:
    """Names everything that a scene depends on."""
    parts = (
        VERSION,
        split,
        settings.seed,
        settings.scene_s,
        settings.rooms,
        settings.features.sha256,
        settings.labels,
        [block.key for block in read_index(cache)],
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def _read(path: Path, labels: int) -> tuple[F32, Codes] | None:
    try:
        with path.open("rb") as file, np.load(file) as kept:
            rows, wanted, unsure = (kept[name] for name in ("rows", "wanted", "unsure"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # not there, or cut short: render it (again)
    codes = YES * np.unpackbits(wanted, axis=1, count=labels) + UNSURE * np.unpackbits(
        unsure, axis=1, count=labels
    )
    return rows.astype(np.float32), codes


def _write(path: Path, rows: F32, codes: Codes) -> None:
    fresh = path.with_name(f"{path.stem}.{os.getpid()}.new.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            fresh,
            rows=rows.astype(np.float16),
            wanted=np.packbits(codes == YES, axis=1),
            unsure=np.packbits(codes == UNSURE, axis=1),
        )
        os.replace(fresh, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise StreamerError(
            f"scenes cannot be kept: {path}: {error.strerror}", "make room, or train with --kept-hours 0"
        ) from error

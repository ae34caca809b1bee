"""A run's whole state on disk, enough to go on as if nothing had happened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import msgspec
import torch

from streamer.errors import StreamerError
from training.label_files import default_labels
from training.train import log
from training.train.curves import CURVES
from training.train.settings import TrainSettings

LATEST = "latest.pt"
BEST = "best.pt"
"""As it was when held-out scenes were heard best."""


def save(folder: Path, settings: TrainSettings, content: dict[str, Any], name: str = LATEST) -> None:
    """Write it whole or not at all, even if the power fails."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{name}.new"
    with fresh.open("wb") as file:
        torch.save({**content, "settings": msgspec.json.encode(settings).decode()}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, folder / name)


def load(path: Path) -> tuple[TrainSettings, dict[str, Any]]:
    """A checkpoint file, or the latest one in a run's folder. Only plain values are unpickled."""
    file = path / LATEST if path.is_dir() else path
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        settings = _settings(content.pop("settings"))
    except FileNotFoundError:
        raise StreamerError(f"{file}: no checkpoint there", "run `python -m training train` first") from None
    except (RuntimeError, UnpicklingError, KeyError, EOFError, ValueError, msgspec.MsgspecError) as error:
        raise StreamerError(
            f"{file}: not a checkpoint of this trainer: {str(error).splitlines()[0]}"
        ) from error
    return settings, content


def chosen(run: Path, which: str = "") -> Path:
    """The file to take: `latest`, `best` or a file's name; else the best one, where the run kept one."""
    if not run.is_dir():
        if which:
            raise StreamerError(
                f"{run} is one checkpoint: there is nothing to choose", "name the run's folder"
            )
        return run
    named = {"latest": run / LATEST, "best": run / BEST}
    if which:
        return named.get(which) or (run / which if (run / which).is_file() else Path(which))
    return named["best"] if named["best"].is_file() else named["latest"]


def about(file: Path, saved: Mapping[str, Any]) -> str:
    """Which weights these are, for people and for the manifest."""
    patience = saved.get("patience", {})
    judged, loss = patience.get("last_round", 0), patience.get("last_loss", 0.0)
    if not judged and patience.get("best_round") == saved["round"]:
        judged, loss = saved["round"], patience["best_loss"]
    told = f"{file.name}, after round {saved['round']}"
    if not judged:
        return f"{told}, not judged on held-out scenes"
    then = "" if judged == saved["round"] else f" after round {judged}"
    return f"{told}, held-out loss {loss:.4f}{then}"


def rounds_done(folder: Path) -> int | None:
    """How far the run in this folder has come; None: there is none."""
    entries = log.read(folder)
    there = any((folder / name).exists() for name in (LATEST, BEST))
    return entries[-1]["round"] if entries else 0 if there else None


def clear(folder: Path) -> None:
    """Remove the run in this folder, and nothing else."""
    for name in (log.LOG, CURVES, LATEST, BEST):
        (folder / name).unlink(missing_ok=True)


def _settings(text: str) -> TrainSettings:
    values = msgspec.json.decode(text)
    if isinstance(values.get("labels"), list):  # the names alone: before labels could be chosen
        values["labels"] = msgspec.to_builtins(default_labels().only(values["labels"]))
    return msgspec.convert(values, TrainSettings)

"""A run's whole state on disk, enough to go on as if nothing had happened."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import msgspec
import torch

from streamer.errors import StreamerError
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
    """A checkpoint file, or the latest one in a run's folder. Only tensors and numbers are unpickled."""
    file = path / LATEST if path.is_dir() else path
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        settings = msgspec.json.decode(content.pop("settings"), type=TrainSettings)
    except FileNotFoundError:
        raise StreamerError(f"{file}: no checkpoint there", "run `python -m training train` first") from None
    except (RuntimeError, UnpicklingError, KeyError, EOFError, ValueError, msgspec.MsgspecError) as error:
        raise StreamerError(
            f"{file}: not a checkpoint of this trainer: {str(error).splitlines()[0]}"
        ) from error
    return settings, content

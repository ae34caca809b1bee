"""The log for TensorBoard, which is optional."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from streamer.errors import MissingExtra
from training.train.log import Entry

FIGURES = ("loss", "held_out_loss", "held_out_precision", "learning_rate", "sound_hours")


class Board:
    """Writes each round's figures; without a folder it does nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._writer = _writer(folder) if folder else None

    def write(self, entry: Entry) -> None:
        """One round."""
        if self._writer is not None:
            for name in FIGURES:
                if name in entry:
                    self._writer.add_scalar(name, entry[name], entry["round"])

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("tensorboard", "board") from error
    return SummaryWriter(str(folder))

"""Where a run's weights come from, as checkpoints keep it and bundles tell it."""

from __future__ import annotations

from typing import Any

import msgspec

from training.labels import LabelSet
from training.revision import revision
from training.train.settings import TrainSettings


class Origin(msgspec.Struct, kw_only=True):
    """Written down when it happens: a later version of this code would tell other command lines."""

    commands: list[str]
    """Earliest first: those before the last one made the weights that it began with."""
    settings: dict[str, Any]
    """All that differs from the reference run, what no option can change as well."""
    revisions: list[str]
    """Of the code that the run went through."""

    def begin_from(self, weights: str, before: Origin) -> None:
        """These weights are not the run's own."""
        self.commands = [*before.commands, f"{self.commands[-1]} --begin-from {weights}"]

    def resume(self, before: Origin) -> None:
        """The same run, by other code perhaps."""
        self.commands, self.settings = before.commands, before.settings
        self.revisions = list(dict.fromkeys([*before.revisions, *self.revisions]))


def origin_of(settings: TrainSettings) -> Origin:
    """Of a run that begins now."""
    return Origin(commands=[settings.command], settings=differing(settings), revisions=[revision()])


def saved_origin(settings: TrainSettings, saved: dict[str, Any]) -> Origin:
    """Of a checkpoint; from before they kept it, what can still be known."""
    if "origin" in saved:
        return msgspec.convert(saved["origin"], Origin)
    return origin_of(settings)


def differing(settings: TrainSettings) -> dict[str, Any]:
    """What is not as in the reference run; of the labels their names."""
    usual = TrainSettings()
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return {
        name: list(value.names) if isinstance(value, LabelSet) else msgspec.to_builtins(value)
        for name, value in values.items()
        if value != getattr(usual, name)
    }

"""Conditions made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.support.hand_made import RULES, Spike, played
from training.evaluate.condition import Condition
from training.evaluate.streams import Truth


@pytest.fixture
def condition() -> Callable[..., Condition]:
    """Makes a condition from streams by their kind: (seconds, truths, spikes)."""

    def make(name: str = "clean", **streams: tuple[float, Sequence[Truth], Sequence[Spike]]) -> Condition:
        return Condition(
            name, {kind: played(f"{kind}-{name}", *parts) for kind, parts in streams.items()}, RULES
        )

    return make

"""The one protocol behind which models run: immutable, shared, with state as values in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from streamer.audio import F32

State = tuple[F32, ...]
"""One array a state tensor, streams along the first axis: (N, ...)."""


class Classifier(Protocol):
    """Feature rows of several streams in, scores out, one row for `stride` feature rows."""

    stride: int
    n_features: int
    n_labels: int

    def initial_state(self, streams: int = 1) -> State:
        """The state of streams that have heard nothing."""
        ...

    def step(self, features: F32, state: State) -> tuple[F32, State]:
        """(N, T, F) and a state to scores (N, T // stride, L) and the next state; T a multiple of stride."""
        ...


def stack_states(states: Sequence[State]) -> State:
    """States of several streams as one state for a batched call."""
    if len(states) == 1:
        return states[0]
    return tuple(np.concatenate(parts) for parts in zip(*states, strict=True))


def split_state(state: State, streams: int) -> list[State]:
    """The inverse of `stack_states`; the parts own their memory."""
    if streams == 1:
        return [state]
    return [tuple(part[row : row + 1].copy() for part in state) for row in range(streams)]


def check_step(classifier: Classifier, features: F32) -> None:
    """Refuse input that a backend would silently convert or cut."""
    if features.dtype != np.float32 or features.ndim != 3:
        raise TypeError(f"expected float32 features (N, T, F), got {features.dtype} {features.shape}")
    if features.shape[2] != classifier.n_features or features.shape[1] % classifier.stride:
        raise ValueError(
            f"expected (N, multiple of {classifier.stride}, {classifier.n_features}), got {features.shape}"
        )

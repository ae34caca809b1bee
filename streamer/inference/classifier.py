"""The one protocol behind which models run: immutable, shared, with state as values in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from streamer.audio import F32
from streamer.inference.bundle import Bundle, fault

State = tuple[F32, ...]
"""One array a state tensor, streams along the first axis: (N, ...)."""


class Classifier(Protocol):
    """Feature rows of several streams in, scores out, one row for `stride` feature rows."""

    stride: int
    n_features: int
    n_labels: int
    state_shapes: tuple[tuple[int, ...], ...]
    """Of each state tensor, without the leading axis, which counts streams."""

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


def check_step(classifier: Classifier, features: F32, state: State) -> None:
    """Refuse input that a backend would silently convert or cut, or refuse in words of its own."""
    for what, array in (("features", features), *(("a state", part) for part in state)):
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise TypeError(
                f"expected {what} as an array of float32, got {getattr(array, 'dtype', type(array))}"
            )
    if features.ndim != 3:
        raise ValueError(f"expected features (N, T, F), got {features.shape}")
    expected = [(len(features), *shape) for shape in classifier.state_shapes]
    if [part.shape for part in state] != expected:
        raise ValueError(f"expected states of the shapes {expected}, got {[part.shape for part in state]}")
    if features.shape[2] != classifier.n_features or features.shape[1] % classifier.stride:
        raise ValueError(
            f"expected (N, multiple of {classifier.stride}, {classifier.n_features}), got {features.shape}"
        )


def check_alive(classifier: Classifier, bundle: Bundle, role: str) -> None:
    """Refuse weights that give no numbers: such a model would be deaf, and nobody would know."""
    features = np.zeros((1, classifier.stride, classifier.n_features), np.float32)
    scores, state = classifier.step(features, classifier.initial_state())
    if not all(np.isfinite(part).all() for part in (scores, *state)):
        raise fault(bundle.folder, f"files.{role}", "the weights give scores that are no numbers")

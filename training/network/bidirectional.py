"""Hears a clip from both ends: a tagger of finished recordings, of no use on a stream. Imports torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from streamer.inference.networks.base import State, StreamingNetwork
from training.network.specs import BidirectionalSpec


class BidirectionalLstm(StreamingNetwork):
    """A dense layer, LSTM layers in both directions, one logit a label; every call is a clip of its own."""

    def __init__(self, spec: BidirectionalSpec) -> None:
        super().__init__(spec)
        self.front = nn.Linear(spec.gathered, spec.front) if spec.front else None
        self.lstm = nn.LSTM(
            spec.front or spec.gathered, spec.hidden, spec.layers, batch_first=True, bidirectional=True
        )
        self.head = nn.Linear(2 * spec.hidden, spec.outputs)

    def body(self, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """There is no state: what comes after a row is part of its answer, so no chunk can be cut off."""
        if self.front is not None:
            rows = torch.relu(self.front(rows))
        return self.lstm(rows)[0], state

    def tag(self, features: Tensor) -> Tensor:
        """Whole clips (N, T, F) to one logit a label (N, L): a soft maximum over time."""
        logits, _ = self(features, self.initial_state(len(features)))
        return torch.logsumexp(logits, dim=1) - math.log(logits.shape[1])

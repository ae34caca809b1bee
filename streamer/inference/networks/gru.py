"""Fewer gates than an LSTM, and one state instead of two. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamer.inference.networks.base import State, StreamingNetwork, by_layer
from streamer.inference.spec import GruSpec


class StreamingGru(StreamingNetwork):
    """A dense layer, GRU layers, one logit a label."""

    def __init__(self, spec: GruSpec) -> None:
        super().__init__(spec)
        self.front = nn.Linear(spec.gathered, spec.front) if spec.front else None
        self.gru = nn.GRU(spec.front or spec.gathered, spec.hidden, spec.layers, batch_first=True)
        self.head = nn.Linear(spec.hidden, spec.outputs)

    def body(self, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The state is h, (N, layers, hidden)."""
        if self.front is not None:
            rows = torch.relu(self.front(rows))
        hidden, h = self.gru(rows, by_layer(state[0]))
        return hidden, (by_layer(h),)

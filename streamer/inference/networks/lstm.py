"""The default family. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamer.inference.networks.base import State, StreamingNetwork, by_layer
from streamer.inference.spec import LstmSpec


class StreamingLstm(StreamingNetwork):
    """A dense layer, LSTM layers, one logit a label."""

    def __init__(self, spec: LstmSpec) -> None:
        super().__init__(spec)
        self.front = nn.Linear(spec.gathered, spec.front) if spec.front else None
        self.lstm = nn.LSTM(spec.front or spec.gathered, spec.hidden, spec.layers, batch_first=True)
        self.head = nn.Linear(spec.hidden, spec.outputs)

    def body(self, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The state is h and c, each (N, layers, hidden)."""
        if self.front is not None:
            rows = torch.relu(self.front(rows))
        hidden, (h, c) = self.lstm(rows, (by_layer(state[0]), by_layer(state[1])))
        return hidden, (by_layer(h), by_layer(c))

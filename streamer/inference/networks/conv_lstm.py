"""Convolutions find what is short, LSTM layers remember what is long. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamer.inference.networks.base import State, StreamingNetwork, by_layer, over_time, with_past
from streamer.inference.spec import ConvLstmSpec


class StreamingConvLstm(StreamingNetwork):
    """A dense layer, causal convolutions, LSTM layers, one logit a label."""

    def __init__(self, spec: ConvLstmSpec) -> None:
        super().__init__(spec)
        self.front = nn.Linear(spec.gathered, spec.front)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(spec.front, spec.front, spec.kernel) for _ in range(spec.convolutions)
        )
        self.lstm = nn.LSTM(spec.front, spec.hidden, spec.layers, batch_first=True)
        self.head = nn.Linear(spec.hidden, spec.outputs)

    def body(self, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The state is past (N, convolutions * (kernel - 1), front), h and c, each (N, layers, hidden)."""
        rows, after = torch.relu(self.front(rows)), []
        pasts = state[0].chunk(len(self.convolutions), dim=1)
        for convolution, past in zip(self.convolutions, pasts, strict=True):
            assert isinstance(convolution, nn.Conv1d)
            longer, kept = with_past(rows, past)
            rows = torch.relu(over_time(convolution, longer))
            after.append(kept)
        hidden, (h, c) = self.lstm(rows, (by_layer(state[1]), by_layer(state[2])))
        return hidden, (torch.cat(after, dim=1), by_layer(h), by_layer(c))

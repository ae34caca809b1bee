"""The recurrent network in torch: what `training` trains and what the Torch variant runs. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamer.inference.bundle import NetworkSpec

LSTM_TYPE = "lstm"


class StreamingLstm(nn.Module):
    """Normalise, gather `stride` rows, one dense layer, LSTM layers, one logit a label; causal throughout."""

    mean: Tensor
    scale: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        gathered = spec.inputs * spec.stride
        self.register_buffer("mean", torch.zeros(spec.inputs))
        self.register_buffer("scale", torch.ones(spec.inputs))
        self.front = nn.Linear(gathered, spec.front) if spec.front else None
        self.lstm = nn.LSTM(spec.front or gathered, spec.hidden, spec.layers, batch_first=True)
        self.head = nn.Linear(spec.hidden, spec.outputs)

    def initial_state(self, streams: int = 1) -> tuple[Tensor, Tensor]:
        """Zeros: h and c, each (N, layers, hidden)."""
        shape = (streams, self.spec.layers, self.spec.hidden)
        device = self.head.weight.device
        return torch.zeros(shape, device=device), torch.zeros(shape, device=device)

    def forward(self, features: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(N, T, F) to logits (N, T // stride, L) and the next state."""
        rows = (features - self.mean) * self.scale
        rows = rows.reshape(len(rows), -1, self.spec.inputs * self.spec.stride)
        if self.front is not None:
            rows = torch.relu(self.front(rows))
        h, c = (part.transpose(0, 1).contiguous() for part in state)
        hidden, (h, c) = self.lstm(rows, (h, c))
        return self.head(hidden), (h.transpose(0, 1), c.transpose(0, 1))

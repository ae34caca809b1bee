"""What all families do alike: normalise, gather rows, one logit a label, state in and out. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamer.inference.spec import NetworkSpec

State = tuple[Tensor, ...]
"""One tensor for each of the spec's states: (N, *shape)."""


class StreamingNetwork(nn.Module):
    """A causal network whose state goes in and comes out: any chunks give the scores of one call."""

    mean: Tensor
    scale: Tensor
    head: nn.Linear

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(spec.inputs))
        self.register_buffer("scale", torch.ones(spec.inputs))

    def initial_state(self, streams: int = 1) -> State:
        """Zeros, the state of streams that have heard nothing."""
        device = self.mean.device
        return tuple(torch.zeros((streams, *part.shape), device=device) for part in self.spec.state)

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """(N, T, F) to logits (N, T // stride, L) and the next state; T a multiple of stride, also 0."""
        rows = self.gather(features)
        if rows.shape[1] == 0:
            return rows.new_zeros(len(rows), 0, self.spec.outputs), state
        hidden, after = self.body(rows, state)
        return self.head(hidden), after

    def gather(self, features: Tensor) -> Tensor:
        """(N, T, F) to normalised rows (N, T // stride, stride * F)."""
        rows = (features - self.mean) * self.scale
        return rows.reshape(len(rows), rows.shape[1] // self.spec.stride, self.spec.gathered)

    def body(self, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """What a family is: gathered rows to hidden ones (N, T, hidden), and the next state."""
        raise NotImplementedError


def with_past(rows: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (N, T, C) behind those that came before (N, P, C), and the last P of all for the next call."""
    longer = torch.cat((past, rows), dim=1)
    return longer, longer[:, rows.shape[1] :]


def over_time(convolution: nn.Conv1d, rows: Tensor) -> Tensor:
    """A convolution without padding along T of (N, T, C)."""
    result: Tensor = convolution(rows.transpose(1, 2))
    return result.transpose(1, 2)


def by_layer(state: Tensor) -> Tensor:
    """(N, layers, hidden) to (layers, N, hidden) as torch's recurrent layers want it, and back."""
    return state.transpose(0, 1).contiguous()

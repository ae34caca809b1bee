"""No recurrence: each block sees a few rows of the past, farther apart from block to block. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamer.inference.networks.base import State, StreamingNetwork, over_time, with_past
from streamer.inference.spec import ConvSpec


class Block(nn.Module):
    """Normalise, one filter a channel over time, mix the channels, add to what came in."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.taps = nn.Conv1d(width, width, kernel, dilation=dilation, groups=width)
        self.mix = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.0)

    def forward(self, rows: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, width) and the rows remembered to the next of both."""
        longer, kept = with_past(self.norm(rows), past)
        mixed = torch.relu(self.mix(over_time(self.taps, longer)))
        return rows + self.dropout(mixed), kept


class StreamingConv(StreamingNetwork):
    """A dense layer, blocks of growing dilation, one logit a label."""

    def __init__(self, spec: ConvSpec) -> None:
        super().__init__(spec)
        self.past_rows = list(spec.past_rows)
        self.front = nn.Linear(spec.gathered, spec.hidden)
        self.blocks = nn.ModuleList(Block(spec.hidden, spec.kernel, d) for d in spec.dilations)
        self.norm = nn.LayerNorm(spec.hidden)
        self.head = nn.Linear(spec.hidden, spec.outputs)

    def body(self, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The state is past (N, all blocks' rows, hidden)."""
        rows, after = torch.relu(self.front(rows)), []
        for block, past in zip(self.blocks, torch.split(state[0], self.past_rows, dim=1), strict=True):
            rows, kept = block(rows, past)
            after.append(kept)
        return self.norm(rows), (torch.cat(after, dim=1),)

"""A small transformer: each row looks back at a window whose keys and values are kept. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamer.inference.networks.base import State, StreamingNetwork, with_past
from streamer.inference.spec import AttentionSpec

OUT_OF_SIGHT = -1e9
"""Added to a score, leaves nothing of it after the softmax; not infinite, so that nothing becomes NaN."""


class Attention(nn.Module):
    """Rows attend to themselves and the window before; how far back a row lies weighs in by a learnt bias.

    Before a stream begins there are keys and values of zero. They are seen like any other row: so the
    state needs no count of the rows that are real, and training sees the same beginning as the daemon.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.joint = nn.Linear(width, 3 * width)  # queries, keys, values
        self.age = nn.Parameter(torch.zeros(heads, window))  # oldest row first
        self.out = nn.Linear(width, width)

    def forward(self, rows: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, T, width) with keys and values (N, window - 1, width), all three for the next call."""
        queries, new_keys, new_values = self.joint(rows).chunk(3, dim=-1)
        all_keys, keys = with_past(new_keys, keys)
        all_values, values = with_past(new_values, values)
        q, k, v = (self._by_head(part) for part in (queries, all_keys, all_values))
        weights = torch.softmax(q @ k.transpose(2, 3) * q.shape[-1] ** -0.5 + self._bias(rows), dim=-1)
        seen = (weights @ v).transpose(1, 2).flatten(2)
        return self.out(seen), keys, values

    def _by_head(self, rows: Tensor) -> Tensor:
        """(N, T, width) to (N, heads, T, width / heads)."""
        return rows.reshape(*rows.shape[:2], self.heads, -1).transpose(1, 2)

    def _bias(self, rows: Tensor) -> Tensor:
        """(heads, T, window - 1 + T): row t sees rows t ... t + window - 1 of past and present together."""
        count = rows.shape[1]
        every = torch.arange(self.window - 1 + count, device=rows.device)
        place = every[None, :] - every[:count, None]
        hidden = self.age.new_full((self.heads, 1), OUT_OF_SIGHT)
        return torch.cat((hidden, self.age, hidden), dim=1)[:, place.clamp(-1, self.window) + 1]


class Block(nn.Module):
    """Attention, then two dense layers, each added to what came in."""

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(spec.hidden)
        self.attention = Attention(spec.hidden, spec.heads, spec.window)
        self.dense_norm = nn.LayerNorm(spec.hidden)
        self.widen = nn.Linear(spec.hidden, spec.expand * spec.hidden)
        self.narrow = nn.Linear(spec.expand * spec.hidden, spec.hidden)
        self.dropout = nn.Dropout(0.0)

    def forward(self, rows: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, T, hidden) with keys and values (N, window - 1, hidden), all three for the next call."""
        seen, keys, values = self.attention(self.norm(rows), keys, values)
        rows = rows + self.dropout(seen)
        dense = self.narrow(torch.relu(self.widen(self.dense_norm(rows))))
        return rows + self.dropout(dense), keys, values


class StreamingAttention(StreamingNetwork):
    """A dense layer, transformer blocks, one logit a label."""

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__(spec)
        self.front = nn.Linear(spec.gathered, spec.hidden)
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.hidden)
        self.head = nn.Linear(spec.hidden, spec.outputs)

    def body(self, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The state is keys and values, each (N, layers, window - 1, hidden)."""
        rows, after = torch.relu(self.front(rows)), []
        for block, keys, values in zip(self.blocks, state[0].unbind(1), state[1].unbind(1), strict=True):
            rows, *kept = block(rows, keys, values)
            after.append(kept)
        keys, values = (torch.stack(parts, dim=1) for parts in zip(*after, strict=True))
        return self.norm(rows), (keys, values)

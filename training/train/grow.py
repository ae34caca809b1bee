"""A narrow network's weights in a wider one of the same kind, which at first says exactly the same."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from streamer.errors import StreamerError


@torch.no_grad()
def grow(network: nn.Module, narrow: Mapping[str, Tensor]) -> None:
    """New units begin as they are and read everything; nobody reads them until they have learnt something."""
    own = network.state_dict()
    if own.keys() != narrow.keys():
        raise StreamerError(
            "that run's network is of another kind", "begin from one that differs in width only"
        )
    for name, weight in narrow.items():
        owner = network.get_submodule(name.rpartition(".")[0])
        gates = len(own[name]) // owner.hidden_size if isinstance(owner, nn.RNNBase) else 1
        own[name].copy_(_grown(name, own[name], weight, gates))


def _grown(name: str, wide: Tensor, narrow: Tensor, gates: int) -> Tensor:
    if wide.shape == narrow.shape:
        return narrow
    if wide.ndim != narrow.ndim or any(a < b for a, b in zip(wide.shape, narrow.shape, strict=True)):
        raise StreamerError(
            f"{name}: a network can only grow", "ask for at least the other run's width and layers"
        )
    grown = wide.reshape(gates, -1, *wide.shape[1:]).clone()  # a gate's rows lie together
    old = narrow.reshape(gates, -1, *narrow.shape[1:])
    rows = old.shape[1]
    if narrow.ndim > 1:
        grown[:, :rows, narrow.shape[1] :] = 0  # old units do not hear the new ones yet
        grown[:, :rows, : narrow.shape[1]] = old
    else:
        grown[:, :rows] = old
    return grown.reshape(wide.shape)

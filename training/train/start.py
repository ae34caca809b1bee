"""Where a network begins: weights from which sparse targets can be learnt at all, and fixed normalisation."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from streamer.audio import F32
from streamer.inference.network import StreamingNetwork

RARE_LOGIT = -4.5
"""The head begins by saying that nothing is heard, which is nearly always right."""


@torch.no_grad()
def initialise(network: StreamingNetwork) -> None:
    """Orthogonal recurrence, cells that remember, quiet head. With torch's defaults nothing is learnt."""
    for module in network.modules():
        if isinstance(module, nn.RNNBase):
            _recurrent(module)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d) and module is not network.head:
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            module.bias.zero_()
    network.head.bias.fill_(RARE_LOGIT)


def _recurrent(layers: nn.RNNBase) -> None:
    hidden = layers.hidden_size
    for name, weight in layers.named_parameters():
        if "bias" in name:
            weight.zero_()
            if "bias_ih" in name:
                weight[hidden : 2 * hidden] = 1.0  # an LSTM's forget gate, a GRU's update gate
            continue
        for gate in torch.split(weight, hidden):
            if "weight_hh" in name:
                nn.init.orthogonal_(gate)
            else:
                nn.init.xavier_uniform_(gate)


def set_dropout(network: nn.Module, share: float) -> None:
    """Between recurrent layers, and after the blocks of families that have none."""
    for module in network.modules():
        if isinstance(module, nn.RNNBase):
            module.dropout = share if module.num_layers > 1 else 0.0
        elif isinstance(module, nn.Dropout):
            module.p = share


@torch.no_grad()
def normalise(network: StreamingNetwork, rows: F32) -> None:
    """Fix mean and scale from the first round's rows (N, T, F); digital silence must not rule them."""
    flat = rows.reshape(-1, rows.shape[-1])[::7]
    low, middle, high = np.percentile(flat, [5, 50, 95], axis=0)
    network.mean.copy_(torch.from_numpy(middle.astype(np.float32)))
    network.scale.copy_(torch.from_numpy((3.29 / (high - low + 1e-3)).astype(np.float32)))

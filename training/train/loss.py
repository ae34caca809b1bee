"""The loss of one chunk, and the running average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.augment.targets import UNSURE, YES


def frame_loss(
    logits: Tensor,
    codes: Tensor,
    positive_weight: float,
    label_weights: Tensor,
    hard_negative_weight: float = 0.0,
) -> Tensor:
    """Cross-entropy of every label at every row but the unsure ones: summed over labels, mean over rows.

    A row without the label counts the more the surer the network is to hear it there.
    """
    wanted = (codes == YES).to(logits.dtype)
    weight = (codes != UNSURE).to(logits.dtype) * (1 + (positive_weight - 1) * wanted)
    if hard_negative_weight:
        weight = weight * (1 + hard_negative_weight * (1 - wanted) * torch.sigmoid(logits.detach()) ** 2)
    weight = weight * label_weights
    total = binary_cross_entropy_with_logits(logits, wanted, weight, reduction="sum")
    return total / (logits.shape[0] * logits.shape[1])


class Average:
    """An exponential running average of a network's weights."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.steps = 0
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the weights in; at first with more weight, so that the beginning is soon forgotten."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        for name, value in network.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)

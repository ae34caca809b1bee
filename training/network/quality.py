"""How well a network says what is heard, row by row, on scenes that it has not learnt from. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from streamer.audio import F32
from streamer.inference.network import StreamingNetwork
from training.augment.targets import UNSURE, YES, Codes
from training.train.loss import frame_loss


@dataclass(frozen=True, slots=True)
class Quality:
    """On held-out scenes; rows where nobody knows the truth are left out."""

    frame_loss: float
    """Cross-entropy, summed over labels, mean over rows; without the weights of the training loss."""
    precision: float
    """Average precision, mean over the labels that occur: 1 is perfect, and no threshold is needed."""


@torch.inference_mode()
def logits_of(network: StreamingNetwork, rows: F32, chunk_rows: int) -> F32:
    """(N, T, F) to (N, T // stride, L), with the state carried from chunk to chunk as in training."""
    state, parts = network.initial_state(len(rows)), []
    for piece in torch.split(torch.from_numpy(rows), chunk_rows * network.spec.stride, dim=1):
        logits, state = network(piece.to(network.mean.device), state)
        parts.append(logits.cpu())
    return np.asarray(torch.cat(parts, dim=1).numpy(), np.float32)


def judge(network: StreamingNetwork, scenes: Sequence[tuple[F32, Codes]], chunk_rows: int) -> Quality:
    """Of stacked scenes (N, T, F) with their codes (N, T // stride, L)."""
    network.eval()
    logits = np.concatenate([logits_of(network, rows, chunk_rows) for rows, _ in scenes])
    codes = np.concatenate([codes for _, codes in scenes])
    weights = torch.ones(codes.shape[-1])
    loss = frame_loss(torch.from_numpy(logits), torch.from_numpy(codes), 1.0, weights)
    return Quality(loss.item(), mean_average_precision(logits, codes))


def mean_average_precision(logits: F32, codes: Codes) -> float:
    """Over the labels that occur; NaN where none does."""
    columns = zip(logits.reshape(-1, logits.shape[-1]).T, codes.reshape(-1, codes.shape[-1]).T, strict=True)
    found = [_average_precision(scores, truth) for scores, truth in columns if (truth == YES).any()]
    return float(np.mean(found or [np.nan]))


def _average_precision(scores: F32, truth: Codes) -> float:
    scores, truth = scores[truth != UNSURE], truth[truth != UNSURE]
    hits = truth[np.argsort(-scores, kind="stable")] == YES
    return float((np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)).mean())

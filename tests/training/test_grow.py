"""A network that grows says the same as before, and can learn what it could not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from streamer.errors import StreamerError
from training.network.build import build_network
from training.network.specs import make_spec
from training.train.grow import grow
from training.train.start import initialise


def network(family: str = "lstm", hidden: int = 12, layers: int = 2, front: int = 8) -> nn.Module:
    spec = make_spec(family, inputs=5, outputs=3, stride=2, hidden=hidden, layers=layers, front=front)
    made = build_network(spec)
    initialise(made)
    return made


@pytest.mark.parametrize("family", ["lstm", "gru"])
def test_a_wider_network_says_the_same_and_is_not_stuck(family: str) -> None:
    seed = int(torch.seed() % 2**31)
    print("seed", seed)
    torch.manual_seed(seed)
    narrow, wide = network(family), network(family, hidden=19)
    grow(wide, narrow.state_dict())
    rows = torch.randn(2, 40, 5)
    before, _ = narrow(rows, narrow.initial_state(2))
    after, _ = wide(rows, wide.initial_state(2))
    assert torch.allclose(before, after, atol=1e-5)
    after.square().sum().backward()
    assert wide.head.weight.grad[:, 12:].abs().min() > 0, "the new units are heard as soon as it learns"


def test_weights_that_cannot_be_grown_are_refused() -> None:
    with pytest.raises(StreamerError, match="of another kind"):
        grow(network("lstm", layers=3), network("lstm").state_dict())
    with pytest.raises(StreamerError, match="can only grow"):
        grow(network(hidden=8), network().state_dict())

"""Each family in turn, and torch on one thread."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from streamer.inference.spec import NetworkSpec
from tests.support.networks import SHAPES, small


@pytest.fixture(params=list(SHAPES))
def spec(request: pytest.FixtureRequest) -> NetworkSpec:
    """Each family that the daemon runs."""
    return small(request.param)


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Two threads that wait for each other are many times slower than one on networks this small."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

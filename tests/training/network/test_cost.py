"""The cost that a spec promises is the cost that torch counts."""

from __future__ import annotations

import pytest

from streamer.errors import StreamerError
from streamer.inference.spec import NetworkSpec
from tests.support.networks import SHAPES, lively, small
from training.network.cost import at_cost, cost
from training.network.specs import FAMILIES, make_spec
from training.train.settings import TrainSettings


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("family", list(FAMILIES))
def test_parameters_and_multiply_adds(family: str) -> None:
    torch = pytest.importorskip("torch", reason="the count needs the `train` extra")
    from torch.utils.flop_counter import FlopCounterMode

    spec = small(family)
    network, promised = lively(spec, 1), cost(spec)
    assert promised.parameters == sum(weight.numel() for weight in network.parameters())
    rows = torch.zeros(1, spec.stride, spec.inputs)
    # Without oneDNN, whose fused LSTM the counter does not know.
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        network(rows, network.initial_state(1))
    assert promised.row_multiply_adds == counter.get_total_flops() // 2


def test_the_default_network() -> None:
    spec = TrainSettings().network
    assert cost(spec).multiply_adds_per_s == pytest.approx(13.6e6, rel=0.05)


def test_a_longer_stride_costs_less_a_second() -> None:
    one, three = (cost(small("gru", stride=stride)).multiply_adds_per_s for stride in (1, 3))
    assert three < 0.5 * one


@pytest.mark.parametrize("wanted", [1e5, 2e6, 13.6e6])
@pytest.mark.parametrize("family", list(SHAPES))
def test_networks_at_equal_cost(family: str, wanted: float) -> None:
    found = at_cost(small(family), wanted)
    reached = cost(found).multiply_adds_per_s
    step = found.hidden // getattr(found, "heads", 1)
    for other in (-1, 1):
        hidden = max(1, step + other) * getattr(found, "heads", 1)
        near = cost(_wide(found, hidden, small(family))).multiply_adds_per_s
        assert abs(near - wanted) >= abs(reached - wanted), f"{hidden} comes nearer than {found.hidden}"
    assert wanted < 1e6 or abs(reached / wanted - 1) < 0.1


def _wide(spec: NetworkSpec, hidden: int, like: NetworkSpec) -> NetworkSpec:
    from training.network.cost import scaled

    assert spec.type == like.type
    return scaled(like, hidden)


def test_unknown_families_and_shapes_are_one_line() -> None:
    with pytest.raises(StreamerError, match=r"'rnn' is unknown; there are lstm, gru, conv_lstm"):
        make_spec("rnn", hidden=1)
    with pytest.raises(StreamerError, match=r"conv: .*kernel"):
        make_spec("conv", inputs=1, outputs=1, hidden=1, layers=1, kernel=1)
    with pytest.raises(StreamerError, match="heads"):
        TrainSettings(family="attention", shape={"heads": 7}).network  # noqa: B018


def test_settings_of_old_checkpoints_mean_an_lstm() -> None:
    import msgspec

    old = msgspec.to_builtins(TrainSettings(hidden=48))
    del old["family"], old["shape"]
    spec = msgspec.convert(old, TrainSettings).network
    assert (spec.type, spec.hidden) == ("lstm", 48)

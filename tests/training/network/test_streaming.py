"""Every family in torch: any chunks give the scores of one call, nothing looks ahead, state is a value."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need the `train` extra")

import torch

from streamer.inference.spec import NetworkSpec
from tests.support.chunks import told
from tests.support.networks import SHAPES, cuts, lively, small, some_rows

AGREE = 1e-5


def play(network, rows, lengths, state=None):  # type: ignore[no-untyped-def]
    """Scores (N, T, L) of the rows in pieces, and the state afterwards."""
    state = network.initial_state(len(rows)) if state is None else state
    at, parts = 0, []
    with torch.inference_mode():
        for length in lengths:
            piece = rows[:, at * network.spec.stride : (at + length) * network.spec.stride]
            logits, state = network(torch.from_numpy(piece), state)
            parts.append(torch.sigmoid(logits).numpy())
            at += length
    return np.concatenate(parts, axis=1), state


@pytest.mark.parametrize("streams", [1, 4])
def test_any_chunks_give_the_scores_of_one_call(
    spec: NetworkSpec, rng: np.random.Generator, streams: int
) -> None:
    network, rows = lively(spec, 1), some_rows(rng, streams, 120, spec)
    whole, after = play(network, rows, [120])
    assert whole.shape == (streams, 120, spec.outputs)
    assert whole.std() > 0.05, "scores that never move would agree whatever the state"
    for chunks in (5, 60):
        lengths = cuts(rng, 120, chunks)
        assert min(lengths) == 0
        pieces, last = play(network, rows, lengths)
        np.testing.assert_allclose(pieces, whole, atol=AGREE, err_msg=told(lengths))
        for one, other in zip(last, after, strict=True):
            np.testing.assert_allclose(one, other, AGREE, AGREE, err_msg=told(lengths))


def test_streams_in_one_call_equal_each_alone(spec: NetworkSpec, rng: np.random.Generator) -> None:
    network, rows = lively(spec, 2), some_rows(rng, 3, 30, spec)
    pasts = [play(network, some_rows(rng, 1, 5 * n, spec), [5 * n])[1] for n in range(3)]
    together, _ = play(network, rows, [30], tuple(torch.cat(parts) for parts in zip(*pasts, strict=True)))
    for n, past in enumerate(pasts):
        alone, _ = play(network, rows[n : n + 1], [30], past)
        np.testing.assert_allclose(together[n : n + 1], alone, atol=AGREE, err_msg=f"stream {n}")


def test_later_rows_never_alter_earlier_scores(spec: NetworkSpec, rng: np.random.Generator) -> None:
    network, rows = lively(spec, 3), some_rows(rng, 1, 60, spec)
    other = rows.copy()
    other[:, 40 * spec.stride :] += 1
    one, two = play(network, rows, [60])[0], play(network, other, [60])[0]
    np.testing.assert_allclose(one[:, :40], two[:, :40], atol=AGREE)
    assert np.abs(one[:, 40] - two[:, 40]).max() > 1e-3, "the very next row must answer"


def test_the_past_is_heard(spec: NetworkSpec, rng: np.random.Generator) -> None:
    """A state that is carried but not used would pass every other test here."""
    network, rows = lively(spec, 4), some_rows(rng, 1, 10, spec)
    fresh = play(network, rows, [10])[0]
    later = play(network, rows, [10], play(network, some_rows(rng, 1, 40, spec), [40])[1])[0]
    assert np.abs(fresh[:, 0] - later[:, 0]).max() > 1e-3


@pytest.mark.parametrize(("family", "reach"), [("conv", 2 * (1 + 2 + 4 + 1 + 2)), ("attention", 2 * 6)])
def test_what_is_out_of_sight_is_forgotten(family: str, reach: int, rng: np.random.Generator) -> None:
    """These two see a bounded past, exactly as far as their spec says."""
    spec = small(family)
    network, rows = lively(spec, 5), some_rows(rng, 1, reach + 2, spec)
    other = rows.copy()
    other[:, : spec.stride] += 3
    one, two = (play(network, some, [reach + 2])[0][0] for some in (rows, other))
    assert np.abs(one[reach + 1] - two[reach + 1]).max() < 1e-6
    assert np.abs(one[reach] - two[reach]).max() > 1e-6


def test_state_is_a_value(spec: NetworkSpec, rng: np.random.Generator) -> None:
    network = lively(spec, 6)
    _, state = play(network, some_rows(rng, 2, 20, spec), [20])
    assert [tuple(part.shape) for part in state] == [(2, *part.shape) for part in spec.state]
    before, rows = [part.clone() for part in state], some_rows(rng, 2, 9, spec)
    first, after = play(network, rows, [9], state)
    second, again = play(network, rows, [9], state)
    np.testing.assert_array_equal(first, second)
    for part, old, new, same in zip(state, before, after, again, strict=True):
        assert torch.equal(part, old)
        assert torch.equal(new, same)
        assert not torch.equal(new, old), "a state that never moves is no state"


def test_no_rows_leave_the_state(spec: NetworkSpec, rng: np.random.Generator) -> None:
    network = lively(spec, 7)
    _, state = play(network, some_rows(rng, 2, 5, spec), [5])
    scores, after = play(network, some_rows(rng, 2, 0, spec), [0], state)
    assert scores.shape == (2, 0, spec.outputs)
    assert all(torch.equal(one, other) for one, other in zip(after, state, strict=True))


def test_initial_states_are_fresh_each_time(spec: NetworkSpec) -> None:
    network = lively(spec, 8)
    for part in network.initial_state(2):
        part.fill_(9)
    assert not any(part.any() for part in network.initial_state(2))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("family", list(SHAPES))
def test_other_strides_and_one_layer(family: str, stride: int, rng: np.random.Generator) -> None:
    spec = small(family, stride=stride, layers=1)
    network, rows = lively(spec, 9), some_rows(rng, 1, 40, spec)
    whole, _ = play(network, rows, [40])
    pieces, _ = play(network, rows, [1] * 40)
    np.testing.assert_allclose(pieces, whole, atol=AGREE)


@pytest.mark.parametrize("half_precision", [False, True])
def test_every_weight_learns(spec: NetworkSpec, rng: np.random.Generator, half_precision: bool) -> None:
    """From a second chunk on, as in training: the state of the first is where its gradient ends."""
    network = lively(spec, 10).train()
    rows = torch.from_numpy(some_rows(rng, 2, 20, spec))
    state = network.initial_state(2)
    with torch.autocast("cpu", torch.bfloat16, enabled=half_precision):
        _, state = network(rows, state)
        logits, _ = network(rows, tuple(part.detach().float() for part in state))
    logits.float().square().sum().backward()
    still = [n for n, w in network.named_parameters() if w.grad is None or not w.grad.any()]
    assert not still

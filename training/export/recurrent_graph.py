"""Recurrent layers as ONNX operators: LSTM, GRU, and convolutions in front of an LSTM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.inference.spec import ConvLstmSpec, GruSpec, LstmSpec
from training.export.graph_builder import Graph

LSTM_GATES = (0, 3, 1, 2)
"""torch stacks the gates as input, forget, cell, output; ONNX as input, output, forget, cell."""
GRU_GATES = (1, 0, 2)
"""torch: reset, update, new; ONNX: update, reset, hidden."""


def lstm_body(graph: Graph, rows: str, spec: LstmSpec) -> str:
    """Gathered rows to hidden ones."""
    return _lstm_layers(graph, graph.active(rows, "front") if spec.front else rows, spec)


def gru_body(graph: Graph, rows: str, spec: GruSpec) -> str:
    """Gathered rows to hidden ones."""
    rows = graph.transpose(graph.active(rows, "front") if spec.front else rows, "time_first", 1, 0, 2)
    states = _split_state(graph, "h", spec.layers)
    after = []
    for layer, state in enumerate(states):
        # torch applies the reset gate after the recurrent product, as a GRU on cuDNN does.
        attributes = {"hidden_size": spec.hidden, "linear_before_reset": 1}
        rows, last = _layer(graph, rows, "GRU", GRU_GATES, layer, [state], **attributes)
        after += last
    _join_state(graph, "h", after)
    return graph.transpose(rows, "stream_first", 1, 0, 2)


def conv_lstm_body(graph: Graph, rows: str, spec: ConvLstmSpec) -> str:
    """Gathered rows to hidden ones."""
    rows, after = graph.active(rows, "front"), []
    past_rows = spec.kernel - 1
    for number, past in enumerate(graph.split("past", [past_rows] * spec.convolutions, 1, "past.part")):
        layer = f"convolutions.{number}"
        longer, kept = graph.with_past(rows, past, past_rows, layer)
        rows = graph.add("Relu", [graph.convolution(longer, layer)], f"{layer}.active")
        after.append(kept)
    graph.add("Concat", after, "past_out", axis=1)
    return _lstm_layers(graph, rows, spec)


def _lstm_layers(graph: Graph, rows: str, spec: LstmSpec | ConvLstmSpec) -> str:
    rows = graph.transpose(rows, "time_first", 1, 0, 2)
    states = zip(*(_split_state(graph, state, spec.layers) for state in ("h", "c")), strict=True)
    after = []
    for layer, before in enumerate(states):
        rows, last = _layer(graph, rows, "LSTM", LSTM_GATES, layer, before, hidden_size=spec.hidden)
        after.append(last)
    for state, parts in zip(("h", "c"), zip(*after, strict=True), strict=True):
        _join_state(graph, state, list(parts))
    return graph.transpose(rows, "stream_first", 1, 0, 2)


def _layer(
    graph: Graph,
    rows: str,
    operator: str,
    gates: tuple[int, ...],
    layer: int,
    states: tuple[str, ...] | list[str],
    **attributes: int,
) -> tuple[str, list[str]]:
    """(T, N, inputs) to (T, N, hidden), and the names of the states (1, N, hidden) afterwards."""
    name = f"{operator.lower()}{layer}"
    w, r, b_w, b_r = (
        _reordered(graph.weights[f"{operator.lower()}.{part}_l{layer}"], gates)
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    inputs = [
        rows,
        graph.constant(f"{name}.W", w[None]),
        graph.constant(f"{name}.R", r[None]),
        graph.constant(f"{name}.B", np.concatenate((b_w, b_r))[None]),
        "",  # all sequences are of full length
        *states,
    ]
    after = [f"{state}_next" for state in states]
    graph.add_many(operator, inputs, [f"{name}.sequence", *after], **attributes)
    return graph.add("Squeeze", [f"{name}.sequence", graph.integers(1)], f"{name}.out"), after


def _reordered(rows: NDArray[np.float32], gates: tuple[int, ...]) -> NDArray[np.float32]:
    parts = np.split(rows, len(gates))
    return np.concatenate([parts[gate] for gate in gates])


def _split_state(graph: Graph, state: str, layers: int) -> list[str]:
    """(N, layers, hidden) to one (1, N, hidden) a layer, as the operators want it."""
    by_layer = graph.transpose(state, f"{state}.by_layer", 1, 0, 2)
    return list(graph.split(by_layer, [1] * layers, 0, state))


def _join_state(graph: Graph, state: str, parts: list[str]) -> None:
    graph.transpose(graph.add("Concat", parts, f"{state}.joined", axis=0), f"{state}_out", 1, 0, 2)

"""The exported graph, written node by node: no exporter decides for us what the daemon runs."""

from __future__ import annotations

import onnx

from streamer.inference.spec import (
    AttentionSpec,
    ConvLstmSpec,
    ConvSpec,
    GruSpec,
    LstmSpec,
    Network,
    NetworkSpec,
    StateSpec,
)
from training.export.attention_graph import attention_body
from training.export.conv_graph import conv_body
from training.export.graph_builder import Graph, Weights
from training.export.recurrent_graph import conv_lstm_body, gru_body, lstm_body
from training.network.specs import streaming


def network_state(spec: NetworkSpec) -> list[StateSpec]:
    """The states of a network, in the order in which graphs and backends take them."""
    return list(streaming(spec).state)


def network_graph(spec: NetworkSpec, weights: Weights) -> onnx.ModelProto:
    """The network of `streamer.inference.network` as one ONNX graph; weights named as in its state_dict."""
    network, graph = streaming(spec), Graph(weights)
    rows = _body(graph, graph.gather(network), network)
    graph.add("Sigmoid", [graph.dense(rows, "head")], "scores")
    return graph.model(network)


def _body(graph: Graph, rows: str, spec: Network) -> str:
    match spec:
        case LstmSpec():
            return lstm_body(graph, rows, spec)
        case GruSpec():
            return gru_body(graph, rows, spec)
        case ConvLstmSpec():
            return conv_lstm_body(graph, rows, spec)
        case ConvSpec():
            return conv_body(graph, rows, spec)
        case AttentionSpec():
            return attention_body(graph, rows, spec)

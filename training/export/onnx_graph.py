"""The exported graph, written node by node: no exporter decides for us what the daemon runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from streamer.inference.bundle import NetworkSpec, StateSpec

OPSET = 17
IR_VERSION = 8
"""Old enough for every onnxruntime that still installs on the Pythons we support."""

Weights = Mapping[str, NDArray[np.float32]]


def lstm_state(spec: NetworkSpec) -> list[StateSpec]:
    """The states of the LSTM network, in the order in which graphs and backends take them."""
    shape = (spec.layers, spec.hidden)
    return [StateSpec("h", shape), StateSpec("c", shape)]


class _Graph:
    """Collects nodes and constants; every method returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def dense(self, rows: str, weights: Weights, layer: str) -> str:
        matrix = self.constant(f"{layer}.matrix", weights[f"{layer}.weight"].T)
        bias = self.constant(f"{layer}.bias", weights[f"{layer}.bias"])
        return self.add("Add", [self.add("MatMul", [rows, matrix], f"{layer}.product"), bias], f"{layer}.out")


def _onnx_gates(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """torch stacks the gates as input, forget, cell, output; ONNX as input, output, forget, cell."""
    gate_i, gate_f, gate_c, gate_o = np.split(rows, 4)
    return np.concatenate((gate_i, gate_o, gate_f, gate_c))


def _lstm_layer(graph: _Graph, rows: str, layer: int, spec: NetworkSpec, weights: Weights) -> str:
    """(T, N, inputs) to (T, N, hidden), leaving `h{layer}_next` and `c{layer}_next` behind."""
    name = f"lstm{layer}"
    w, r, b_w, b_r = (
        _onnx_gates(weights[f"lstm.{part}_l{layer}"])
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    inputs = [
        rows,
        graph.constant(f"{name}.W", w[None]),
        graph.constant(f"{name}.R", r[None]),
        graph.constant(f"{name}.B", np.concatenate((b_w, b_r))[None]),
        "",
        f"h{layer}",
        f"c{layer}",
    ]
    outputs = [f"{name}.sequence", f"h{layer}_next", f"c{layer}_next"]
    graph.nodes.append(helper.make_node("LSTM", inputs, outputs, name=name, hidden_size=spec.hidden))
    return graph.add("Squeeze", [outputs[0], "axis_directions"], f"{name}.out")


def _split_state(graph: _Graph, state: str, layers: int) -> None:
    """(N, layers, hidden) to one (1, N, hidden) a layer, as the operator wants it."""
    by_layer = graph.add("Transpose", [state], f"{state}.by_layer", perm=[1, 0, 2])
    names = [f"{state}{layer}" for layer in range(layers)]
    graph.nodes.append(helper.make_node("Split", [by_layer], names, name=f"{state}.split", axis=0))


def _join_state(graph: _Graph, state: str, layers: int) -> None:
    parts = [f"{state}{layer}_next" for layer in range(layers)]
    joined = graph.add("Concat", parts, f"{state}.joined", axis=0)
    graph.add("Transpose", [joined], f"{state}_out", perm=[1, 0, 2])


def lstm_graph(spec: NetworkSpec, weights: Weights) -> onnx.ModelProto:
    """The network of `streamer.inference.network` as one ONNX graph; weights named as in its state_dict."""
    graph = _Graph()
    graph.constant("axis_directions", np.array([1], np.int64))
    mean, scale = (graph.constant(f"{part}.value", weights[part]) for part in ("mean", "scale"))
    rows = graph.add("Mul", [graph.add("Sub", ["features", mean], "centred"), scale], "normalised")
    gathered = graph.constant("gathered_shape", np.array([0, -1, spec.inputs * spec.stride], np.int64))
    rows = graph.add("Reshape", [rows, gathered], "gathered")
    if spec.front:
        rows = graph.add("Relu", [graph.dense(rows, weights, "front")], "front.active")
    rows = graph.add("Transpose", [rows], "time_first", perm=[1, 0, 2])
    for state in ("h", "c"):
        _split_state(graph, state, spec.layers)
    for layer in range(spec.layers):
        rows = _lstm_layer(graph, rows, layer, spec, weights)
    for state in ("h", "c"):
        _join_state(graph, state, spec.layers)
    scores = graph.add("Sigmoid", [graph.dense(rows, weights, "head")], "head.active")
    graph.add("Transpose", [scores], "scores", perm=[1, 0, 2])
    return _model(graph, spec)


def _model(graph: _Graph, spec: NetworkSpec) -> onnx.ModelProto:
    def value(name: str, *shape: object) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

    states = [(state.name, state.shape) for state in lstm_state(spec)]
    proto = helper.make_graph(
        graph.nodes,
        "streamer",
        [value("features", "streams", "frames", spec.inputs), *(value(n, "streams", *s) for n, s in states)],
        [
            value("scores", "streams", "rows", spec.outputs),
            *(value(f"{n}_out", "streams", *s) for n, s in states),
        ],
        graph.constants,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="streamer")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model

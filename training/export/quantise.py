"""int8 weights: a quarter of the size, and still the same scores for any chunking.

Quantising activations as well (onnxruntime's dynamic quantisation) picks a scale for each call from what
that call holds, so the pieces in which sound arrives would change the scores. Here only the weights are
rounded, and plain Cast and Mul nodes make floats of them, which onnxruntime folds into constants when it
loads the graph: the cost of a frame is that of float32. (DequantizeLinear nodes are not folded: twice the
cost, and measured to give scores that differ by 2e-4 between chunkings.)
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

UNIT_AXIS = {"MatMul": 1, "LSTM": 1, "GRU": 1}
"""By operator, the axis of its weights that counts output units: a dense layer's (inputs, outputs), a
recurrent layer's (1, gates * hidden, inputs). All else (biases, mean, scale, the taps of depthwise filters)
stays as it is: small, and it needs its precision."""


def quantise_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph around int8 matrices, one scale for each output unit."""
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    graph = quantised.graph
    axes = {
        name: UNIT_AXIS[node.op_type]
        for node in graph.node
        if node.op_type in UNIT_AXIS
        for name in node.input[1:3]
    }
    kept, nodes = [], []
    for tensor in graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name not in axes:
            kept.append(tensor)
            continue
        rounded, scale = _rounded(value, axes[tensor.name])
        name = tensor.name
        kept += [
            numpy_helper.from_array(rounded, f"{name}.int8"),
            numpy_helper.from_array(scale, f"{name}.scale"),
        ]
        cast = helper.make_node(
            "Cast", [f"{name}.int8"], [f"{name}.float"], name=f"{name}.cast", to=TensorProto.FLOAT
        )
        scaled = helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name], name=f"{name}.scaled")
        nodes += [cast, scaled]
    nodes += list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def _rounded(value: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    others = tuple(at for at in range(value.ndim) if at != axis)
    scale = np.maximum(np.abs(value).max(axis=others, keepdims=True), 1e-8) / np.float32(127)
    return np.clip(np.round(value / scale), -127, 127).astype(np.int8), np.asarray(scale, np.float32)

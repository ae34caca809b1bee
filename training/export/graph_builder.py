"""Nodes and constants of a graph, collected one by one; and the pieces that several families share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from streamer.inference.spec import NetworkSpec

OPSET = 17
IR_VERSION = 8
"""Old enough for every onnxruntime that still installs on the Pythons we support."""

Weights = Mapping[str, NDArray[np.float32]]
"""Named as in the network's state_dict."""


class Graph:
    """Collects nodes and constants; methods return the names of what they made."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """A value of the graph's own; the same name again is the same value."""
        self.constants.setdefault(name, numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def weight(self, name: str) -> str:
        """One of the network's weights as it is."""
        return self.constant(name, self.weights[name])

    def integers(self, *values: int) -> str:
        """A vector of integers."""
        return self.constant(f"integers.{'_'.join(map(str, values))}", np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        """One integer without a shape, as some operators insist."""
        return self.constant(f"scalar.{value}", np.array(value, np.int64))

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node with one output."""
        return self.add_many(operator, inputs, [output], **attributes)[0]

    def add_many(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> Sequence[str]:
        """A node with several outputs."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=outputs[0], **attributes))
        return outputs

    def transpose(self, rows: str, output: str, *order: int) -> str:
        """Axes in another order."""
        return self.add("Transpose", [rows], output, perm=list(order))

    def split(self, rows: str, sizes: Sequence[int], axis: int, output: str) -> Sequence[str]:
        """Parts of these sizes, next to each other along an axis."""
        names = [f"{output}{part}" for part in range(len(sizes))]
        return self.add_many("Split", [rows, self.integers(*sizes)], names, axis=axis)

    def dense(self, rows: str, layer: str) -> str:
        """A dense layer over the last axis."""
        matrix = self.constant(f"{layer}.matrix", self.weights[f"{layer}.weight"].T)
        product = self.add("MatMul", [rows, matrix], f"{layer}.product")
        return self.add("Add", [product, self.weight(f"{layer}.bias")], f"{layer}.out")

    def active(self, rows: str, layer: str) -> str:
        """A dense layer and what is positive of it."""
        return self.add("Relu", [self.dense(rows, layer)], f"{layer}.active")

    def norm(self, rows: str, layer: str) -> str:
        """Layer normalisation over the last axis, with torch's epsilon."""
        inputs = [rows, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias")]
        return self.add("LayerNormalization", inputs, f"{layer}.out", axis=-1, epsilon=1e-5)

    def slice(self, rows: str, first: int, last: int, output: str) -> str:
        """Rows from `first` up to `last`, negative numbers counted from the end; a last of 0: to the end."""
        bounds = [self.integers(first), self.integers(last or np.iinfo(np.int64).max), self.integers(1)]
        return self.add("Slice", [rows, *bounds], output)

    def with_past(self, rows: str, past: str, past_rows: int, name: str) -> tuple[str, str]:
        """Rows (N, T, C) behind the past (N, P, C), and the last P of all."""
        longer = self.add("Concat", [past, rows], f"{name}.longer", axis=1)
        return longer, self.slice(longer, -past_rows, 0, f"{name}.kept")

    # Convolutions are slices and products, not the Conv operator: that one is as fast only for widths that
    # suit the processor, and three times as slow for others (depthwise, 215 channels instead of 216).

    def convolution(self, rows: str, layer: str) -> str:
        """A convolution without padding along T of (N, T, C)."""
        filters = self.weights[f"{layer}.weight"]  # (outputs, inputs, kernel)
        beside = self.add("Concat", self._taps(rows, layer, filters.shape[2], 1), f"{layer}.beside", axis=2)
        matrix = filters.transpose(2, 1, 0).reshape(-1, filters.shape[0])
        product = self.add("MatMul", [beside, self.constant(f"{layer}.matrix", matrix)], f"{layer}.product")
        return self.add("Add", [product, self.weight(f"{layer}.bias")], f"{layer}.out")

    def depthwise(self, rows: str, layer: str, dilation: int) -> str:
        """The same with one filter a channel, its taps `dilation` rows apart."""
        filters = self.weights[f"{layer}.weight"]  # (channels, 1, kernel)
        weighted = [
            self.add(
                "Mul", [part, self.constant(f"{layer}.filter{tap}", filters[:, 0, tap])], f"{part}.weighted"
            )
            for tap, part in enumerate(self._taps(rows, layer, filters.shape[2], dilation))
        ]
        return self.add("Sum", [*weighted, self.weight(f"{layer}.bias")], f"{layer}.out")

    def _taps(self, rows: str, layer: str, kernel: int, dilation: int) -> list[str]:
        """What each tap sees, oldest first: (N, T - dilation * (kernel - 1), C) each."""
        bounds = [(tap * dilation, (tap + 1 - kernel) * dilation) for tap in range(kernel)]
        return [self.slice(rows, *bound, f"{layer}.tap{tap}") for tap, bound in enumerate(bounds)]

    def gather(self, spec: NetworkSpec) -> str:
        """Normalised features, `stride` rows side by side: (N, T // stride, stride * F)."""
        centred = self.add("Sub", ["features", self.weight("mean")], "centred")
        rows = self.add("Mul", [centred, self.weight("scale")], "normalised")
        return self.add("Reshape", [rows, self.integers(0, -1, spec.gathered)], "gathered")

    def model(self, spec: NetworkSpec) -> onnx.ModelProto:
        """All of it, checked; features and states in, scores and states out."""

        def value(name: str, *shape: str | int) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

        proto = helper.make_graph(
            self.nodes,
            "streamer",
            [
                value("features", "streams", "frames", spec.inputs),
                *(value(part.name, "streams", *part.shape) for part in spec.state),
            ],
            [
                value("scores", "streams", "rows", spec.outputs),
                *(value(f"{part.name}_out", "streams", *part.shape) for part in spec.state),
            ],
            list(self.constants.values()),
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(proto, opset_imports=[opset], producer_name="streamer")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model

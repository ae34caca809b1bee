"""The quickest way to run an LSTM: by the compiled kernel, from the weights of the Torch variant."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from streamer.audio import F32
from streamer.errors import BundleError, ConfigError
from streamer.inference.bundle import Bundle
from streamer.inference.classifier import State, check_alive, check_step
from streamer.inference.spec import LstmSpec
from streamer.inference.tensors import read_tensors
from streamer.kernel import address, library, why_none

TILE = 64
"""Columns of weights that lie together, as in kernel.c."""
_POINTER = ctypes.c_void_p


class _Dense(ctypes.Structure):
    _fields_ = (
        ("weights", _POINTER),
        ("bias", _POINTER),
        ("inputs", ctypes.c_int32),
        ("columns", ctypes.c_int32),
    )


class _Network(ctypes.Structure):
    _fields_ = (
        ("front", _POINTER),
        ("below", _POINTER),
        ("past", _POINTER),
        ("head", _POINTER),
        ("mean", _POINTER),
        ("scale", _POINTER),
        ("gathered", ctypes.c_int32),
        ("layers", ctypes.c_int32),
        ("hidden", ctypes.c_int32),
        ("labels", ctypes.c_int32),
    )


def can_run(bundle: Bundle) -> bool:
    """The kernel was built, and knows this family."""
    manifest = bundle.manifest
    return isinstance(manifest.network, LstmSpec) and "torch" in manifest.files and library() is not None


class KernelClassifier:
    """The network rebuilt from the manifest around weights in safetensors form."""

    def __init__(self, bundle: Bundle) -> None:
        manifest, kernel = bundle.manifest, library()
        network = manifest.network
        if not isinstance(network, LstmSpec):
            raise ConfigError([f"model.variant: the kernel runs no {network.type} networks, use onnx"])
        if kernel is None:
            raise ConfigError([f"model.variant: there is no kernel, use onnx; {why_none()}"])
        self.stride = network.stride
        self.n_features = manifest.features.size
        self.n_labels = len(manifest.labels)
        self.state_shapes: tuple[tuple[int, ...], ...] = tuple(part.shape for part in network.state)
        self._kept: list[Any] = []  # for as long as the kernel may look at it
        path = bundle.file("torch")
        try:
            self._network = self._build(network, read_tensors(path))
        except (ValueError, KeyError, OSError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise BundleError(f"{path}: files.torch: the weights do not fit the network: {reason}") from error
        self._call = kernel.streamer_lstm
        self._call.argtypes = [_POINTER, _POINTER, ctypes.c_int64, ctypes.c_int64, *[_POINTER] * 3]
        self._call.restype = ctypes.c_int
        self.place = ctypes.addressof(self._network)
        """Of the network, for C."""
        check_alive(self, bundle, "torch")

    def _build(self, spec: LstmSpec, weights: dict[str, F32]) -> _Network:
        def some(name: str, *shape: int) -> F32:
            if weights[name].shape != shape:
                raise ValueError(f"{name} has the shape {weights[name].shape} instead of {shape}")
            return weights[name]

        gates, hidden, entry = 4 * spec.hidden, spec.hidden, spec.front or spec.gathered
        below, past = (_Dense * spec.layers)(), (_Dense * spec.layers)()
        for layer in range(spec.layers):
            inputs = hidden if layer else entry
            bias = some(f"lstm.bias_ih_l{layer}", gates) + some(f"lstm.bias_hh_l{layer}", gates)
            below[layer] = self._dense(some(f"lstm.weight_ih_l{layer}", gates, inputs), bias)
            past[layer] = self._dense(some(f"lstm.weight_hh_l{layer}", gates, hidden), np.zeros_like(bias))
        head = self._dense(some("head.weight", spec.outputs, hidden), some("head.bias", spec.outputs))
        front = None
        if spec.front:
            bias = some("front.bias", spec.front)
            front = self._address(self._dense(some("front.weight", spec.front, spec.gathered), bias))
        return _Network(
            front,
            self._address(below),
            self._address(past),
            self._address(head),
            self._data(np.tile(some("mean", spec.inputs), spec.stride)),
            self._data(np.tile(some("scale", spec.inputs), spec.stride)),
            spec.gathered,
            spec.layers,
            hidden,
            spec.outputs,
        )

    def _dense(self, weight: F32, bias: F32) -> _Dense:
        """(columns, inputs) weights in the order in which the kernel reads them."""
        columns, inputs = weight.shape
        room = -(-columns // TILE) * TILE
        padded = np.zeros((room, inputs), np.float32)
        padded[:columns] = weight
        tiles = padded.reshape(room // TILE, TILE, inputs).transpose(0, 2, 1)
        return _Dense(self._data(tiles), self._data(np.pad(bias, (0, room - columns))), inputs, room)

    def _data(self, array: F32) -> int:
        kept = np.ascontiguousarray(array, np.float32)
        self._kept.append(kept)
        return address(kept)

    def _address(self, structure: Any) -> int:
        self._kept.append(structure)
        return ctypes.addressof(structure)

    def initial_state(self, streams: int = 1) -> State:
        """Zeros."""
        return tuple(np.zeros((streams, *shape), np.float32) for shape in self.state_shapes)

    def step(self, features: F32, state: State) -> tuple[F32, State]:
        """One call of the kernel for all streams."""
        check_step(self, features, state)
        streams, frames, _ = features.shape
        rows = frames // self.stride
        scores = np.empty((streams, rows, self.n_labels), np.float32)
        if rows == 0:
            return scores, state
        features = np.ascontiguousarray(features)
        said, cells = state[0].copy(), state[1].copy()
        places = [address(array) for array in (said, cells, scores)]
        if self._call(self.place, address(features), streams, rows, *places):
            raise MemoryError
        return scores, (said, cells)

"""The default way to run a model: onnxruntime on one thread that never spins."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from streamer.audio import F32
from streamer.errors import BundleError
from streamer.inference.bundle import Bundle, fault
from streamer.inference.classifier import State, check_alive, check_step


class OnnxClassifier:
    """An exported graph: features and states in, scores and states out."""

    def __init__(self, bundle: Bundle, variant: str = "onnx") -> None:
        manifest = bundle.manifest
        self.stride = manifest.network.stride
        self.n_features = manifest.features.size
        self.n_labels = len(manifest.labels)
        self.state_shapes: tuple[tuple[int, ...], ...] = tuple(spec.shape for spec in manifest.state)
        self._session = _open_session(bundle, variant)
        self._inputs = ["features", *(spec.name for spec in manifest.state)]
        self._outputs = ["scores", *(f"{spec.name}_out" for spec in manifest.state)]
        _check_graph(bundle, variant, self._session, self._inputs, self._outputs)
        self._warm_up(bundle, variant)

    def initial_state(self, streams: int = 1) -> State:
        """Zeros."""
        return tuple(np.zeros((streams, *shape), np.float32) for shape in self.state_shapes)

    def step(self, features: F32, state: State) -> tuple[F32, State]:
        """One call of the graph for all streams."""
        check_step(self, features, state)
        if features.shape[1] == 0:
            return np.empty((len(features), 0, self.n_labels), np.float32), state
        feed = dict(zip(self._inputs, (features, *state), strict=True))
        scores, *after = self._session.run(self._outputs, feed)
        return scores, tuple(after)

    def _warm_up(self, bundle: Bundle, variant: str) -> None:
        """The first call allocates; better now than on the first sound. It also proves the shapes."""
        try:
            features = np.zeros((1, self.stride, self.n_features), np.float32)
            scores, _ = self.step(features, self.initial_state())
        except Exception as error:  # onnxruntime raises many types of its own
            raise fault(
                bundle.folder, f"files.{variant}", f"the graph does not run: {_brief(error)}"
            ) from error
        if scores.shape[:2] != (1, 1):
            raise fault(
                bundle.folder,
                "network.stride",
                f"{self.stride}, but the graph gives scores {scores.shape} for it",
            )
        if scores.shape[2:] != (self.n_labels,):
            raise fault(
                bundle.folder, "labels", f"{self.n_labels}, but the graph gives {scores.shape[-1]} scores"
            )
        check_alive(self, bundle, variant)


def _open_session(bundle: Bundle, variant: str) -> Any:
    # From 1.31 on it would keep a database in the user's cache and report to its maker over the network.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors come as exceptions; standard error is for our one line
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    path = bundle.file(variant)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(f"{path}: files.{variant}: onnxruntime cannot load it: {_brief(error)}") from error


def _check_graph(bundle: Bundle, variant: str, session: Any, inputs: list[str], outputs: list[str]) -> None:
    have_in = [node.name for node in session.get_inputs()]
    have_out = [node.name for node in session.get_outputs()]
    for wanted, have in ((inputs, have_in), (outputs, have_out)):
        missing = [name for name in wanted if name not in have]
        if missing:
            raise fault(bundle.folder, "state", f"the {variant} graph has no {missing[0]!r}, only {have}")


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__

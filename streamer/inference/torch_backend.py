"""The Torch variant: the same network from its weights. Nothing is unpickled. Imports torch."""

from __future__ import annotations

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from streamer.audio import F32
from streamer.errors import BundleError
from streamer.inference.bundle import Bundle
from streamer.inference.classifier import State, check_step
from streamer.inference.network import build_network


class TorchClassifier:
    """The network rebuilt from the manifest around weights in safetensors form."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self.stride = manifest.network.stride
        self.n_features = manifest.features.size
        self.n_labels = len(manifest.labels)
        self.state_shapes: tuple[tuple[int, ...], ...] = tuple(part.shape for part in manifest.network.state)
        # Made without memory, the network takes the file's weights once their shapes have been compared:
        # no manifest makes us allocate a network that is not there.
        path = bundle.file("torch")
        try:
            with torch.device("meta"):
                self._network = build_network(manifest.network)
            weights = {name: value.float() for name, value in load_file(path).items()}
            self._network.load_state_dict(weights, assign=True)
        except (SafetensorError, RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BundleError(f"{path}: files.torch: the weights do not fit the network: {reason}") from error
        self._network.eval()

    def initial_state(self, streams: int = 1) -> State:
        """Zeros."""
        return tuple(part.numpy() for part in self._network.initial_state(streams))

    def step(self, features: F32, state: State) -> tuple[F32, State]:
        """One call of the network for all streams."""
        check_step(self, features, state)
        if features.shape[1] == 0:
            return np.empty((len(features), 0, self.n_labels), np.float32), state
        # Copies: torch takes neither read-only arrays nor every view.
        before = tuple(torch.from_numpy(part.copy()) for part in state)
        with torch.inference_mode():
            logits, after = self._network(torch.from_numpy(features.copy()), before)
            scores = torch.sigmoid(logits)
        return scores.numpy(), tuple(part.contiguous().numpy() for part in after)

"""A model that is ready to run: its bundle and the classifier that all streams share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamer.errors import ConfigError, MissingExtra
from streamer.inference.bundle import Bundle, load_bundle
from streamer.inference.classifier import Classifier

VARIANTS = ("onnx", "onnx-int8", "torch")


@dataclass(frozen=True, slots=True)
class Model:
    """A checked bundle with one of its variants loaded."""

    bundle: Bundle
    classifier: Classifier
    labels: list[str]
    """In the order of the score columns."""

    @property
    def name(self) -> str:
        """As messages name it."""
        return self.bundle.manifest.name


def open_model(name_or_path: str | Path, variant: str = "onnx") -> Model:
    """Find a bundle, check it and load it; raises StreamerError."""
    bundle = load_bundle(name_or_path)
    return Model(bundle, open_classifier(bundle, variant), bundle.label_names)


def open_classifier(bundle: Bundle, variant: str = "onnx") -> Classifier:
    """One variant of a bundle, ready to run; torch is imported for its own variant only."""
    if variant not in VARIANTS:
        raise ConfigError([f"model.variant: {variant!r}, legal values: {', '.join(VARIANTS)}"])
    if variant != "torch":
        from streamer.inference.onnx_backend import OnnxClassifier

        return OnnxClassifier(bundle, variant)
    try:
        import torch

        from streamer.inference.torch_backend import TorchClassifier
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "torch") from error
    # A step is far too small to share out; torch's own choice is a thread a core, each waiting busily.
    torch.set_num_threads(1)
    return TorchClassifier(bundle)

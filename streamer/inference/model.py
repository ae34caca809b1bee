"""A model that is ready to run: its bundle and the classifier that all streams share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.errors import ConfigError, MissingExtra
from streamer.inference.bundle import Bundle, load_bundle
from streamer.inference.classifier import Classifier

VARIANTS = ("onnx", "onnx-int8", "torch")
"""As bundles have them."""
WAYS = ("auto", "kernel", *VARIANTS)
"""To run a model: `auto` is the kernel (on the Torch variant's weights) where it can, else onnx."""


@dataclass(frozen=True, slots=True)
class Model:
    """A checked bundle with one of its variants loaded."""

    bundle: Bundle
    classifier: Classifier
    labels: list[str]
    """In the order of the score columns."""
    variant: str = "onnx"
    """Which way it runs; never `auto`."""

    @property
    def name(self) -> str:
        """As messages name it."""
        return self.bundle.manifest.name


def open_model(name_or_path: str | Path, variant: str = "auto") -> Model:
    """Find a bundle, check it and load it; raises StreamerError."""
    return _open(load_bundle(name_or_path), variant)


def open_models(
    names: Sequence[str | Path], variant: str = "auto", known: Iterable[Model] = ()
) -> list[Model]:
    """Bundles that are to listen side by side; those that are known and unchanged are not loaded again.

    All are checked before any is loaded. Raises StreamerError.
    """
    loaded = {(model.bundle.sha256, model.variant): model for model in known}
    return [
        loaded.get((bundle.sha256, variant_of(bundle, variant))) or _open(bundle, variant)
        for bundle in load_bundles(names)
    ]


def load_bundles(names: Sequence[str | Path]) -> list[Bundle]:
    """Find and check bundles that are to listen side by side: no two with a label or the name in common."""
    bundles = [load_bundle(name) for name in names]
    faults = []
    for index, bundle in enumerate(bundles):
        for other in bundles[:index]:
            if both := [label for label in other.label_names if label in bundle.label_names]:
                faults.append(
                    f"model.bundles: {_called(other)} and {_called(bundle)} "
                    f"both have the label{'s' if len(both) > 1 else ''} {', '.join(both)}"
                )
            elif other.manifest.name == bundle.manifest.name:
                name = bundle.manifest.name
                faults.append(f"model.bundles: {other.folder} and {bundle.folder} are both called {name}")
    if faults:
        raise ConfigError(faults)
    return bundles


def _called(bundle: Bundle) -> str:
    name = bundle.manifest.name
    return name if bundle.folder.name == name else f"{name} ({bundle.folder})"


def variant_of(bundle: Bundle, variant: str) -> str:
    """What `auto` means for this bundle, on this machine."""
    if variant != "auto":
        return variant
    from streamer.inference.kernel_backend import can_run

    return "kernel" if can_run(bundle) else "onnx"


def _open(bundle: Bundle, variant: str) -> Model:
    variant = variant_of(bundle, variant)
    return Model(bundle, open_classifier(bundle, variant), bundle.label_names, variant)


def open_classifier(bundle: Bundle, variant: str = "auto") -> Classifier:
    """One variant of a bundle, ready to run; torch is imported for its own variant only."""
    if variant not in WAYS:
        raise ConfigError([f"model.variant: {variant!r}, legal values: {', '.join(WAYS)}"])
    variant = variant_of(bundle, variant)
    if variant == "kernel":
        from streamer.inference.kernel_backend import KernelClassifier

        return KernelClassifier(bundle)
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

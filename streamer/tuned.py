"""Models as the config wants them: which ones, and by which rules their labels are decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from streamer.config import LabelConfig, ModelConfig, tuned_rules
from streamer.decoding.rules import LabelRule
from streamer.inference.model import Model, open_models


@dataclass(frozen=True, slots=True)
class TunedModel:
    """A model, and the rules that the config makes of those in its bundle."""

    model: Model
    rules: list[LabelRule]


def open_tuned(
    config: ModelConfig, labels: Mapping[str, LabelConfig], known: Iterable[Model] = ()
) -> list[TunedModel]:
    """The models of a config; those that are known already are not loaded again. Raises StreamerError."""
    models = open_models(config.names, config.variant, known)
    rules = tuned_rules([rule for model in models for rule in model.bundle.manifest.labels], labels)
    tuned = []
    for model in models:
        own, rules = rules[: len(model.labels)], rules[len(model.labels) :]
        tuned.append(TunedModel(model, own))
    return tuned


def joined_name(models: Sequence[TunedModel]) -> str:
    """As messages name what listens to a stream."""
    return "+".join(tuned.model.name for tuned in models)


def label_count(models: Sequence[TunedModel]) -> int:
    """Of all together."""
    return sum(len(tuned.rules) for tuned in models)

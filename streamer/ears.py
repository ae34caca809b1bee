"""All models on one stream, and how they follow each other while the sound goes on."""

from __future__ import annotations

from collections.abc import Sequence

from streamer.decoding.rules import LabelRule
from streamer.inference.model import Model
from streamer.pipeline import Intake, Listener, Output
from streamer.tuned import TunedModel


class Ear:
    """One model on one stream, and the rules in force: a threshold may have been changed since."""

    def __init__(self, tuned: TunedModel, hop_ms: int) -> None:
        self.model: Model = tuned.model
        self.hop_ms = hop_ms
        self.rules = list(tuned.rules)
        self._config_rules = tuned.rules
        features = self.model.bundle.manifest.features
        self.listener = Listener(self.model.classifier, features, self.rules, hop_ms)

    def retune(self, rules: list[LabelRule]) -> None:
        """Go on with the rules of another config."""
        self._config_rules = rules
        self._use(rules)

    def set_threshold(self, label: str, value: float | None) -> float:
        """Another threshold for a label of the model, or again the config's (None); the one in force then."""
        place = self.model.labels.index(label)
        rule = self._config_rules[place]
        changed = rule if value is None else rule.at_threshold(value)
        self._use([*self.rules[:place], changed, *self.rules[place + 1 :]])
        return changed.threshold

    def _use(self, rules: list[LabelRule]) -> None:
        self.rules = list(rules)
        self.listener.retune(rules)


class Ears:
    """The models of a stream, in the config's order."""

    def __init__(self, models: Sequence[TunedModel], hop_ms: int) -> None:
        self._ears = [Ear(tuned, hop_ms) for tuned in models]
        self._leaving: list[Ear] = []  # what they had to tell at their end has not been taken yet

    def open(self, rate_hz: int, history_s: float | None = None, *, prompt: bool = False) -> Intake:
        """The way of the sound to them, prompt for a price; without a history they never change."""
        return Intake(rate_hz, self.listeners, history_s, prompt=prompt)

    @property
    def listeners(self) -> list[Listener]:
        """One for each model."""
        return [ear.listener for ear in self._ears]

    @property
    def rules(self) -> list[tuple[Model, LabelRule]]:
        """How each label is decided at present, and by which model."""
        return [(ear.model, rule) for ear in self._ears for rule in ear.rules]

    def set_threshold(self, label: str, value: float | None) -> float:
        """Another threshold for a label, which one of the models has; the one in force then."""
        ear = next(ear for ear in self._ears if label in ear.model.labels)
        return ear.set_threshold(label, value)

    def take_outputs(self) -> list[tuple[Ear, Output]]:
        """What each model has found since the last call."""
        ears, self._leaving = [*self._leaving, *self._ears], []
        return [(ear, ear.listener.take_output()) for ear in ears]

    def change(self, intake: Intake, models: Sequence[TunedModel], hop_ms: int) -> None:
        """Go on with these models: those that stay take no notice, a new one goes on where another stops.

        Nothing may wait for a classifier.
        """
        kept = {id(ear.model): ear for ear in self._ears if ear.hop_ms == hop_ms}
        ears, pairs = [], []
        staying = {id(tuned.model) for tuned in models} & kept.keys()
        leaving = [ear for ear in self._ears if id(ear.model) not in staying]
        for tuned in models:
            ear = kept.get(id(tuned.model))
            if ear is None:
                ear = Ear(tuned, hop_ms)
                pairs.append((ear.listener, self._former(ear, leaving).listener))
            else:
                ear.retune(tuned.rules)
            ears.append(ear)
        intake.change([ear.listener for ear in ears], pairs)
        for ear in leaving:
            ear.listener.stop("reload")
        self._ears, self._leaving = ears, self._leaving + leaving

    def _former(self, ear: Ear, leaving: Sequence[Ear]) -> Ear:
        """Where a new one begins, and who has told what it must not tell again: most of all its namesake."""
        namesakes = [other for other in leaving if other.model.name == ear.model.name]
        return [*namesakes, *leaving, *self._ears][0]

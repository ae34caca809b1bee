"""A set of labels: which keywords and sounds a network learns, and how each is aligned and decided."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Annotated

import msgspec

from streamer.decoding.rules import LabelRule, Milliseconds
from streamer.names import NAME_PATTERN

Gap = Annotated[float, msgspec.Meta(ge=0, le=60)]
Weight = Annotated[float, msgspec.Meta(gt=0, le=1000)]


class Keyword(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a spoken word is aligned in training and decided in the daemon."""

    merge_gap_s: Gap = 0.2
    """A pause up to this long belongs to the word, as between the two of "smart mirror"."""
    smoothing_ms: Milliseconds = 150.0
    refractory_ms: Milliseconds = 700.0
    ship: bool = True
    """False: learnt, so that the network can tell it from others, and not part of the bundle."""


class Sound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an everyday sound is aligned in training and decided in the daemon."""

    merge_gap_s: Gap = 0.5
    """Pauses up to this long belong to the sound (between two barks, two ticks)."""
    lead_s: Gap = 0.15
    """How much of it must be heard before anyone could name it: not scored there."""
    smoothing_ms: Milliseconds = 240.0
    min_ms: Milliseconds = 120.0
    release_ms: Milliseconds = 600.0
    weight: Weight = 1.0
    """How often it is drawn, against the other sounds."""
    ship: bool = True


class LabelSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False):
    """Labels in the order of the network's outputs: the keywords, then the sounds."""

    keywords: dict[str, Keyword] = {}
    sounds: dict[str, Sound] = {}

    def __post_init__(self) -> None:
        for name in self.names:
            if not re.match(NAME_PATTERN, name):
                raise ValueError(f"label {name!r}: must be 1 to 64 letters, digits, '_' or '-'")
        both = [name for name in self.keywords if name in self.sounds]
        if both:
            raise ValueError(f"label {both[0]!r} is both a keyword and a sound")
        if not self.shipped:
            raise ValueError("no label" + " that ships" * bool(self.names))

    def __eq__(self, other: object) -> bool:
        """The same labels with the same parameters in the same order."""
        if not isinstance(other, LabelSet):
            return NotImplemented
        return self.names == other.names and (self.keywords, self.sounds) == (other.keywords, other.sounds)

    def __ne__(self, other: object) -> bool:
        """msgspec has an own one, that knows nothing of ours."""
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __contains__(self, label: str) -> bool:
        return label in self.keywords or label in self.sounds

    @property
    def names(self) -> tuple[str, ...]:
        """All labels: the network's outputs."""
        return (*self.keywords, *self.sounds)

    @property
    def shipped(self) -> tuple[str, ...]:
        """The labels of the bundle."""
        return (*self.shipped_keywords, *self.shipped_sounds)

    @property
    def shipped_keywords(self) -> tuple[str, ...]:
        """The keywords of the bundle."""
        return tuple(name for name, keyword in self.keywords.items() if keyword.ship)

    @property
    def shipped_sounds(self) -> tuple[str, ...]:
        """The sounds of the bundle."""
        return tuple(name for name, sound in self.sounds.items() if sound.ship)

    def column(self, label: str) -> int:
        """Which of the network's outputs it is."""
        return self.names.index(label)

    def is_keyword(self, label: str) -> bool:
        """Whether it is one of the keywords, shipped or not."""
        return label in self.keywords

    def is_sound(self, label: str) -> bool:
        """Whether it is one of the sounds, shipped or not."""
        return label in self.sounds

    def ships(self, label: str) -> bool:
        """Whether it is a label, and part of the bundle."""
        known = self.keywords.get(label) or self.sounds.get(label)
        return known is not None and known.ship

    def of_clip(self, kind: str, label: str) -> str:
        """The label that a clip of this kind holds; empty: none of these. A spoken "cat" is no mewing."""
        own: dict[str, Collection[str]] = {"keyword": self.keywords, "event": self.sounds}
        return label if label in own.get(kind, ()) else ""

    def merge_gap_s(self, label: str) -> float:
        """Longest pause that may lie inside one utterance or sound of this label."""
        known = self.keywords.get(label) or self.sounds.get(label) or Keyword()
        return known.merge_gap_s

    def rule(self, label: str, threshold: float = 0.5) -> LabelRule:
        """How the daemon decides this label, at a given threshold."""
        keyword = self.keywords.get(label)
        if keyword is not None:
            return LabelRule(
                name=label,
                kind="keyword",
                threshold=threshold,
                smoothing_ms=keyword.smoothing_ms,
                refractory_ms=keyword.refractory_ms,
            )
        sound = self.sounds[label]
        return LabelRule(
            name=label,
            kind="sound",
            threshold=threshold,
            smoothing_ms=sound.smoothing_ms,
            min_ms=sound.min_ms,
            release_ms=sound.release_ms,
            refractory_ms=300,
        )

    def only(self, labels: Collection[str]) -> LabelSet:
        """The same without all others."""
        return LabelSet(
            {name: keyword for name, keyword in self.keywords.items() if name in labels},
            {name: sound for name, sound in self.sounds.items() if name in labels},
        )

    def beside(self, more: LabelSet) -> LabelSet:
        """These, and those of another set that are not among them."""
        return LabelSet(
            {**self.keywords, **{name: k for name, k in more.keywords.items() if name not in self}},
            {**self.sounds, **{name: s for name, s in more.sounds.items() if name not in self}},
        )


def of_rules(rules: Iterable[LabelRule], known: LabelSet) -> LabelSet:
    """A bundle's labels; what its rules do not tell is as in a set that knows them, or as usual."""
    keywords, sounds = {}, {}
    for rule in rules:
        if rule.kind == "keyword":
            keywords[rule.name] = msgspec.structs.replace(known.keywords.get(rule.name, Keyword()), ship=True)
        else:
            sounds[rule.name] = msgspec.structs.replace(known.sounds.get(rule.name, Sound()), ship=True)
    return LabelSet(keywords, sounds)

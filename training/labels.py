"""The labels that the default model knows, and how each is heard: the one place to add or drop one."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.decoding.rules import LabelRule

COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
WAKE_WORDS = ("computer", "jarvis", "alexa", "snowboy", "smart_mirror", "view_glass")
KEYWORDS = (*COMMANDS, *WAKE_WORDS)


@dataclass(frozen=True, slots=True)
class Sound:
    """How an everyday sound is aligned in training and decided in the daemon."""

    merge_gap_s: float
    """Pauses up to this long belong to the sound (between two barks, two ticks)."""
    lead_s: float = 0.15
    """How much of it must be heard before anyone could name it: not scored there."""
    smoothing_ms: float = 240.0
    min_ms: float = 120.0
    release_ms: float = 600.0
    weight: float = 1.0
    """How often it is drawn, against the other sounds."""


SOUNDS = {
    "baby_cry": Sound(0.7, smoothing_ms=400, min_ms=300, release_ms=1000, weight=1.5),
    "cough": Sound(0.3, lead_s=0.08, smoothing_ms=150, min_ms=60, release_ms=400, weight=1.5),
    "sneeze": Sound(0.3, smoothing_ms=200, min_ms=60, release_ms=400),
    "dog_bark": Sound(0.5, lead_s=0.08, smoothing_ms=150, min_ms=60, release_ms=500, weight=1.5),
    "rooster": Sound(0.5, lead_s=0.25, smoothing_ms=300, min_ms=200),
    "clock_tick": Sound(1.2, lead_s=0.6, smoothing_ms=500, min_ms=500, release_ms=1500, weight=1.3),
    "rain": Sound(1.0, lead_s=0.4, smoothing_ms=500, min_ms=500, release_ms=1000),
    "sea_waves": Sound(1.5, lead_s=0.5, smoothing_ms=500, min_ms=500, release_ms=1000),
    "fire_crackling": Sound(1.0, lead_s=0.4, smoothing_ms=500, min_ms=500, release_ms=1000),
    "helicopter": Sound(1.0, lead_s=0.4, smoothing_ms=500, min_ms=400, release_ms=1000),
    "chainsaw": Sound(1.0, lead_s=0.3, smoothing_ms=500, min_ms=400, release_ms=1000),
    "footsteps": Sound(0.8, lead_s=0.05, smoothing_ms=150, min_ms=60, release_ms=900, weight=0.8),
    "music": Sound(0.6, lead_s=0.4, smoothing_ms=500, min_ms=500, release_ms=1000, weight=1.5),
    "gunshot": Sound(0.3, lead_s=0.05, smoothing_ms=120, min_ms=30, release_ms=400, weight=0.7),
    "glass_break": Sound(0.4, lead_s=0.06, smoothing_ms=150, min_ms=60, release_ms=400, weight=0.7),
}

LABELS = (*KEYWORDS, *SOUNDS)
COLUMN = {name: column for column, name in enumerate(LABELS)}

TWO_WORDS = ("smart_mirror", "view_glass")
"""A pause inside these is part of the word."""


def merge_gap_s(label: str) -> float:
    """Longest pause that may lie inside one utterance or sound of this label."""
    if label in SOUNDS:
        return SOUNDS[label].merge_gap_s
    return 0.4 if label in TWO_WORDS else 0.2


def rule(label: str, threshold: float = 0.5) -> LabelRule:
    """How the daemon decides this label, at a given threshold."""
    sound = SOUNDS.get(label)
    if sound is None:
        return LabelRule(name=label, kind="keyword", threshold=threshold, smoothing_ms=150, refractory_ms=700)
    return LabelRule(
        name=label,
        kind="sound",
        threshold=threshold,
        smoothing_ms=sound.smoothing_ms,
        min_ms=sound.min_ms,
        release_ms=sound.release_ms,
        refractory_ms=300,
    )

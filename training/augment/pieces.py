"""Cuts from clips, changed at random, with the times of what they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ
from training.augment.effects import Random, change_speed, level_db, low_pass
from training.augment.synthetic import SYNTHETIC
from training.data.activity import Spans
from training.data.corpus import Corpus, Item, is_unknown_word
from training.data.dataset import Mark
from training.data.marks import visible

SYNTHETIC_SHARE = 0.2
NEAR_MISS_SHARE, FOREIGN_SHARE = 0.12, 0.3
"""Among unknown words; foreign ones are what a keyword is most often heard in, and come from few speakers."""
SPLICED_AT = (0.3, 0.7)
REVERSED_SHARE = 0.15
OTHER_SOUND_SHARE = 0.15
FEW = 6
"""Of fewer keywords, or sounds, each would be heard so often that the network expects it."""
LONG_WORD_S = 0.5
FADE_SAMPLES = 160


@dataclass(slots=True)
class Piece:
    """Some sound, and what is heard in it and when."""

    samples: F32
    label: str
    """Empty: nothing that is a label."""
    spans: Spans
    unsure: tuple[str, ...] = ()
    level_db: float = -30.0
    """Level of the part that matters."""
    others: tuple[Mark, ...] = ()
    """Further labels that are known to be heard in it."""

    @property
    def marks(self) -> list[Mark]:
        """Everything in it that is a label."""
        own = [(self.label, onset_s, offset_s) for onset_s, offset_s in self.spans if self.label]
        return [*own, *self.others]


class Shelf:
    """Clips of one split by what they are for, and random pieces of them."""

    def __init__(self, corpus: Corpus) -> None:
        self.labels = labels = corpus.labels
        # Labels that do not ship are drawn as often as any other word or sound: they only teach.
        self.keywords = {name: corpus.keyword(name) for name in labels.shipped_keywords}
        self._recorded = [name for name, items in self.keywords.items() if items]
        self.sounds = {name: corpus.sound(name) for name in labels.shipped_sounds}
        self.words = corpus.unknown_words()
        self.near = [item for item in self.words if item.clip.collection == "kokoro_near"]
        self.foreign = [item for item in self.words if item.clip.kind == "speech" and item not in self.near]
        self.sentences = corpus.sentences()
        self.talk = [*self.sentences, *(item for item in self.words if item.clip.collection == "wuw2")]
        self.others = corpus.other_sounds()
        self.noise = corpus.of_kind("noise")
        self.rooms = corpus.of_kind("rir")
        self._labels = [name for name, items in self.sounds.items() if items or name in SYNTHETIC]
        self._made_others = [name for name in SYNTHETIC if name not in self.sounds]
        weights = np.array([labels.sounds[name].weight for name in self._labels])
        self._weights = weights / max(weights.sum(), 1e-9)

    def keyword(self, rng: Random) -> Piece | None:
        """One of those that have been recorded, all equally often; of a few now and then."""
        if not self._recorded:
            return None
        if len(self._recorded) < FEW and rng.random() * FEW >= len(self._recorded):
            other = self.unknown_word(rng) or self.sentence(rng, 2.0)
            if other is not None:
                return other
        return word(pick(self.keywords[self._recorded[rng.integers(len(self._recorded))]], rng), rng)

    def unknown_word(self, rng: Random) -> Piece | None:
        """Another word."""
        return word(pick(self._strangers(rng), rng), rng) if self.words else None

    def _strangers(self, rng: Random) -> list[Item]:
        draw = rng.random()
        if self.near and draw < NEAR_MISS_SHARE:
            return self.near
        foreign = self.foreign and NEAR_MISS_SHARE <= draw < NEAR_MISS_SHARE + FOREIGN_SHARE
        return self.foreign if foreign else self.words

    def spliced_word(self, rng: Random) -> Piece | None:
        """A word that nobody has ever said: one's beginning and another's end, now and then backwards."""
        first, second = self.unknown_word(rng), self.unknown_word(rng)
        if first is None or second is None or not (first.spans and second.spans):
            return None
        return spliced(first, second, rng) if min(first.level_db, second.level_db) > -110.0 else None

    def broken_word(self, rng: Random) -> Piece | None:
        """The beginning of a keyword, which is not that keyword yet."""
        whole = self.keyword(rng)
        if whole is None or not whole.spans or whole.level_db <= -110.0:
            return None
        onset_s, offset_s = whole.spans[0][0], whole.spans[-1][1]
        end_s = onset_s + rng.uniform(0.25, 0.5) * (offset_s - onset_s)
        if offset_s - onset_s < LONG_WORD_S:
            return None  # half of a short word may be another one
        kept = _faded(whole.samples[: int(end_s * SAMPLE_RATE_HZ)])
        return Piece(kept, "", [], (), whole.level_db)

    def sentence(self, rng: Random, longest_s: float = 5.0) -> Piece | None:
        """Some running speech."""
        return stretch(pick(self.talk, rng), rng, longest_s) if self.talk else None

    def sound(self, rng: Random, longest_s: float) -> Piece | None:
        """An everyday sound, now and then one that is no label of the bundle."""
        has_others = bool(self.others or self._made_others)
        share = max(OTHER_SOUND_SHARE, 1 - len(self._labels) / FEW)
        if not self._labels or (has_others and rng.random() < share):
            return self._other_sound(rng, longest_s) if has_others else None
        label = self._labels[rng.choice(len(self._labels), p=self._weights)]
        if label in SYNTHETIC and (not self.sounds[label] or rng.random() < SYNTHETIC_SHARE):
            return self._made(label, rng, longest_s)
        return stretch(pick(self.sounds[label], rng), rng, longest_s)

    def _other_sound(self, rng: Random, longest_s: float) -> Piece:
        if self._made_others and (not self.others or rng.random() < SYNTHETIC_SHARE):
            return self._made(self._made_others[rng.integers(len(self._made_others))], rng, longest_s)
        return stretch(pick(self.others, rng), rng, longest_s)

    def _made(self, name: str, rng: Random, longest_s: float) -> Piece:
        samples = SYNTHETIC[name](int(rng.uniform(1.0, longest_s) * SAMPLE_RATE_HZ), rng)
        label = name if self.labels.is_sound(name) else ""
        return Piece(samples, label, [(0.0, len(samples) / SAMPLE_RATE_HZ)], (), level_db(samples))


def pick(items: list[Item], rng: Random) -> Item:
    """Any of them."""
    return items[rng.integers(len(items))]


def word(item: Item, rng: Random) -> Piece:
    """A clip's word with some of what surrounds it."""
    samples = item.samples()
    onset_s, offset_s = item.spans[0]
    if rng.random() < 0.8:
        first_s, last_s = onset_s - rng.uniform(0.02, 0.25), offset_s + rng.uniform(0.06, 0.4)
    else:
        first_s, last_s = 0.0, len(samples) / SAMPLE_RATE_HZ
    return _cut(item, samples, first_s, last_s, rng, speeds=(0.87, 1.15))


def spliced(first: Piece, second: Piece, rng: Random) -> Piece:
    """From the beginning of the one into the end of the other, at one level."""
    parts = []
    for piece, is_first in ((first, True), (second, False)):
        onset_s, offset_s = piece.spans[0][0], piece.spans[-1][1]
        at = int((onset_s + rng.uniform(*SPLICED_AT) * (offset_s - onset_s)) * SAMPLE_RATE_HZ)
        part = piece.samples[:at] if is_first else piece.samples[at:]
        parts.append(_faded(part * np.float32(10 ** ((first.level_db - piece.level_db) / 20))))
    overlap = min(FADE_SAMPLES, *(len(part) // 2 for part in parts))
    joined = np.zeros(len(parts[0]) + len(parts[1]) - overlap, np.float32)
    joined[: len(parts[0])] = parts[0]
    joined[len(joined) - len(parts[1]) :] += parts[1]
    if rng.random() < REVERSED_SHARE:
        joined = joined[::-1].copy()
    return Piece(joined, "", [], tuple({*first.unsure, *second.unsure}), first.level_db)


def stretch(item: Item, rng: Random, longest_s: float) -> Piece:
    """A random part of what is active in a clip."""
    spans = item.spans
    # Hand-set spans cover one word of an utterance; the rest of it is speech as well.
    whole = item.clip.kind in ("speech", "noise") or is_unknown_word(item)
    samples = item.samples()
    from_s, to_s = (0.0, len(samples) / SAMPLE_RATE_HZ) if whole else (spans[0][0], spans[-1][1])
    length_s = min(longest_s, to_s - from_s)
    first_s = rng.uniform(from_s, max(from_s, to_s - length_s)) if rng.random() < 0.7 else from_s
    return _cut(item, samples, first_s - 0.05, first_s + length_s + 0.1, rng, speeds=(0.82, 1.2))


def _cut(
    item: Item, samples: F32, first_s: float, last_s: float, rng: Random, speeds: tuple[float, float]
) -> Piece:
    first = int(max(0.0, first_s) * SAMPLE_RATE_HZ)
    kept = samples[first : int(last_s * SAMPLE_RATE_HZ)]
    begun_s, length_s = first / SAMPLE_RATE_HZ, len(kept) / SAMPLE_RATE_HZ
    spans = [(max(0.0, a - begun_s), min(length_s, b - begun_s)) for a, b in item.spans]
    spans = [(a, b) for a, b in spans if b - a > 0.02]
    speed = 1.0
    if rng.random() < 0.5 and len(kept) > FADE_SAMPLES:
        speed = rng.uniform(*speeds)
        kept = change_speed(kept, speed)
        spans = [(a / speed, b / speed) for a, b in spans]
    if rng.random() < 0.12:
        kept = low_pass(kept, rng.uniform(3300, 5500))
    labels, label = item.labels, item.label
    _, cut_own = visible([(label, *span) for span in item.spans], begun_s, length_s, labels.keywords)
    others, cut_words = visible(item.other_marks, begun_s, length_s, labels.keywords)
    known = tuple((name, a / speed, b / speed) for name, a, b in others if name in labels)
    unsure = tuple(name for name in (*item.clip.unsure, *cut_own, *cut_words) if name in labels)
    kept = _faded(kept)
    return Piece(kept, "" if cut_own else label, spans, unsure, _active_level_db(kept, spans), known)


def _faded(samples: F32) -> F32:
    edge = min(FADE_SAMPLES, len(samples) // 2)
    ramp = np.linspace(0, 1, edge, dtype=np.float32)
    samples[:edge] *= ramp
    samples[len(samples) - edge :] *= ramp[::-1]
    return samples


def _active_level_db(samples: F32, spans: Spans) -> float:
    parts = [samples[int(a * SAMPLE_RATE_HZ) : int(b * SAMPLE_RATE_HZ)] for a, b in spans]
    heard = np.concatenate(parts) if parts else samples
    return level_db(heard) if len(heard) else -120.0

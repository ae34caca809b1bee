"""Test streams: dev clips one after the other in one long sound, with what is true when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ
from training.augment import effects
from training.augment.synthetic import coloured_noise
from training.data.corpus import Corpus, Item, is_unknown_word
from training.data.marks import union
from training.label_files import default_labels

CLIP_DB = -26.0
"""Level that clips are brought to where noise is mixed in."""
FAINT_DB = -80.0
BED_SAMPLES = 60 * SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Truth:
    """One clip's place in the stream, and what is heard in it when."""

    label: str
    """Empty: none of the labels."""
    group: str
    """What the clip is: its collection, or `silence`."""
    start_s: float
    end_s: float
    spans: tuple[tuple[float, float], ...]
    path: str = ""
    """The clip's place in its data set."""
    unsure: tuple[str, ...] = ()
    """Labels that may be heard in it, nobody knows: neither a hit nor a false alarm."""
    is_word: bool = True
    """Whether words are to be told apart here; else it is a sound."""


@dataclass(slots=True)
class LongStream:
    """A long sound and the clips in it."""

    name: str
    samples: F32
    truths: list[Truth] = field(default_factory=list)
    """In order of their beginnings. Those of a whole recording may overlap."""
    unsure: list[tuple[str, float, float]] = field(default_factory=list)
    """(label, from_s, to_s) of recordings in which it may be heard, nobody knows where."""

    @property
    def words(self) -> list[Truth]:
        """Where words are to be told apart."""
        return [truth for truth in self.truths if truth.is_word]

    @property
    def hours(self) -> float:
        """How much there is to hear."""
        return len(self.samples) / SAMPLE_RATE_HZ / 3600


def build(
    name: str,
    items: Sequence[Item],
    noise: F32 | None,
    seed: int,
    snr_db: float | None = None,
    silences: int = 0,
) -> LongStream:
    """Clips or recordings in random order, pauses of about a second, over faint noise or at this SNR."""
    rng = np.random.default_rng(seed)
    order: list[Item | None] = [*items, *[None] * silences]
    rng.shuffle(order)
    stream, parts, at = LongStream(name, np.empty(0, np.float32)), [], 0
    for item in order:
        parts.append(np.zeros(int(rng.uniform(0.7, 1.5) * SAMPLE_RATE_HZ), np.float32))
        at += len(parts[-1])
        samples = np.zeros(SAMPLE_RATE_HZ, np.float32) if item is None else item.samples()
        if item is not None and snr_db is not None:
            samples = samples * np.float32(10 ** ((CLIP_DB - _active_db(item, samples)) / 20))
        _tell(stream, item, at / SAMPLE_RATE_HZ, len(samples) / SAMPLE_RATE_HZ)
        parts.append(samples)
        at += len(samples)
    dry = np.concatenate([*parts, np.zeros(2 * SAMPLE_RATE_HZ, np.float32)])
    bed = np.resize(coloured_noise(BED_SAMPLES, rng) if noise is None else noise, len(dry)).astype(np.float32)
    stream.samples = effects.as_recorded(
        dry + effects.to_level(bed, FAINT_DB if snr_db is None else CLIP_DB - snr_db)
    )
    return stream


def _tell(stream: LongStream, item: Item | None, start_s: float, length_s: float) -> None:
    """What is true of this clip or recording."""
    if item is None:
        stream.truths.append(Truth("", "silence", start_s, start_s + length_s, ()))
    elif item.clip.marks:
        stream.truths += _marked(item, start_s)
        stream.unsure += [(label, start_s, start_s + length_s) for label in item.clip.unsure]
    else:
        stream.truths.append(_truth(item, start_s, length_s))


def _truth(item: Item, start_s: float, length_s: float) -> Truth:
    spans = tuple((start_s + a, start_s + b) for a, b in item.spans)
    clip, label, end_s = item.clip, _shipped(item, item.label), start_s + length_s
    is_word = clip.kind != "event"
    return Truth(label, clip.collection, start_s, end_s, spans, clip.path, tuple(clip.unsure), is_word)


def _marked(item: Item, start_s: float) -> list[Truth]:
    """One for everything that is marked; the same label twice at once is one."""
    found, known = [], item.labels.beside(default_labels())
    for label in dict.fromkeys(mark[0] for mark in item.marks):
        is_word = known.is_keyword(label) or (label not in known and item.clip.kind != "event")
        for onset_s, offset_s in union(tuple(mark for mark in item.marks if mark[0] == label)):
            a, b = start_s + onset_s, start_s + offset_s
            told = (_shipped(item, label), item.clip.collection, a, b, ((a, b),), item.clip.path)
            found.append(Truth(*told, is_word=is_word))
    return sorted(found, key=lambda truth: truth.start_s)


def _shipped(item: Item, label: str) -> str:
    return label if item.labels.ships(label) else ""


def _active_db(item: Item, samples: F32) -> float:
    parts = [samples[int(a * SAMPLE_RATE_HZ) : int(b * SAMPLE_RATE_HZ)] for a, b in item.spans]
    return effects.level_db(np.concatenate(parts)) if parts else effects.level_db(samples)


def keyword_items(corpus: Corpus) -> list[Item]:
    """The keywords and the unknown words of the same collections."""
    return corpus.select(_is_in_words)


def sound_items(corpus: Corpus) -> list[Item]:
    """All everyday sounds, those without a label among them."""
    return corpus.select(lambda i: i.clip.kind == "event" and not i.clip.marks)


def speech_items(corpus: Corpus) -> list[Item]:
    """Speech that holds none of the keywords: sentences, other languages, telephone utterances."""
    return corpus.select(
        lambda i: (i.clip.kind == "speech" or is_unknown_word(i)) and not i.clip.marks and not _is_in_words(i)
    )


def recording_items(corpus: Corpus) -> list[Item]:
    """Recordings with marks, whole: what is not marked in them must stay silent."""
    return corpus.recordings


def _is_in_words(item: Item) -> bool:
    """Whether it is played among the words: and nowhere else, or its false alarms would count twice."""
    clip = item.clip
    return clip.kind == "keyword" and not clip.marks and clip.collection not in ("wuw2", "fsdd")


def dev_noise(corpus: Corpus) -> F32:
    """The dev split's only recorded noise, half of it covered by made noise of changing colour."""
    recorded = [item.samples() for item in corpus.of_kind("noise")]
    rng = np.random.default_rng(99)
    made = [effects.to_level(coloured_noise(20 * SAMPLE_RATE_HZ, rng), CLIP_DB) for _ in range(6)]
    return np.concatenate([*(effects.to_level(sound, CLIP_DB) for sound in recorded), *made])


def standard_streams(corpus: Corpus) -> list[LongStream]:
    """What a model is judged on, as far as there are clips for it; the same every time."""
    noise = dev_noise(corpus)
    streams = []
    for suffix, snr_db in (("clean", None), ("10dB", 10.0)):
        bed = None if snr_db is None else noise
        for kind, items, seed, silences in (
            ("keywords", keyword_items(corpus), 11, 80),
            ("speech", speech_items(corpus), 12, 0),
            ("sounds", sound_items(corpus), 13, 0),
            ("recordings", recording_items(corpus), 14, 0),
        ):
            if items:
                streams.append(build(f"{kind}-{suffix}", items, bed, seed, snr_db, silences))
    return streams


def telephone_copy(stream: LongStream) -> LongStream:
    """The same stream through a telephone's band."""
    rng = np.random.default_rng(7)
    band = effects.telephone(stream.samples, rng)
    return replace(stream, name=f"{_kind(stream)}-telephone", samples=effects.as_recorded(band))


def gain_copy(stream: LongStream, gain_db: float) -> LongStream:
    """The same stream softer or louder, clipped where it does not fit."""
    sound = np.asarray(stream.samples * 10 ** (gain_db / 20), np.float32)
    return replace(stream, name=f"{_kind(stream)}{gain_db:+.0f}dB-gain", samples=effects.as_recorded(sound))


def _kind(stream: LongStream) -> str:
    return stream.name.rsplit("-", 1)[0]

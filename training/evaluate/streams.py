"""Test streams: dev clips one after the other in one long sound, with what is true when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ
from training.augment import effects
from training.augment.synthetic import coloured_noise
from training.data.corpus import Corpus, Item, is_unknown_word

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


@dataclass(slots=True)
class LongStream:
    """A long sound and the clips in it."""

    name: str
    samples: F32
    truths: list[Truth] = field(default_factory=list)

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
    """The clips in random order with pauses of about a second, over faint noise or at this SNR."""
    rng = np.random.default_rng(seed)
    order: list[Item | None] = [*items, *[None] * silences]
    rng.shuffle(order)  # type: ignore[arg-type]
    stream, parts, at = LongStream(name, np.empty(0, np.float32)), [], 0
    for item in order:
        parts.append(np.zeros(int(rng.uniform(0.7, 1.5) * SAMPLE_RATE_HZ), np.float32))
        at += len(parts[-1])
        samples = np.zeros(SAMPLE_RATE_HZ, np.float32) if item is None else item.samples()
        if item is not None and snr_db is not None:
            samples = samples * np.float32(10 ** ((CLIP_DB - _active_db(item, samples)) / 20))
        stream.truths.append(_truth(item, at / SAMPLE_RATE_HZ, len(samples) / SAMPLE_RATE_HZ))
        parts.append(samples)
        at += len(samples)
    dry = np.concatenate([*parts, np.zeros(2 * SAMPLE_RATE_HZ, np.float32)])
    bed = np.resize(coloured_noise(BED_SAMPLES, rng) if noise is None else noise, len(dry)).astype(np.float32)
    stream.samples = effects.as_recorded(
        dry + effects.to_level(bed, FAINT_DB if snr_db is None else CLIP_DB - snr_db)
    )
    return stream


def _truth(item: Item | None, start_s: float, length_s: float) -> Truth:
    if item is None:
        return Truth("", "silence", start_s, start_s + length_s, ())
    spans = tuple((start_s + a, start_s + b) for a, b in item.spans)
    end_s = start_s + length_s
    clip = item.clip
    return Truth(item.label, clip.collection, start_s, end_s, spans, clip.path, tuple(clip.unsure))


def _active_db(item: Item, samples: F32) -> float:
    parts = [samples[int(a * SAMPLE_RATE_HZ) : int(b * SAMPLE_RATE_HZ)] for a, b in item.spans]
    return effects.level_db(np.concatenate(parts)) if parts else effects.level_db(samples)


def keyword_items(corpus: Corpus) -> list[Item]:
    """The keywords and the unknown words of the same collections."""
    return corpus.select(lambda i: i.clip.kind == "keyword" and i.clip.collection not in ("wuw2", "fsdd"))


def sound_items(corpus: Corpus) -> list[Item]:
    """All everyday sounds, those without a label among them."""
    return corpus.select(lambda i: i.clip.kind == "event")


def speech_items(corpus: Corpus) -> list[Item]:
    """Speech that holds none of the keywords: sentences, other languages, telephone utterances."""
    return corpus.select(
        lambda i: i.clip.kind == "speech" or (is_unknown_word(i) and not i.clip.collection.startswith("gsc"))
    )


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
        ):
            if items:
                streams.append(build(f"{kind}-{suffix}", items, bed, seed, snr_db, silences))
    return streams


def telephone_copy(stream: LongStream) -> LongStream:
    """The same stream through a telephone's band."""
    rng = np.random.default_rng(7)
    band = effects.telephone(stream.samples, rng)
    return LongStream(stream.name.rsplit("-", 1)[0] + "-telephone", effects.as_recorded(band), stream.truths)


def gain_copy(stream: LongStream, gain_db: float) -> LongStream:
    """The same stream softer or louder, clipped where it does not fit."""
    sound = np.asarray(stream.samples * 10 ** (gain_db / 20), np.float32)
    return LongStream(
        f"{stream.name.rsplit('-', 1)[0]}{gain_db:+.0f}dB-gain", effects.as_recorded(sound), stream.truths
    )

"""The whole judgement of a bundle: every condition and variant, streams and clips, in one table."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.audio import F32
from streamer.errors import StreamerError
from streamer.inference.bundle import Bundle
from streamer.inference.model import VARIANTS
from training.data.corpus import Corpus, Item
from training.evaluate import cases, det, psds, streams, words
from training.evaluate.clips import play_clips
from training.evaluate.condition import RECORDINGS, SOUNDS, SPEECH, WORDS, Condition, negative
from training.evaluate.f1 import sounds_f1, words_f1
from training.evaluate.play import Played, play
from training.evaluate.streams import LongStream

CLEAN = "clean"
SNRS: tuple[float | None, ...] = (None, 20.0, 10.0, 5.0, 0.0)
"""None: as recorded."""
TUNED_ON = (None, 10.0)
LISTED_A_LABEL = 8
"""False alarms that are told one by one; the others only count."""
DRAWN = 3
"""Misses, and as many false alarms, that are drawn from each condition of TUNED_ON."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be judged."""

    variants: tuple[str, ...] = VARIANTS
    snrs_db: tuple[float | None, ...] = SNRS
    budget_per_hour: float = 0.1
    clip_mode: bool = True

    @property
    def strict_db(self) -> list[float | None]:
        """Conditions in which the budget must hold, and whose errors are shown one by one."""
        return [snr_db for snr_db in self.snrs_db if snr_db in TUNED_ON] or list(self.snrs_db)


@dataclass(slots=True)
class Heap:
    """What is gathered on the way."""

    curves: list[det.Curve] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    misses: list[cases.Case] = field(default_factory=list)
    alarms: list[cases.Case] = field(default_factory=list)
    drawn: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def condition_name(snr_db: float | None) -> str:
    """As streams name it."""
    return CLEAN if snr_db is None else f"{snr_db:g}dB"


def streams_in(corpus: Corpus, snr_db: float | None) -> Iterator[tuple[str, LongStream]]:
    """The streams of one condition, made one at a time; the same every time."""
    noise = None if snr_db is None else streams.dev_noise(corpus)
    wanted: Mapping[str, tuple[Callable[[Corpus], list[Item]], int, int]] = {
        WORDS: (streams.keyword_items, 11, 80),
        SPEECH: (streams.speech_items, 12, 0),
        SOUNDS: (streams.sound_items, 13, 0),
        RECORDINGS: (streams.recording_items, 14, 0),
    }
    for kind, (items_of, seed, silences) in wanted.items():
        items = items_of(corpus)
        if items:
            name = f"{kind}-{condition_name(snr_db)}"
            yield kind, streams.build(name, items, noise, seed, snr_db, silences)


def judge(bundle: Bundle, corpus: Corpus, wish: Wish, say: Say) -> dict[str, Any]:
    """Everything that the report shows, ready for JSON."""
    variants = _present(bundle, wish.variants)
    heap = Heap()
    for snr_db in wish.snrs_db:
        _judge_condition(bundle, corpus, variants, snr_db, wish, heap, say)
    return {"variants": variants, **gathered(bundle, heap, wish)}


def _present(bundle: Bundle, wanted: Sequence[str]) -> list[str]:
    """Variants that the bundle has and this machine can run."""
    torch = importlib.util.find_spec("torch") is not None
    return [name for name in wanted if name in bundle.manifest.files and (name != "torch" or torch)]


def _judge_condition(
    bundle: Bundle,
    corpus: Corpus,
    variants: Sequence[str],
    snr_db: float | None,
    wish: Wish,
    heap: Heap,
    say: Say,
) -> None:
    rules = list(bundle.manifest.labels)
    played: dict[str, dict[str, Played]] = {variant: {} for variant in variants}
    in_clips: dict[str, Played] = {}
    sounds: dict[str, NDArray[np.int16]] = {}
    for kind, stream in streams_in(corpus, snr_db):
        for variant in variants:
            say(f"{stream.name}: {stream.hours:.2f} h, {variant}")
            played[variant][kind] = play(bundle, stream, variant)
        if wish.clip_mode and kind != SPEECH:
            say(f"{stream.name}: clip by clip")
            in_clips[kind] = play_clips(bundle, stream, played[variants[0]][kind], variants[0])
        if snr_db in wish.strict_db:
            sounds[kind] = np.round(stream.samples * 32768).astype(np.int16)
        stream.samples = _same_length(stream.samples)
    name = condition_name(snr_db)
    first = Condition(name, played[variants[0]], rules)
    heap.curves += det.curves(first)
    for variant in variants:
        condition = first if variant == variants[0] else Condition(name, played[variant], rules)
        figures = condition_figures(condition, heap.notes)
        heap.figures.append(
            {
                "variant": variant,
                "mode": "stream",
                **figures,
                **_difference(played[variants[0]], played[variant]),
            }
        )
    if in_clips:
        clip_mode = Condition(name, in_clips, rules)
        heap.figures.append(
            {"variant": variants[0], "mode": "clips", **condition_figures(clip_mode, heap.notes)}
        )
    if snr_db in wish.strict_db:
        _look(first, sounds, heap)


def _same_length(samples: F32) -> F32:
    """Silence that takes no memory: only the length is asked for from here on."""
    return np.broadcast_to(np.float32(0), samples.shape)


def condition_figures(condition: Condition, notes: list[str]) -> dict[str, Any]:
    """Numbers of one variant in one condition, at the bundle's own thresholds."""
    figures: dict[str, Any] = {
        "condition": condition.name,
        "words": words.word_figures(condition),
        "words_f1": words_f1(condition),
        "sounds_f1": sounds_f1(condition),
        "false_alarms": _alarm_counts(condition),
    }
    try:
        figures["psds"] = psds.psds(condition)
    except StreamerError as error:
        figures["psds"] = {}
        note = f"PSDS was not computed: {error}"
        if note not in notes:
            notes.append(note)
    return figures


def _alarm_counts(condition: Condition) -> dict[str, Any]:
    """By label: events where it is not heard, and the hours of that."""
    counted = {}
    for rule in (rule for rule in condition.rules if rule.enabled):
        silent = [negative(heard, rule) for heard in condition.negatives(rule)]
        count = sum(len(part.alarms(part.heard.events(rule))) for part in silent)
        hours = round(sum(part.hours for part in silent), 4)
        counted[rule.name] = {"kind": rule.kind, "count": count, "hours": hours}
    return counted


def _difference(reference: Mapping[str, Played], played: Mapping[str, Played]) -> dict[str, float]:
    """How far the scores lie from the first variant's, anywhere."""
    gaps = [np.abs(reference[kind].scores - played[kind].scores).ravel() for kind in played]
    every = np.concatenate(gaps) if gaps else np.zeros(1, np.float32)
    return {"largest_difference": float(every.max()), "mean_difference": float(every.mean())}


def _look(condition: Condition, sounds: Mapping[str, NDArray[np.int16]], heap: Heap) -> None:
    missed, told = cases.misses(condition), cases.false_alarms(condition)
    heap.misses += missed
    heap.alarms += told
    for case in [*cases.spread(missed, 1)[:DRAWN], *cases.spread(told, 1)[:DRAWN]]:
        kind = case.stream.split("-")[0]
        drawing = cases.excerpt(case, condition.streams[kind], sounds[kind])
        heap.drawn.append({**case.as_dict(), **drawing})


def gathered(bundle: Bundle, heap: Heap, wish: Wish) -> dict[str, Any]:
    """The report's table from what was gathered."""
    manifest = bundle.manifest
    return {
        "bundle": {
            "name": manifest.name,
            "version": manifest.version,
            "onnx_sha256": manifest.files["onnx"].sha256,
            "description": manifest.description,
            "labels": [{"name": r.name, "kind": r.kind, "threshold": r.threshold} for r in manifest.labels],
            "provenance": {
                name: getattr(manifest.provenance, name) for name in manifest.provenance.__struct_fields__
            },
            "sizes": {role: bundle.file(role).stat().st_size for role in VARIANTS if role in manifest.files},
        },
        "budget_per_hour": wish.budget_per_hour,
        "curves": [curve_table(curve) for curve in heap.curves],
        "operating": [operating_table(point) for point in operating_points(heap.curves, wish)],
        "figures": heap.figures,
        "misses": len(heap.misses),
        "false_alarms": [case.as_dict() for case in cases.spread(heap.alarms, LISTED_A_LABEL)],
        "false_alarms_in_all": len(heap.alarms),
        "drawn": heap.drawn,
        "notes": heap.notes,
    }


def operating_points(curves: Sequence[det.Curve], wish: Wish) -> list[det.Operating]:
    """One for each label, over the conditions in which the budget must hold."""
    names = [condition_name(snr_db) for snr_db in wish.strict_db]
    strict = [curve for curve in curves if curve.condition in names]
    labels = list(dict.fromkeys(curve.label for curve in strict))
    return [
        det.operating_point([curve for curve in strict if curve.label == label], wish.budget_per_hour)
        for label in labels
    ]


def curve_table(curve: det.Curve) -> dict[str, Any]:
    """A curve for JSON."""
    return {
        name: list(value) if isinstance(value := getattr(curve, name), tuple) else value
        for name in curve.__slots__
    }


def operating_table(point: det.Operating) -> dict[str, Any]:
    """An operating point for JSON."""
    return {
        **{name: getattr(point, name) for name in point.__slots__},
        "at_most_per_hour": round(point.at_most_per_hour, 3),
        "supported": point.supported,
        "sentence": point.sentence(),
    }

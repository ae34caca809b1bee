"""One evaluation: streams, thresholds, figures, and the same in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from streamer.decoding.rules import LabelRule
from streamer.inference.bundle import Bundle
from training.data.corpus import Corpus
from training.evaluate.metrics import false_alarms, keyword_figures, sound_figures
from training.evaluate.play import Played, play
from training.evaluate.streams import gain_copy, standard_streams, telephone_copy
from training.evaluate.thresholds import Plays, choose
from training.labels import KEYWORDS, SOUNDS, WAKE_WORDS

FALSE_ALARMS_PER_HOUR = 0.05
"""Budget of one keyword; sixteen of them together stay under one an hour."""


def play_all(bundle: Bundle, cache: Path, variant: str, say: Callable[[str], None]) -> dict[str, Played]:
    """Every test stream as this variant hears it, by the stream's name."""
    streams = standard_streams(Corpus(cache, "dev"))
    streams += [telephone_copy(stream) for stream in streams if stream.name.endswith("clean")]
    keywords = next(stream for stream in streams if stream.name == "keywords-clean")
    streams += [gain_copy(keywords, -30), gain_copy(keywords, 10)]
    played = {}
    for stream in streams:
        say(f"{stream.name}: {stream.hours:.2f} h")
        played[stream.name] = play(bundle, stream, variant)
    return played


def tune(played: Mapping[str, Played]) -> dict[str, float]:
    """Thresholds for the budget, chosen on the dev streams, clean, in noise and by telephone."""

    def those(kind: str) -> list[Played]:
        return [value for name, value in played.items() if name.startswith(kind + "-")]

    words = [value for value in those("keywords") if "telephone" not in value.stream.name]
    sounds = [value for value in those("sounds") if "telephone" not in value.stream.name]
    return choose(Plays(words, those("speech"), sounds), FALSE_ALARMS_PER_HOUR)


def with_thresholds(rules: list[LabelRule], thresholds: Mapping[str, float]) -> list[LabelRule]:
    """The bundle's rules at other thresholds."""
    return [
        msgspec.structs.replace(rule, threshold=thresholds.get(rule.name, rule.threshold), end_threshold=None)
        for rule in rules
    ]


def figures(played: Mapping[str, Played], rules: list[LabelRule]) -> dict[str, Any]:
    """All numbers of one variant."""
    words = [name for name in KEYWORDS if name in {rule.name for rule in rules}]
    sounds = [name for name in SOUNDS if name in {rule.name for rule in rules}]
    result: dict[str, Any] = {
        "keywords": {},
        "sounds": {},
        "keyword_false_alarms": {},
        "sound_false_alarms": {},
    }
    for name, heard in played.items():
        detections = heard.detections(rules)
        if name.startswith("keywords"):
            result["keywords"][name] = keyword_figures(heard, detections)
        if name.startswith("sounds"):
            result["sounds"][name] = sound_figures(heard, detections)
        if name.startswith(("speech", "sounds")):
            result["keyword_false_alarms"][name] = false_alarms(heard, detections, words)
        if name.startswith(("speech", "keywords")):
            result["sound_false_alarms"][name] = false_alarms(heard, detections, sounds)
    return result


def as_text(result: Mapping[str, Any]) -> str:
    """The figures for people, in Markdown tables."""
    lines = [
        "| stream | twelve | ten commands | wake words missed | hit after the word's end (median, p90) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, entry in result["keywords"].items():
        wake = [entry["miss_rate"][word] for word in WAKE_WORDS if word in entry["miss_rate"]]
        missed = sum(wake) / max(1, len(wake))
        late = entry["latency_ms"]
        lines.append(
            f"| {name} | {entry['accuracy_twelve']:.1%} | {entry['accuracy_ten_commands']:.1%} "
            f"| {missed:.1%} | {late['median']} ms, {late['p90']} ms |"
        )
    lines += [
        "",
        "Twelve: the ten commands, unknown words and silence, one decision a clip from one long stream; the "
        "last two are right when nothing is told. Every clip counts once.",
        "",
        "| stream | hours | keyword false alarms | per hour | which |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for name, entry in result["keyword_false_alarms"].items():
        which = ", ".join(f"{label} {count}" for label, count in entry["by_label"].items())
        lines.append(
            f"| {name} | {entry['hours']} | {entry['false_alarms']} | {entry['per_hour']} | {which} |"
        )
    lines += [
        "",
        "| stream | macro F1 | ESC-10 clips right | sounds told on speech, per hour |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, entry in result["sounds"].items():
        speech = result["sound_false_alarms"].get(name.replace("sounds", "speech"), {})
        lines.append(
            f"| {name} | {entry['macro_f1']} | {entry['esc10_clip_accuracy']:.1%} of {entry['esc10_clips']} "
            f"| {speech.get('per_hour')} |"
        )
    lines += ["", *_label_table(result)]
    return "\n".join(lines) + "\n"


def _label_table(result: Mapping[str, Any]) -> list[str]:
    clean, noisy = result["keywords"]["keywords-clean"], result["keywords"]["keywords-10dB"]
    lines = [
        "| keyword | clips | missed, clean | missed, 10 dB | median ms after its end |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for word, missed in clean["miss_rate"].items():
        clips, late = clean["right_by_label"][word]["of"], clean["latency_ms_by_label"].get(word)
        lines.append(f"| {word} | {clips} | {missed:.1%} | {noisy['miss_rate'][word]:.1%} | {late} |")
    lines += [
        "",
        "| sound | clips | F1, clean | precision | recall | F1, 10 dB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    noisy_sounds = result["sounds"]["sounds-10dB"]["by_label"]
    for label, entry in result["sounds"]["sounds-clean"]["by_label"].items():
        lines.append(
            f"| {label} | {entry['clips']} | {entry['f1']} | {entry['precision']} | {entry['recall']} "
            f"| {noisy_sounds[label]['f1']} |"
        )
    return lines

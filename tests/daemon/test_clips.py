"""Clips by a running daemon: the file that an event names holds just the sound around it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.delivery.messages import Event
from tests.support.daemon import Daemon
from tests.support.tones import ToneScene, make_tone_scene

RATE = 16_000
BEFORE_S, AFTER_S = 0.5, 0.3


def with_clips(directory: Path, **settings: object) -> dict[str, str]:
    given = {"enabled": "true", "directory": directory, "before_s": BEFORE_S, "after_s": AFTER_S, **settings}
    return {f"STREAMER_CLIPS_{name.upper()}": str(value) for name, value in given.items()}


def clip_of(event: Event, directory: Path) -> np.ndarray:
    path = directory / event.clip
    deadline_s = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline_s, f"{path} has not come"
        time.sleep(0.02)
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == RATE
    return np.asarray(samples)


def assert_holds_what_was_played(event: Event, clip: np.ndarray, scene: ToneScene) -> None:
    first = max(0, round((event.onset_s - BEFORE_S) * RATE))
    last = min(len(scene.samples), round((event.detected_s + AFTER_S) * RATE))
    assert len(clip) == pytest.approx(last - first, abs=2)
    played = scene.samples[first : first + len(clip)]
    assert np.abs(clip[: len(played)] - played).max() < 2 / 32768


def test_each_event_names_its_sound(models: Path, tmp_path: Path) -> None:
    scene = make_tone_scene(RATE, 6.0, (("low", 1.0, 1.3), ("high", 2.5, 3.6), ("mid", 5.5, 5.8)))
    soundfile.write(tmp_path / "scene.wav", scene.samples, RATE, subtype="FLOAT")
    clips = tmp_path / "clips"
    with Daemon(
        "--file", str(tmp_path / "scene.wav"), models=models, environment=with_clips(clips)
    ) as daemon:
        daemon.hear_final()
        events = daemon.events
    named = [event for event in events if event.clip]
    assert [(event.label, event.phase) for event in named] == [
        ("low", "hit"),
        ("high", "start"),
        ("mid", "hit"),
    ]
    assert not any(event.clip for event in events if event.phase == "end")
    for event in named:  # the last one is cut short by the end of the sound
        assert_holds_what_was_played(event, clip_of(event, clips), scene)
    assert len(list(clips.rglob("*.flac"))) == 3


def test_only_of_the_labels_that_are_asked_for(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    chosen = with_clips(clips, labels="high,low")
    with Daemon("--file", str(scene_wav), models=models, environment=chosen) as daemon:
        daemon.hear_final()
        events = daemon.events
    assert {event.label for event in events if event.clip} == {"high", "low"}
    assert {event.label for event in events if not event.clip and event.phase != "end"} == {"mid"}


def test_none_without_being_asked_to(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    with Daemon(
        "--file", str(scene_wav), models=models, environment={"XDG_STATE_HOME": str(tmp_path)}
    ) as daemon:
        daemon.hear_final()
        assert not any(event.clip for event in daemon.events)
    assert not list(tmp_path.rglob("*.flac"))

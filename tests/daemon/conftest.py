"""What the tests of the daemon share: the tiny bundle's place, a short scene, and its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.delivery.messages import Event
from tests.support.tones import ToneScene, make_tone_scene

TONES = (("low", 0.5, 0.7), ("mid", 0.9, 1.1), ("high", 1.3, 1.7), ("low", 2.0, 2.2))
LENGTH_S = 2.4
"""Half a second of silence first: the subscriber is connected by then."""
ONSET_TOLERANCE_S = 0.06
END_TOLERANCE_S = 0.12

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def models(tiny_bundle: Path) -> Path:
    """The folder in which the tiny bundle is called "tiny"."""
    return tiny_bundle.parent


@pytest.fixture(scope="session")
def scene() -> ToneScene:
    """Four tones in 2.4 seconds at 16 kHz."""
    return make_tone_scene(16_000, LENGTH_S, TONES)


@pytest.fixture(scope="session")
def scene_48k() -> ToneScene:
    """The same at 48 kHz."""
    return make_tone_scene(48_000, LENGTH_S, TONES)


@pytest.fixture(scope="session")
def scene_wav(scene: ToneScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene as a file."""
    path = tmp_path_factory.mktemp("scene") / "tones.wav"
    soundfile.write(path, scene.samples, scene.rate_hz, subtype="FLOAT")
    return path


@pytest.fixture
def write_wav(tmp_path: Path) -> Write:
    """Write samples to a file of their own."""

    def write(
        samples: np.ndarray, rate_hz: int = 16_000, name: str = "sound.wav", subtype: str = "FLOAT"
    ) -> Path:
        soundfile.write(tmp_path / name, samples, rate_hz, subtype=subtype)
        return tmp_path / name

    return write


def assert_events(events: Sequence[Event], scene: ToneScene, *, shift_s: float = 0.0) -> None:
    """Exactly the scene's events, in order, at their times; numbered from 1 without holes."""
    assert [(event.label, event.phase) for event in events] == [expected[:2] for expected in scene.expected]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    for event, (_, phase, time_s) in zip(events, scene.expected, strict=True):
        told_s = event.offset_s if phase == "end" else event.onset_s
        tolerance_s = END_TOLERANCE_S if phase == "end" else ONSET_TOLERANCE_S
        assert told_s is not None
        assert abs(told_s - shift_s - time_s) <= tolerance_s, (event, time_s)
        assert event.detected_s >= told_s
        assert 0 < event.score <= 1

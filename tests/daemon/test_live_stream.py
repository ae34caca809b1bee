"""One stream without a daemon: when it wants a restart of the daemon, and when it wants to be read."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streamer.capture.files import SoundFileSource
from streamer.capture.microphone import Microphone, Trouble
from streamer.config import EngineConfig, StreamConfig
from streamer.inference.model import Model
from streamer.live_stream import MENDED_S, LiveStream
from streamer.tuned import TunedModel


@pytest.mark.parametrize(
    ("state", "for_s", "needs_no_restart"),
    [
        ("no-device", 0.0, True),
        ("no-device", 100 * MENDED_S, True),  # there is nothing to listen to, and we look for it
        ("stalled", MENDED_S - 10, True),  # we see to it
        ("stalled", MENDED_S + 1, False),  # in vain
    ],
)
def test_a_microphone_in_trouble(tiny_model: Model, state, for_s: float, needs_no_restart: bool) -> None:
    microphone = Microphone()
    models = [TunedModel(tiny_model, list(tiny_model.bundle.manifest.labels))]
    stream = LiveStream(StreamConfig(), EngineConfig(), models, source=microphone)
    microphone.trouble = Trouble(state, "", time.monotonic() - for_s)
    stream.check_state()
    assert stream.state == state
    assert stream.needs_no_restart == needs_no_restart


@pytest.mark.parametrize(("paced", "due_s"), [(True, 0.115), (False, 0.0)])
def test_a_paced_file_is_read_when_a_block_is_complete(
    tiny_model: Model, scene_wav: Path, paced: bool, due_s: float
) -> None:
    """Not when its usual block of 0.1 s is."""
    models = [TunedModel(tiny_model, list(tiny_model.bundle.manifest.labels))]
    source = SoundFileSource(scene_wav, paced, clock_s=lambda: 0.0)
    stream = LiveStream(StreamConfig(), EngineConfig(hop_ms=100), models, source=source)
    stream.open()
    assert source.next_due_s() == pytest.approx(due_s)
    stream.close()

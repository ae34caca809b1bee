"""When the service manager is to restart the daemon because of a stream, and when that would mend nothing."""

from __future__ import annotations

import time

import pytest

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

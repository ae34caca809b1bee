"""Sound that never came: told at once, in the log and on the health topic, and never glued over."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from streamer.audio import Chunk
from streamer.capture.source import EndOfSound
from streamer.config import load_config
from streamer.delivery.messages import Event, Health
from streamer.live_stream import LiveStream
from streamer.pipeline import ScoreBlock
from streamer.service import Service
from tests.support.tones import ToneScene

RATE_HZ = 16_000
LOST_SAMPLES = 4_000


class LeakySource:
    """Gives a scene in pieces of 100 ms and skips some of it in the middle."""

    rate_hz = RATE_HZ
    description = "a leaky source"
    live = True
    overruns = 0
    lost_samples = 0

    def __init__(self, samples: np.ndarray, at: int) -> None:
        pieces = [(first, samples[first : first + 1600]) for first in range(0, len(samples), 1600)]
        self._pieces = deque(
            Chunk(piece, first if first < at else first + LOST_SAMPLES, 1e9 + first / RATE_HZ)
            for first, piece in pieces
        )

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def fileno(self) -> None:
        """Nothing to wait on."""

    def next_due_s(self) -> float:
        """At once."""
        return 0.0

    def read(self) -> Chunk | None:
        """The next piece."""
        if not self._pieces:
            raise EndOfSound
        return self._pieces.popleft()


class Witness:
    """Keeps what the service tells."""

    def __init__(self) -> None:
        self.records: list[Event | Health] = []

    def heard(self, stream: LiveStream, chunk: Chunk) -> None:
        """Not of interest."""

    def scored(self, stream: LiveStream, labels: list[str], block: ScoreBlock) -> None:
        """Not of interest."""

    def told(self, record: Event | Health) -> None:
        """Keep it."""
        self.records.append(record)


def test_a_loss_is_told_and_the_clock_goes_on(
    tiny_bundle: Path,
    tone_scene: ToneScene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    onset_s = next(onset_s for label, onset_s, _ in tone_scene.tones if label == "high")
    at = round((onset_s + 0.3) * 10) * 1600  # in the middle of the sound
    source = LeakySource(tone_scene.samples, at)
    monkeypatch.setattr("streamer.live_stream.open_source", lambda config, engine: source)
    monkeypatch.setattr(logging.getLogger("streamer"), "propagate", True)
    flags = {
        "model": {"bundle": str(tiny_bundle)},
        "runtime": {"directory": str(tmp_path / "run")},
        "publish": {"endpoints": [f"ipc://{tmp_path}/e.sock"]},
    }
    witness = Witness()
    config = load_config(environment={}, flags=flags)
    Service(config, load=lambda: config, display=witness).run()

    events = [record for record in witness.records if isinstance(record, Event)]
    final = [record for record in witness.records if isinstance(record, Health)][-1]
    assert (final.gaps, final.lost_samples) == (1, LOST_SAMPLES)
    assert any(f"{LOST_SAMPLES} samples (0.250 s) lost" in record.getMessage() for record in caplog.records)
    broken = [event for event in events if event.reason == "gap"]
    assert [(event.label, event.phase) for event in broken] == [("high", "end")]
    assert broken[0].offset_s == pytest.approx(at / RATE_HZ, abs=0.06)
    later = [event for event in events if event.seq > broken[0].seq and event.phase == "start"]
    assert later, "the sound went on after the gap and must begin anew"
    assert later[0].onset_s >= (at + LOST_SAMPLES) / RATE_HZ

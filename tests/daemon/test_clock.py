"""The wall clock leaps while the daemon listens: event times follow it, and nothing else takes notice."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from streamer.delivery.messages import Event
from tests.support.daemon import Daemon

LIBRARIES = ("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib64/faketime/libfaketimeMT.so.1")
STEPS_S = (0, 3 * 3600, -40 * 86_400, 0)
ROUND_S = 4.0


def faketime() -> str:
    """The library that makes a process believe in another time; "" where it is not installed."""
    found = [path.format(os.uname().machine) for path in LIBRARIES]
    return next((path for path in found if Path(path).exists()), "")


def wall_s(event: Event) -> float:
    return datetime.fromisoformat(event.time_utc).timestamp()


@pytest.mark.skipif(not faketime(), reason="libfaketime is not installed")
def test_leaps_of_hours_and_days_forth_and_back(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0s\n")
    surroundings = {
        "LD_PRELOAD": faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    options = ["--file", str(scene_wav), "--loop"]
    with Daemon(*options, models=models, environment=surroundings) as daemon:
        ahead_s = []
        for step_s in STEPS_S:
            offset.write_text(f"{step_s:+d}s\n")
            known = len(daemon.events)
            # One event may have been on its way; of the next ones each is heard by the new clock.
            while len(daemon.events) < known + 4:
                daemon.hear_event("mid", "hit")
            newest = daemon.events[-1]
            ahead_s.append(wall_s(newest) - newest.detected_s)
            health = daemon.hear_health(lambda health: health.stream != "ingest")
            assert health.lag_s is None or health.lag_s < 5.0, "a leap is no lag"
            assert (health.gaps, health.lost_samples) == (0, 0)
        assert daemon.stop() == 0
        events = daemon.events
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    heard = [event.detected_s for event in events if event.phase != "end"]
    assert heard == sorted(heard), "the sample clock went on as if nothing had happened"
    for step_s, ahead in zip(STEPS_S, ahead_s, strict=True):
        assert ahead - ahead_s[0] == pytest.approx(step_s, abs=2.0)

"""The day of `make torture`, and no more of it than a few faults."""

from __future__ import annotations

import pytest

from tests.support import virtual_microphone
from tests.torture import day
from tests.torture.day_faults import Times
from tests.torture.day_scene import Scene

missing = virtual_microphone.available()
pytestmark = [
    pytest.mark.virtmic,
    pytest.mark.slow,
    pytest.mark.skipif(missing is not None, reason=str(missing)),
]

DEAFENED_FIRST = 2


def test_a_few_faults(request: pytest.FixtureRequest) -> None:
    outcome = day.torture(3, request.config.option.seed)
    print(outcome.told)
    assert outcome.ok, outcome.told


def test_a_deaf_daemon_and_a_dead_one_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    def deafen(scene: Scene, _times: Times) -> None:
        scene.control.threshold("mid", 0.999999)

    def kill(scene: Scene, _times: Times) -> None:
        scene.daemon.process.kill()

    monkeypatch.setattr(day, "KINDS", {"deafened": deafen, "killed": kill})
    outcome = day.torture(2, seed=DEAFENED_FIRST)
    assert not outcome.ok
    assert "3 tones played, 2 reported, 1 missed" in outcome.told
    assert "1 crashes, 0 hangs" in outcome.told

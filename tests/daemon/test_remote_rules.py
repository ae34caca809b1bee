"""What is said to all streams holds for those that come later; what a sender forgets is in the journal."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from streamer.client import Control, Event
from tests.daemon.conftest import Write
from tests.daemon.test_send import Send, hear_end, hear_events, ingest, listening
from tests.support.failing_disk import failing_calls, lacks_strace
from tests.support.tones import ToneScene, make_tone_scene

__all__ = ["ingest"]  # a fixture


def test_mute_holds_for_streams_that_come_later(
    ingest: str, models: Path, scene: ToneScene, scene_wav: Path
) -> None:
    with listening(ingest, models) as daemon, Control(daemon.control) as control:
        assert control.mute() == [], "nobody is there yet"
        with Send(ingest, "--file", str(scene_wav), "--stream", "kitchen") as send:
            health = daemon.hear_health(lambda health: health.stream == "kitchen")
            assert health.state == "muted"
            assert send.wait() == 0
        hear_end(daemon, "kitchen")
        assert control.unmute() == []
        with Send(ingest, "--file", str(scene_wav), "--stream", "hall") as send:
            assert send.wait() == 0
        hear_end(daemon, "hall")
        assert daemon.stop() == 0
    assert [(event.stream, event.label, event.phase) for event in daemon.events] == [
        ("hall", *expected[:2]) for expected in scene.expected
    ]


def test_thresholds_hold_for_streams_that_come_later(ingest: str, models: Path, scene_wav: Path) -> None:
    with listening(ingest, models) as daemon, Control(daemon.control) as control:
        before = control.threshold("mid", None)
        assert before.streams == []
        assert control.threshold("mid", 0.999).threshold == 0.999
        with Send(ingest, "--file", str(scene_wav), "--stream", "kitchen"):
            daemon.hear_event("low", "hit")
            inside = {one.label: one.threshold for one in control.labels() if one.stream == "kitchen"}
            assert (inside["mid"], inside["low"] != 0.999) == (0.999, True)
            # of one stream only: nobody else's
            assert control.threshold("low", 0.99, "kitchen").streams == ["kitchen"]
        control.reload()
        with Send(ingest, "--file", str(scene_wav), "--stream", "hall"):
            daemon.hear(lambda record: isinstance(record, Event) and record.stream == "hall")
            inside = {one.label: one.threshold for one in control.labels() if one.stream == "hall"}
            assert (inside["mid"], inside["low"] != 0.99) == (before.threshold, True)
        assert daemon.stop() == 0


def test_sound_is_acknowledged_once_its_events_are_in_the_journal(
    ingest: str, models: Path, write_wav: Write
) -> None:
    """The disk hangs, the daemon is killed: the sound of the event that was not written comes again."""
    if missing := lacks_strace():
        pytest.skip(missing)
    tones = (("low", 0.8, 1.1), ("mid", 3.0, 3.3), ("low", 9.0, 9.2))
    path = write_wav(make_tone_scene(16_000, 10.0, tones).samples, subtype="PCM_16")
    with listening(ingest, models) as daemon:
        with Send(ingest, "--file", str(path), "--stream", "kitchen") as send:
            daemon.hear_event("low", "hit")
            time.sleep(0.5)  # nothing is being written
            files = [daemon.journal.with_name("journal.db-wal"), daemon.journal]
            with failing_calls(daemon.process.pid, ["pwrite64"], "", files, delay_s=10.0):
                daemon.wait_log("keyword mid")  # found, on its way into the journal
                time.sleep(1.0)  # sound has gone on, and would have been acknowledged
                daemon.signal(signal.SIGKILL)
            daemon.wait()  # strace has let go of it
            daemon.restart()
            assert send.wait() == 0
        hear_events(daemon, 3)
        daemon.wait_log("stream kitchen: stopping, the sender said goodbye")
        assert daemon.stop() == 0
    assert [event.label for event in daemon.events] == ["low", "mid", "low"]
    assert [event.seq for event in daemon.events] == [1, 2, 3]

"""The whole way, in real time: a WAV played into a virtual microphone, events out of the socket."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.client import Control
from streamer.delivery.messages import Event, Frames, Health, utc_ms
from streamer.kernel import library
from tests.support import virtual_microphone
from tests.support.daemon import Daemon
from tests.support.tones import ToneScene, make_tone_scene
from tests.support.virtual_microphone import VirtualMicrophone

missing = virtual_microphone.available()
pytestmark = [pytest.mark.virtmic, pytest.mark.skipif(missing is not None, reason=str(missing))]

PLAY_TIMEOUT_S = 30.0
DOZING = 'doze.py", line'
"""In a stack."""
PLAYER_LATE_S = 0.3
"""The player hands over 20 ms at a time; on a busy machine it comes late, and the sink plays silence."""
ROUNDS = 11
ROUND_S = 5.5
MINUTE_S = 60.0


def surroundings(server: VirtualMicrophone) -> dict[str, str]:
    """The environment in which this microphone is the only one."""
    return {name: text for name, text in server.environment().items() if os.environ.get(name) != text}


def listening(daemon: Daemon) -> Health:
    """Wait until sound comes in."""
    return daemon.hear_health(lambda health: health.state == "listening" and health.listened_s > 0.3)


def hear_quiet(daemon: Daemon, last_s: float) -> None:
    """Listen until well after the last event."""
    daemon.hear_health(lambda health: health.listened_s > last_s)


def assert_spaced_as_played(events: list[Event], scene: ToneScene) -> None:
    """The right events in order; from the first one on they come as far apart as the tones are."""
    assert [(event.label, event.phase) for event in events] == [expected[:2] for expected in scene.expected]
    assert [event.seq for event in events] == list(range(events[0].seq, events[0].seq + len(events)))
    began_s, tone_s = events[0].onset_s, scene.expected[0][2]
    for event, (_, phase, time_s) in zip(events, scene.expected, strict=True):
        told_s = event.offset_s if phase == "end" else event.onset_s
        assert told_s is not None
        off_s = (told_s - began_s) - (time_s - tone_s)
        assert abs(off_s) < PLAYER_LATE_S, (off_s, event)


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_what_is_played_is_told(rate_hz: int, models: Path, tmp_path: Path, scene: ToneScene) -> None:
    played = make_tone_scene(rate_hz, 2.4, scene.tones)
    soundfile.write(tmp_path / "played.wav", played.samples, rate_hz)
    with (
        VirtualMicrophone(tmp_path, rate_hz) as server,
        Daemon(
            "--device", "virtmic", "--rate", str(rate_hz), models=models, environment=surroundings(server)
        ) as daemon,
    ):
        first = listening(daemon)
        assert first.source == f'microphone "virtmic" ({rate_hz} Hz, 1 channel)'
        assert server.play(tmp_path / "played.wav", latency_ms=500).wait(PLAY_TIMEOUT_S) == 0
        daemon.hear_event("high", "end")
        last = daemon.hear_event("low", "hit")
        hear_quiet(daemon, last.detected_s + 1)
        assert_spaced_as_played(daemon.events, played)
        assert daemon.stop() == 0
        final = daemon.hear_final()
    assert (final.overruns, final.lost_samples, final.gaps, final.seq) == (0, 0, 0, len(scene.expected))
    assert final.lag_s is not None
    assert final.lag_s < 1
    assert "WARNING" not in daemon.stderr


def test_the_microphone_is_found_without_a_word(models: Path, tmp_path: Path) -> None:
    """The default device, at its own rate."""
    with (
        VirtualMicrophone(tmp_path) as server,
        Daemon(models=models, environment=surroundings(server)) as daemon,
    ):
        assert listening(daemon).source.startswith('microphone "default" (')
        assert daemon.stop() == 0


@pytest.mark.skipif(library() is None, reason="the kernel was not built")
def test_it_dozes_while_nothing_is_going_on(models: Path, tmp_path: Path) -> None:
    """Its stack shows it; and whoever wants the scores of every block gets them from then on."""
    with (
        VirtualMicrophone(tmp_path) as server,
        Daemon("--device", "virtmic", models=models, environment=surroundings(server)) as daemon,
    ):
        listening(daemon)
        for _ in range(20):  # it may just be awake
            daemon.signal(signal.SIGUSR1)
            time.sleep(0.05)
            if DOZING in daemon.stderr:
                break
        assert DOZING in daemon.stderr
        watcher = daemon.subscribe(["frame."])
        frames = [watcher.receive(10) for _ in range(10)]
        assert all(isinstance(one, Frames) for one in frames)
        for before, after in itertools.pairwise(frames):
            assert after.first_row == before.first_row + before.rows
        dozed = daemon.stderr.count(DOZING)
        for _ in range(5):
            daemon.signal(signal.SIGUSR1)
            time.sleep(0.05)
        assert daemon.stderr.count(DOZING) == dozed
        assert daemon.stop() == 0
        final = daemon.hear_final()
    assert (final.overruns, final.lost_samples, final.gaps) == (0, 0, 0)


@pytest.mark.slow
def test_a_minute_at_48_khz_without_a_hole(models: Path, tmp_path: Path) -> None:
    """Zero overruns, zero samples lost, no gap, and every tone of every round heard once."""
    tones = (("low", 0.5, 0.8), ("mid", 1.4, 1.7), ("high", 2.3, 3.2), ("mid", 4.0, 4.3))
    scene = make_tone_scene(48_000, ROUND_S, tones)
    soundfile.write(tmp_path / "round.wav", np.tile(scene.samples, ROUNDS), 48_000)
    with (
        VirtualMicrophone(tmp_path) as server,
        Daemon(
            "--device", "virtmic", "--rate", "48000", models=models, environment=surroundings(server)
        ) as daemon,
    ):
        began = listening(daemon)
        player = server.play(tmp_path / "round.wav", latency_ms=500)
        end_s = began.listened_s + MINUTE_S
        last = daemon.hear_health(lambda health: health.listened_s >= end_s, timeout_s=MINUTE_S + 30)
        assert player.wait(PLAY_TIMEOUT_S) == 0
        hear_quiet(daemon, max(daemon.events[-1].detected_s + 1.5, last.listened_s + 1))
        assert daemon.stop() == 0
        final = daemon.hear_final()
        events = daemon.events
        size = len(scene.expected)
        assert [event.seq for event in events] == list(range(1, ROUNDS * size + 1))
        for start in range(0, len(events), size):
            assert_spaced_as_played(events[start : start + size], scene)
    assert (final.overruns, final.lost_samples, final.gaps, final.bad_samples) == (0, 0, 0, 0)
    assert final.listened_s >= MINUTE_S
    assert daemon.subscriber.missed == 0
    lags_s = sorted(health.lag_s for health in daemon.healths if health.lag_s is not None)
    assert lags_s[len(lags_s) // 2] < 0.5
    # The sound card's clock and ours: as much sound as time has passed.
    elapsed_s = last.uptime_s - began.uptime_s
    assert abs((last.listened_s - began.listened_s) - elapsed_s) < 1.0
    assert "WARNING" not in daemon.stderr


def recorders(daemon: Daemon) -> list[str]:
    """The processes that record for it."""
    pid = daemon.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_the_sound_server_dies_and_comes_back(models: Path, tmp_path: Path, scene: ToneScene) -> None:
    """It is said within seconds, once; the other stream goes on; what is played afterwards has its time."""
    played = make_tone_scene(48_000, 2.4, scene.tones)
    soundfile.write(tmp_path / "played.wav", played.samples, 48_000)
    config = tmp_path / "two.toml"
    config.write_text(
        '[[stream]]\nname = "desk"\ndevice = "virtmic"\nrate_hz = 48000\n'
        f'[[stream]]\nname = "other"\nsource = "file"\npath = "{tmp_path}/played.wav"\nloop = true\n'
        "[labels.mid]\nthreshold = 0.9\n"
    )

    with (
        VirtualMicrophone(tmp_path) as server,
        Daemon("--config", str(config), models=models, environment=surroundings(server)) as daemon,
    ):

        def desk(wanted: Callable[[Health], bool], timeout_s: float = 20.0) -> Health:
            return daemon.hear_health(lambda health: health.stream == "desk" and wanted(health), timeout_s)

        desk(lambda health: health.listened_s > 0.3)
        handles = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
        server.kill_server()
        deaf = desk(lambda health: health.state in ("no-device", "stalled"), timeout_s=10)
        assert deaf.last_sample_age_s is not None
        assert deaf.last_sample_age_s < 3.5
        assert "virtmic" in deaf.detail
        later = desk(lambda health: health.uptime_s > deaf.uptime_s + 2.5)
        assert later.state in ("no-device", "stalled")
        warnings = [line for line in daemon.stderr.splitlines() if "WARNING" in line]
        assert len(warnings) == 1, daemon.stderr
        assert f"stream desk: {deaf.state}, " in warnings[0]
        other = [
            health
            for health in daemon.healths
            if health.stream == "other" and health.uptime_s > deaf.uptime_s
        ]
        assert {health.state for health in other} == {"listening"}
        assert other[-1].listened_s > other[0].listened_s + 1.5

        server.stop()
        server.start()
        back = desk(lambda health: health.state == "listening")
        daemon.wait_log(
            f"stream desk: back after {back.lost_samples / 48_000:.1f} s: {back.lost_samples:,} samples"
        )
        assert back.gaps == 1
        assert len(recorders(daemon)) == 1
        assert len(os.listdir(f"/proc/{daemon.process.pid}/fd")) == handles
        desk(lambda health: health.listened_s > back.listened_s + 0.5)
        assert server.play(tmp_path / "played.wav", latency_ms=500).wait(PLAY_TIMEOUT_S) == 0
        hit = daemon.hear(lambda record: isinstance(record, Event) and record.stream == "desk")
        assert isinstance(hit, Event)
        # The sample clock has gone on: between two moments it counts as much as the wall clock.
        told_s, began_s = (utc_ms(text) / 1000 for text in (hit.time_utc, deaf.time_utc))
        deaf_at_s = deaf.listened_s + (deaf.last_sample_age_s or 0.0)
        assert abs((hit.detected_s - deaf_at_s) - (told_s - began_s)) < 1.0
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.stderr


def test_the_sound_server_moves_the_recording(models: Path, tmp_path: Path) -> None:
    """Told once, in the log and on the health topic: it goes on, where the server was to choose."""
    with VirtualMicrophone(tmp_path) as server:
        server.add_other()
        with Daemon(models=models, environment=surroundings(server)) as daemon:
            listening(daemon)
            server.move("other")
            told = daemon.hear_health(lambda health: "moved" in health.detail, timeout_s=4)
            assert (told.state, told.detail) == ("listening", 'the sound server has moved it to "Other"')
            assert told.source.endswith(' of "Other"')
            later = daemon.hear_health(lambda health: health.uptime_s > told.uptime_s + 1.0)
            assert (later.state, later.detail, later.source) == ("listening", "", told.source)
            server.set_default("other")
            server.remove_other()
            daemon.hear_health(lambda health: "moved" in health.detail, timeout_s=4)
            server.unplug()
            deaf = daemon.hear_health(lambda health: health.state == "no-device", timeout_s=4)
            assert "no microphone" in deaf.detail
            warnings = [line for line in daemon.stderr.splitlines() if "WARNING" in line]
            assert ["moved" in line for line in warnings] == [True, True, True], warnings
            server.plug()
            listening(daemon)
            assert daemon.stop() == 0


def test_mute_closes_the_device(models: Path, tmp_path: Path) -> None:
    """No process records while the stream is muted; what was not to be heard is no loss."""
    with (
        VirtualMicrophone(tmp_path) as server,
        Daemon("--device", "virtmic", models=models, environment=surroundings(server)) as daemon,
        Control(daemon.control) as control,
    ):
        listening(daemon)
        assert len(recorders(daemon)) == 1
        control.mute()
        muted = daemon.hear_health(lambda health: health.state == "muted")
        assert recorders(daemon) == []
        daemon.hear_health(lambda health: health.uptime_s > muted.uptime_s + 1)
        control.unmute()
        heard = daemon.hear_health(lambda health: health.listened_s > muted.listened_s + 1)
        assert (heard.state, heard.gaps, heard.lost_samples) == ("listening", 0, 0)
        assert len(recorders(daemon)) == 1
        assert daemon.stop() == 0
    assert "WARNING" not in daemon.stderr

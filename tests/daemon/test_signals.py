"""SIGHUP and SIGUSR1: the daemon is told something and goes on listening."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.daemon.conftest import Write
from tests.support.daemon import Daemon
from tests.support.tones import make_tone_scene


@pytest.fixture
def blips(write_wav: Write) -> Path:
    """The keyword "mid" again and again, played in a loop."""
    return write_wav(make_tone_scene(16_000, 0.8, (("mid", 0.4, 0.6),)).samples)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config that names nothing yet."""
    path = tmp_path / "streamer.toml"
    path.write_text("")
    return path


def quiet_for(daemon: Daemon, seconds: float) -> bool:
    """No event while so much sound is listened to."""
    known = len(daemon.events)
    reached_s = daemon.hear_health(lambda health: True).listened_s + seconds
    # What was under way while the config changed may still come before the first of these.
    daemon.hear_health(lambda health: health.listened_s >= reached_s)
    return len(daemon.events) == known


def reload(daemon: Daemon, config: Path, text: str, answer: str) -> None:
    config.write_text(text)
    daemon.signal(signal.SIGHUP)
    daemon.wait_log(answer)


def test_a_new_threshold_is_in_force_at_once(models: Path, config: Path, blips: Path) -> None:
    with Daemon("--file", str(blips), "--loop", "--config", str(config), models=models) as daemon:
        before = daemon.hear_event("mid", "hit")
        reload(daemon, config, "[labels.mid]\nthreshold = 0.999\n", "config read again")
        daemon.hear_health(lambda health: True)
        daemon.hear_health(lambda health: True)  # now everything that went out before the change is here
        assert quiet_for(daemon, 1.7), "two rounds of the loop"
        config.write_text("[labels.mid]\nthreshold = 0.4\n")
        daemon.signal(signal.SIGHUP)
        after = daemon.hear_event("mid", "hit")
        assert after.run == before.run
        assert after.seq == daemon.events[-2].seq + 1
        assert "restart" not in daemon.stderr
        assert daemon.stop() == 0


def test_a_label_is_switched_off_in_the_middle_of_its_sound(
    models: Path, config: Path, write_wav: Write
) -> None:
    """What is open ends: nobody is left waiting."""
    path = write_wav(make_tone_scene(16_000, 20, (("high", 0.5, 19.0),)).samples)
    with Daemon("--file", str(path), "--config", str(config), models=models) as daemon:
        daemon.hear_event("high", "start")
        reload(daemon, config, "[labels.high]\nenabled = false\n", "config read again")
        daemon.hear_event("high", "end", 5)
        assert daemon.stop() == 0


BAD = {
    "[labels.mid]\nthreshold = 7\n": "labels.mid.threshold: 7",
    "[labels.nobody]\nthreshold = 0.3\n": "labels.nobody: the model has no such label",
    "no toml at all": "no TOML",
    "[labels.mid]\nthreshold = 0.999\n[engine]\nhop_ms = 1\n": "engine.hop_ms: 1",  # not even the good half
    "[[stream]]\nname = 'a'\n[[stream]]\nname = 'a'\n": "stands there twice",
    '[model]\nvariant = "onnx-int8"\n': "files.onnx-int8: the bundle has no such variant",
    '[security]\nkeys = "/nowhere"\n[control]\nendpoints = ["tcp://192.0.2.1:7791"]\n': "/nowhere",
}


def test_a_bad_config_is_refused_and_the_old_one_goes_on(models: Path, config: Path, blips: Path) -> None:
    with Daemon("--file", str(blips), "--loop", "--config", str(config), models=models) as daemon:
        for number, (text, told) in enumerate(BAD.items(), start=1):
            config.write_text(text)
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("config not taken over: ", number)
            line = [line for line in daemon.stderr.splitlines() if "not taken over" in line][-1]
            assert told in line
            assert "ERROR" in line
        config.write_text("[engine]\nhop_ms = 1\n[publish]\nheartbeat_s = 0\n[log]\nlevel = 'loud'\n")
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("not taken over", len(BAD) + 3)  # every fault of it
        config.unlink()
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("No such file or directory")
        daemon.hear_event("mid", "hit")
        daemon.hear_health(lambda health: True)
        daemon.hear_event("mid", "hit")
        assert "Traceback" not in daemon.stderr
        assert "read again" not in daemon.stderr
        assert daemon.stop() == 0


RESTART = {
    "[engine]\nring_s = 20\n": "engine",
    '[engine]\nring_s = 20\nhop_ms = 40\n[control]\nendpoints = ["tcp://127.0.0.1:1"]\n': "engine, control",
    '[runtime]\ndirectory = "/nowhere"\n[publish]\nhigh_water = 5\n': "publish",
    '[journal]\npath = "/nowhere"\n[security]\nmax_clients = 3\n': "journal, security",
    "[ingest]\nmax_streams = 3\nhistory_s = 1\n": "ingest",
}
"""Each against what is in force."""


def test_what_needs_a_restart_is_said(models: Path, config: Path, blips: Path) -> None:
    """The flags of this daemon stay stronger than the file: its runtime directory does not change."""
    with Daemon("--file", str(blips), "--loop", "--config", str(config), models=models) as daemon:
        for text, parts in RESTART.items():
            reload(daemon, config, text, f"changes in {parts} need a restart")
        daemon.signal(signal.SIGHUP)
        daemon.wait_log(f"changes in {parts} need a restart", 2)  # it is still so
        reload(daemon, config, "[engine]\nhop_ms = 40\nhistory_s = 1\n", "config read again")
        daemon.hear_event("mid", "hit")
        assert daemon.stderr.count("need a restart") == len(RESTART) + 1
        assert daemon.stop() == 0


def test_the_log_level_changes_too(models: Path, config: Path, blips: Path) -> None:
    with Daemon("--file", str(blips), "--loop", "--config", str(config), models=models) as daemon:
        daemon.wait_log("keyword mid")
        reload(daemon, config, '[log]\nlevel = "debug"\n', "config read again")
        config.write_text('[log]\nlevel = "error"\n')
        told = daemon.notify.told.count("READY=1")
        daemon.signal(signal.SIGHUP)
        daemon.wait_notified(lambda lines: lines.count("READY=1") > told, "the second reload did not end")
        lines = daemon.stderr.count("keyword mid")
        daemon.hear_event("mid", "hit")
        daemon.hear_event("mid", "hit")
        daemon.hear_event("mid", "hit")
        assert daemon.stderr.count("keyword mid") <= lines + 1
        assert daemon.stop() == 0


def test_many_hangups_do_no_harm(models: Path, config: Path, blips: Path) -> None:
    with Daemon("--file", str(blips), "--loop", "--config", str(config), models=models) as daemon:
        for _ in range(200):
            daemon.signal(signal.SIGHUP)
        daemon.hear_event("mid", "hit")
        health = daemon.hear_health(lambda health: health.listened_s > 1.5)
        assert (health.lost_samples, health.gaps) == (0, 0)
        assert daemon.stop() == 0


def test_usr1_shows_every_stack_and_it_goes_on(models: Path, blips: Path) -> None:
    with Daemon("--file", str(blips), "--loop", models=models) as daemon:
        daemon.hear_event("mid", "hit")
        daemon.signal(signal.SIGUSR1)
        daemon.wait_log("most recent call first")
        daemon.wait_log("service.py")
        daemon.hear_event("mid", "hit")
        assert daemon.stop() == 0

"""What systemd is told: the socket here is ours, the protocol is sd_notify's."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from streamer.systemd import Notifier
from tests.support.daemon import Daemon, NotifySocket, run_command
from tests.support.tones import ToneScene

WATCHDOG_US = 400_000
FEED = "WATCHDOG=1"


def test_a_whole_life(models: Path, scene_wav: Path) -> None:
    """Ready once and after the start only, a status line with each heartbeat, stopping at the end."""
    with Daemon("--file", str(scene_wav), models=models) as daemon:
        daemon.hear_final()
        assert daemon.wait() == 0
        told = daemon.notify.told
    states = [line for line in told if not line.startswith("STATUS=")]
    assert states == ["READY=1", "STOPPING=1"], "no watchdog was asked for"
    statuses = [line.removeprefix("STATUS=") for line in told if line.startswith("STATUS=")]
    assert len(statuses) >= 5
    assert statuses[0].startswith("default starting; 0 events")
    assert any(status.startswith("default listening; 1 events in ") for status in statuses)
    assert statuses[-1].startswith("default stopping; 5 events")


def test_a_reload_is_framed(models: Path, scene_wav: Path) -> None:
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        daemon.signal(signal.SIGHUP)
        daemon.wait_notified(lambda told: told.count("READY=1") == 2, "the reload did not end")
        told = [line for line in daemon.notify.told if not line.startswith("STATUS=")]
        assert told[:2] == ["READY=1", "RELOADING=1"]
        assert told[2].startswith("MONOTONIC_USEC=")
        assert int(told[2].partition("=")[2]) > 0
        assert told[3] == "READY=1"
        assert daemon.stop() == 0
        daemon.wait_notified(lambda told: told[-1].startswith("STATUS=default stopping"), "no last status")
        assert daemon.notify.told.count("STOPPING=1") == 1


def hear_until(daemon: Daemon, uptime_s: float) -> None:
    daemon.hear_health(lambda health: health.uptime_s > uptime_s)


def test_the_watchdog_is_fed_only_while_sound_moves(models: Path, scene: ToneScene, tmp_path: Path) -> None:
    """Standard input is held open: silent at first, then with sound, stalled, and once more."""
    config = tmp_path / "streamer.toml"
    config.write_text("[engine]\nstall_s = 0.5\n")
    sound = (scene.samples * 32_767).astype("<i2").tobytes()
    with Daemon(
        "--source",
        "stdin",
        "--config",
        str(config),
        models=models,
        stdin=subprocess.PIPE,
        environment={"WATCHDOG_USEC": str(WATCHDOG_US)},
    ) as daemon:
        pipe = daemon.process.stdin
        assert pipe is not None
        daemon.hear_health(lambda health: health.state == "stalled")
        assert FEED not in daemon.notify.told
        for turn in (1, 2):
            fed = daemon.notify.told.count(FEED)
            pipe.write(sound)
            pipe.flush()
            daemon.hear_health(lambda health: health.state == "listening")
            daemon.wait_notified(lambda told, fed=fed: told.count(FEED) > fed, "it was not fed")  # type: ignore[misc]
            stalled = daemon.hear_health(lambda health: health.state == "stalled")
            assert "no sound from standard input" in stalled.detail
            hear_until(daemon, stalled.uptime_s + 0.5)
            fed = daemon.notify.told.count(FEED)
            hear_until(daemon, stalled.uptime_s + 1.2)
            assert daemon.notify.told.count(FEED) == fed, "a daemon that hears nothing must starve"
            assert daemon.stderr.count("WARNING stream default: stalled") == turn + 1
        pipe.close()
        assert daemon.wait() == 0


def test_a_manager_that_does_not_read_stops_nobody(tmp_path: Path, models: Path, scene_wav: Path) -> None:
    """Its queue holds about ten datagrams; a blocking send would leave the daemon deaf for ever."""
    address = str(tmp_path / "deaf")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    filler.sendto(b"x", address)
        result = run_command(
            "run",
            "--file",
            str(scene_wav),
            "--fast",
            "--model",
            "tiny",
            "--heartbeat",
            "0.1",
            "--runtime-dir",
            str(tmp_path / "r"),
            "--publish",
            "tcp://127.0.0.1:*",
            models=models,
            environment={"NOTIFY_SOCKET": address},
        )
    assert result.returncode == 0, result.stderr
    assert "stopped after 5 events" in result.stderr


@pytest.mark.parametrize("abstract", [False, True])
def test_both_sorts_of_address(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"streamer-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if abstract else name)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else name)
        Notifier().status("all is well")
        assert manager.recv(100) == b"STATUS=all is well"


@pytest.mark.parametrize(("text", "period_s"), [("", 0.0), ("20000000", 20.0), ("no number", 0.0)])
def test_the_period(text: str, period_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", text)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert Notifier().watchdog_s == period_s


@pytest.mark.parametrize(("is_ours", "period_s"), [(True, 20.0), (False, 0.0)])
def test_the_watchdog_of_another_process_is_not_ours(
    is_ours: bool, period_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() if is_ours else 1))
    assert Notifier().watchdog_s == period_s


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager that is gone, or none at all, is no reason to fail."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    Notifier().ready()
    listener = NotifySocket(tmp_path)
    monkeypatch.delenv("NOTIFY_SOCKET")
    Notifier().ready()
    listener.close()
    assert listener.told == []

"""`streamer ctl` and `streamer subscribe --since` against a running daemon."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from streamer.client import Control, ControlError
from tests.support.daemon import Daemon, run_command


def ctl(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("ctl", *arguments, "--endpoint", daemon.control, "--timeout", "15")


def told(daemon: Daemon, *arguments: str) -> str:
    done = ctl(daemon, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_a_daemon_is_asked_and_told(models: Path, scene_wav: Path) -> None:
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        daemon.hear_event("high", "end")

        status = told(daemon, "status")
        assert re.search(r"^daemon   streamer \S+, run [0-9a-f]{16}, up \d+ s$", status, re.MULTILINE)
        assert re.search(r"^stream   default: listening, -?\d+ dBFS, 0 samples lost", status, re.MULTILINE)
        assert re.search(rf"^journal  ok, events 1 to \d+, .* in {daemon.journal}$", status, re.MULTILINE)
        assert daemon.endpoint in status
        assert daemon.control in status
        fields = json.loads(told(daemon, "status", "--json"))
        assert fields["streams"][0]["state"] == "listening"
        assert fields["journal"]["journal_state"] == "ok"

        assert told(daemon, "streams").startswith("default          listening")
        assert [row.split()[1:4] for row in told(daemon, "labels").splitlines()[1:]] == [
            ["low", "keyword", "0.50"],
            ["mid", "keyword", "0.50"],
            ["high", "sound", "0.50"],
        ]
        assert told(daemon, "threshold", "low", "0.9") == "low: 0.9 in default\n"
        assert told(daemon, "threshold", "low", "config") == "low: 0.5 in default\n"
        answer = json.loads(told(daemon, "threshold", "mid", "0.25", "--stream", "default", "--json"))
        assert (answer["label"], answer["threshold"], answer["streams"]) == ("mid", 0.25, ["default"])
        assert told(daemon, "mute") == "muted: default\n"
        daemon.hear_health(lambda health: health.state == "muted")
        assert told(daemon, "unmute", "--stream", "default", "--json") == '["default"]\n'
        daemon.hear_health(lambda health: health.state == "listening")
        assert told(daemon, "reload") == "the config was read again\n"
        assert re.match(
            r"streamer \S+ answers in [\d.]+ ms: run \S+, journal \S+, last", told(daemon, "ping")
        )

        done = ctl(daemon, "threshold", "nothing", "0.5")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "there is no label nothing; one of low, mid, high" in done.stderr
        assert told(daemon, "shutdown") == "the daemon is stopping\n"
        assert daemon.wait() == 0


def test_past_events_are_printed(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        daemon.hear_event("high", "end")
        here = ["subscribe", "--connect", daemon.endpoint, "--timeout", "15", "--json"]

        def heard(*arguments: str) -> list[int]:
            done = run_command(*here, *arguments)
            assert (done.returncode, done.stderr) == (0, ""), done
            return [json.loads(line)["seq"] for line in done.stdout.splitlines()]

        assert heard("--since", "all", "--count", "4") == [1, 2, 3, 4]
        assert heard("--since", "2", "--count", "2") == [3, 4]
        assert heard("--since", "1h", "--count", "2", "--topic", "sound.") == [3, 4]
        assert heard("--since", "all", "--for", "1")[:4] == [1, 2, 3, 4]
        place = ["--place", str(tmp_path / "place"), "--since", "all"]
        assert heard(*place, "--count", "3") == [1, 2, 3]
        assert heard(*place, "--count", "1") == [4]


def test_what_is_missing_is_printed(models: Path, scene_wav: Path) -> None:
    with Daemon("--no-journal", "--file", str(scene_wav), "--loop", models=models) as daemon:
        here = [
            "subscribe",
            "--connect",
            daemon.endpoint,
            "--timeout",
            "15",
            "--since",
            "all",
            "--count",
            "1",
        ]
        done = run_command(*here)
        assert done.stdout.splitlines()[0] == (
            "--:--:--.---  missed  an unknown number of events: the daemon keeps no journal"
        )
        done = run_command(*here, "--json")
        assert json.loads(done.stdout.splitlines()[0]) == {
            "v": 1,
            "type": "missed",
            "journal": "",
            "first": None,
            "last": None,
            "reason": "the daemon keeps no journal",
        }
        assert len(done.stdout.splitlines()) == 2, "--count is for what was heard"


def test_nobody_there(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/nobody.sock"
    done = run_command("ctl", "ping", "--endpoint", address, "--timeout", "0.2")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (7, "", 1)
    assert f"no answer from {address} within 0.2 s; is the daemon running" in done.stderr
    with Control(address, timeout_s=0.01) as control, pytest.raises(ControlError) as raised:
        control.status()
    assert raised.value.code == "no-answer"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["ctl"], "the following arguments are required: ACTION"),
        (["ctl", "dance"], "invalid choice: 'dance'"),
        (["ctl", "threshold", "low"], "the following arguments are required: VALUE"),
        (["ctl", "threshold", "low", "1"], "'1', legal values: a number above 0 and below 1, or config"),
        (["ctl", "threshold", "low", "nan"], "'nan', legal values"),
        (["ctl", "ping", "--timeout", "0"], "'0', legal values: seconds above 0"),
        (["subscribe", "--since", "yesterday"], "'yesterday', legal values: all, new, a number"),
        (["subscribe", "--since", "-3"], "'-3', legal values"),
        (["subscribe", "--since", "25:00"], "'25:00', legal values"),
        (["subscribe", "--since", "9e9d"], "'9e9d', legal values"),
        (["subscribe", "--since", "9999999999999d"], "legal values"),
    ],
)
def test_wrong_usage(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    from streamer.cli import main

    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err

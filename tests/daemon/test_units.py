"""The systemd units: checked by systemd's own tools, and run by a real systemd."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile

from tests.support import booted, virtual_microphone
from tests.support.booted import Booted, CannotBoot
from tests.support.daemon import ROOT
from tests.support.tones import make_tone_scene

SYSTEM = ROOT / "systemd" / "streamer.service"
USER = ROOT / "systemd" / "user" / "streamer.service"
EXPOSURE_MAX = 1.5
START_TIMEOUT_S = 30.0

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (package systemd)"
)
nothing_boots = booted.unavailable()


def analyze(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "SYSTEMD_COLORS": "0"}
    return subprocess.run(
        ["systemd-analyze", *arguments],
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def with_program(unit: Path, folder: Path) -> Path:
    """The unit with a program that exists on every machine."""
    text, count = re.subn(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
    assert count == 1
    (folder / unit.name).write_text(text)
    return folder / unit.name


@needs_analyze
@pytest.mark.parametrize(
    ("unit", "manager"), [(SYSTEM, "--system"), (USER, "--user")], ids=["system", "user"]
)
def test_systemd_finds_no_fault(unit: Path, manager: str, tmp_path: Path) -> None:
    done = analyze("verify", manager, str(with_program(unit, tmp_path)), folder=tmp_path)
    # A misspelt option is a warning only, and other units of this machine may have some.
    about_us = [line for line in done.stderr.splitlines() if unit.name in line or str(tmp_path) in line]
    assert (done.returncode, about_us) == (0, []), done.stderr


@needs_analyze
def test_the_check_above_would_find_one(tmp_path: Path) -> None:
    unit = with_program(SYSTEM, tmp_path)
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchdogSeconds="))
    assert "Unknown key" in analyze("verify", str(unit), folder=tmp_path).stderr


@needs_analyze
def test_the_system_unit_exposes_little(tmp_path: Path) -> None:
    unit = with_program(SYSTEM, tmp_path)
    done = analyze(
        "security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", str(unit), folder=tmp_path
    )
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX
    assert done.returncode == 0


def test_the_units_and_the_program_agree() -> None:
    """Both call a command that exists, and give up on just those statuses that no restart mends."""
    for unit in (SYSTEM, USER):
        text = unit.read_text()
        assert re.search(r"^ExecStart=\S+/bin/streamer run$", text, re.MULTILINE)
        assert "\nType=notify\n" in text
        assert "\nRestartPreventExitStatus=2 3 5\n" in text
        assert "MemoryDenyWriteExecute" not in text, "onnxruntime and numpy make code at run time"


CONFIG = """\
[model]
bundle = "tiny"
[[stream]]
name = "kitchen"
source = "file"
path = "/opt/sound/loop.wav"
loop = true
[publish]
heartbeat_s = 0.5
"""


@pytest.mark.systemd
@pytest.mark.slow
@pytest.mark.skipif(nothing_boots is not None, reason=str(nothing_boots))
def test_a_real_systemd_runs_the_system_unit(models: Path, tmp_path: Path) -> None:
    """Ready, hardened, listened to, killed, restarted, reloaded, stopped: one boot for all of it."""
    container = Booted(tmp_path, ROOT, models, [SYSTEM, as_system_unit(USER, tmp_path)])
    try:
        with container:
            sound = container.root / "opt/sound/loop.wav"
            sound.parent.mkdir()
            soundfile.write(sound, make_tone_scene(16_000, 0.9, (("mid", 0.4, 0.6),)).samples, 16_000)
            config = container.root / "etc/streamer/streamer.toml"
            config.parent.mkdir()
            config.write_text(CONFIG)
            walk_through_its_life(container, config)
            let_others_in(container, config)
            assert container.systemctl("start", "user-unit").returncode == 0
            container.wait_for(
                lambda: "listening; " in container.show("user-unit")["StatusText"], START_TIMEOUT_S
            )
            assert container.systemctl("stop", "user-unit").returncode == 0
            install_and_remove(container, "system")
            log_listener_in(container)
            install_and_remove(container, "user", *AS_LISTENER)
    except CannotBoot as fault:
        pytest.skip(f"this machine does not let us boot a container: {fault}")


HEARING = """\
[model]
bundle = "tiny"
[publish]
heartbeat_s = 0.5
[[stream]]
name = "desk"
rate_hz = 48000
"""
CARD = """\
[[stream]]
name = "card"
source = "file"
path = "/dev/snd/loop.wav"
loop = true
"""
SOUND_SERVER = """\
load-module module-native-protocol-unix{where}
load-module module-null-sink sink_name=mic_in rate=48000 channels=1 format=s16le
load-module module-remap-source master=mic_in.monitor source_name=virtmic
set-default-source virtmic
"""
OF_THE_MACHINE = "/run/sound/native"
PLAYER = "while :; do paplay --device=mic_in --latency-msec=200 /opt/sound/loop.wav; done"
no_microphone = virtual_microphone.available()


@pytest.mark.systemd
@pytest.mark.slow
@pytest.mark.skipif(nothing_boots is not None, reason=str(nothing_boots))
@pytest.mark.skipif(no_microphone is not None, reason=str(no_microphone))
def test_sound_gets_through_the_sandboxes(models: Path, tmp_path: Path) -> None:
    """PortAudio, ALSA and a sound server's socket as either unit may use them, and the place of sound cards.

    There is no sound card: that the system unit may open what lies in /dev/snd is shown with a file.
    """
    container = Booted(tmp_path, ROOT, models, [SYSTEM])
    try:
        with container:
            sound = make_tone_scene(48_000, 0.9, (("mid", 0.4, 0.6),)).samples
            for folder in ("opt/sound", "etc/streamer", "etc/pulse/client.conf.d"):
                (container.root / folder).mkdir(parents=True, exist_ok=True)
            soundfile.write(container.root / "opt/sound/loop.wav", sound, 48_000)
            hear_with_the_system_unit(container)
            log_listener_in(container)
            hear_with_the_user_unit(container)
    except CannotBoot as fault:
        pytest.skip(f"this machine does not let us boot a container: {fault}")


def hear_with_the_system_unit(container: Booted) -> None:
    """From a sound server that listens to the whole machine, and from /dev/snd."""
    etc = container.root / "etc"
    (etc / "streamer/streamer.toml").write_text(HEARING + CARD)
    (etc / "streamer/sound.pa").write_text(
        SOUND_SERVER.format(where=f" socket={OF_THE_MACHINE} auth-anonymous=1")
    )
    (etc / "asound.conf").write_text("pcm.!default { type pulse }\n")
    client = etc / "pulse/client.conf.d/machine.conf"
    client.write_text(f"default-server = unix:{OF_THE_MACHINE}\nautospawn = no\n")
    in_dev_snd = "mkdir -p /dev/snd && install -m 0640 -g audio /opt/sound/loop.wav /dev/snd/loop.wav"
    assert container.run("sh", "-c", in_dev_snd).returncode == 0
    server = "exec pulseaudio -n --exit-idle-time=-1 --daemonize=no -F /etc/streamer/sound.pa"
    start_beside(container, "sound", server, "-p", "RuntimeDirectory=sound")
    container.wait_for(lambda: "virtmic" in sources(container), START_TIMEOUT_S)
    start_beside(container, "player", PLAYER)
    started = container.systemctl("start", "streamer")
    assert started.returncode == 0, container.journal()
    for stream in ("desk", "card"):
        heard = json.loads(subscribe_inside(container, *AT_SOCKET, "--topic", f"keyword.mid.{stream}"))
        assert (heard["label"], heard["stream"]) == ("mid", stream)
    assert uid(container, container.show("streamer")["MainPID"]) != "0"
    assert "desk listening" in container.show("streamer")["StatusText"]
    assert 'microphone "default"' in log(container)
    # Whoever is not in the group cannot, so that the unit's `audio` was what it took.
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert container.run(*as_nobody, "cat", "/dev/snd/loop.wav").returncode != 0
    for unit in ("streamer", "player", "sound"):
        assert container.systemctl("stop", unit).returncode == 0
    client.unlink()
    (etc / "asound.conf").unlink()


def hear_with_the_user_unit(container: Booted) -> None:
    """From the user's own PulseAudio, as its package starts it, by the unit that `install-service` writes."""
    home = container.root / "home/listener/.config/pulse"
    home.mkdir(parents=True)
    (home / "default.pa").write_text(SOUND_SERVER.format(where=""))
    (container.root / "etc/streamer/desk.toml").write_text(HEARING)
    container.run("chown", "-R", "listener:listener", "/home/listener")

    def theirs(*command: str) -> subprocess.CompletedProcess[str]:
        return container.run(*AS_LISTENER, *command)

    assert theirs("systemctl", "--user", "restart", "pulseaudio.service").returncode == 0, container.journal()
    container.wait_for(lambda: "virtmic" in sources(container, *AS_LISTENER), START_TIMEOUT_S)
    assert theirs("systemd-run", "--user", "--unit=player", "sh", "-c", PLAYER).returncode == 0
    options = ["--program", PROGRAM, "--config", "/etc/streamer/desk.toml"]
    done = theirs(PROGRAM, "install-service", "--user", *options)
    assert (done.returncode, done.stderr) == (0, ""), container.journal()
    socket_file = f"ipc:///run/user/{LISTENER}/streamer/events.sock"
    heard = theirs(PROGRAM, "subscribe", "--json", "--count=1", "--timeout=15", f"--connect={socket_file}")
    assert heard.returncode == 0, heard.stderr + container.journal()
    assert json.loads(heard.stdout)["stream"] == "desk"
    state = theirs("systemctl", "--user", "show", "streamer", "--property=StatusText").stdout
    assert "desk listening" in state
    theirs_said = container.journal(f"_UID={LISTENER}", "-t", "streamer")
    assert 'of "Remapped Monitor' in theirs_said, "the sound server says which source it is"
    assert theirs(PROGRAM, "install-service", "--user", "--remove").returncode == 0


def start_beside(container: Booted, unit: str, command: str, *properties: str) -> None:
    done = container.run("systemd-run", f"--unit={unit}", *properties, "sh", "-c", command)
    assert done.returncode == 0, done.stderr


def sources(container: Booted, *as_whom: str) -> str:
    return container.run(*as_whom, "pactl", "list", "short", "sources").stdout


PROGRAM = "/opt/streamer/bin/streamer"
AT_SOCKET = ("--connect", "ipc:///run/streamer/events.sock")
LISTENER = 4321
"""Number of a user who has a home, and services of his own as soon as he is logged in."""
AS_LISTENER = (
    *("setpriv", f"--reuid={LISTENER}", f"--regid={LISTENER}", "--clear-groups", "env"),
    *("-C", "/home/listener", "HOME=/home/listener", f"XDG_RUNTIME_DIR=/run/user/{LISTENER}"),
)


def log_listener_in(container: Booted) -> None:
    added = container.run("useradd", "--create-home", f"--uid={LISTENER}", "--user-group", "listener")
    assert added.returncode == 0, added.stderr
    assert container.systemctl("start", f"user@{LISTENER}").returncode == 0, container.journal()


def install_and_remove(container: Booted, whose: str, *as_whom: str) -> None:
    """By `streamer install-service`, as a person would."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return container.run(*as_whom, PROGRAM, "install-service", f"--{whose}", *arguments)

    def state() -> str:
        return container.run(*as_whom, "systemctl", f"--{whose}", "is-active", "streamer").stdout.strip()

    options = ["--program", PROGRAM, "--config", "/etc/streamer/streamer.toml"]
    done = command(*options)
    if whose == "system":  # the unit is there already, copied by hand
        assert (done.returncode, done.stdout) == (1, "")
        assert "not written by this command" in done.stderr
        done = command(*options, "--force")
    assert (done.returncode, done.stderr) == (0, ""), container.journal()
    assert state() == "active", "Type=notify: the command returns when it listens"
    assert command(*options).returncode == 0, "again: it takes the new unit"
    done = command("--remove")
    assert (done.returncode, done.stderr) == (0, "")
    assert state() == "inactive"
    done = command("--remove")
    assert done.returncode == 1
    assert "there is no such service" in done.stderr


def as_system_unit(unit: Path, folder: Path) -> Path:
    """The user's unit, run by the system's manager: its restrictions are the same there."""
    text = unit.read_text().replace("%h/.local/share/streamer", "/opt/streamer")
    text = text.replace("[Service]\n", "[Service]\nEnvironment=XDG_STATE_HOME=/root/.local/state\n")
    (folder / "user-unit.service").write_text(text)
    return folder / "user-unit.service"


def walk_through_its_life(container: Booted, config: Path) -> None:
    started = container.systemctl("start", "streamer")
    assert started.returncode == 0, started.stderr  # Type=notify: READY=1 has come
    first = container.show("streamer")
    assert (first["ActiveState"], first["SubState"]) == ("active", "running")
    container.wait_for(
        lambda: "kitchen listening; " in container.show("streamer")["StatusText"], START_TIMEOUT_S
    )
    heard = subscribe_inside(container)
    assert '"label":"mid"' in heard
    assert mode(container, "/run/streamer/events.sock") == "600"
    assert mode(container, "/run/streamer") == "700"
    assert mode(container, "/var/lib/streamer") == "700"
    assert mode(container, "/var/lib/streamer/journal.db") == "600"
    assert uid(container, first["MainPID"]) != "0"

    config.write_text(CONFIG + "[labels.mid]\nthreshold = 0.9\n")
    reloaded = container.systemctl("reload", "streamer")
    assert reloaded.returncode == 0, reloaded.stderr
    container.wait_for(lambda: "config read again" in log(container), START_TIMEOUT_S)
    assert container.show("streamer")["MainPID"] == first["MainPID"]

    assert container.systemctl("kill", "-s", "KILL", "--kill-who=main", "streamer").returncode == 0
    container.wait_for(lambda: container.show("streamer")["NRestarts"] == "1", START_TIMEOUT_S)
    container.wait_for(lambda: container.show("streamer")["SubState"] == "running", START_TIMEOUT_S)
    assert container.show("streamer")["MainPID"] != first["MainPID"]
    heard_again = subscribe_inside(container)
    before, after = json.loads(heard), json.loads(heard_again)
    assert after["label"] == "mid"
    assert after["journal"] == before["journal"]
    assert after["seq"] > before["seq"], "the numbers go on"

    assert container.systemctl("stop", "streamer").returncode == 0
    last = container.show("streamer")
    assert (last["ActiveState"], last["Result"], last["ExecMainStatus"]) == ("inactive", "success", "0")
    assert container.run("test", "-e", "/run/streamer").returncode == 1
    said = log(container)
    assert "stopped after" in said
    assert not [
        line for line in said.splitlines() if re.search(r"<\d>|Traceback|[Ee]rror|denied|not permitted", line)
    ]


def let_others_in(container: Booted, config: Path) -> None:
    """With keys that root makes in the service's own place, and a service that is another user's."""
    config.write_text(CONFIG.replace("[publish]\n", '[publish]\nendpoints = ["tcp://*:7790"]\n'))
    ours = keys(container, "new", "lab")
    keys(container, "new", "me", "--keys", "/root/mine")
    mine = keys(container, "show", "--plain", "--keys", "/root/mine").strip()
    keys(container, "allow", "me", mine)
    keys(container, "trust", "127.0.0.1", ours.split("public key: ")[1].split()[0], "--keys", "/root/mine")
    assert container.systemctl("start", "streamer").returncode == 0, log(container)
    connect = ("--connect", "tcp://127.0.0.1:7790", "--keys", "/root/mine")
    assert '"label":"mid"' in subscribe_inside(container, *connect)
    owner = uid(container, container.show("streamer")["MainPID"])
    found = container.run("stat", "-c", "%u %a", "/var/lib/streamer/keys/allowed.toml").stdout.split()
    assert found == [owner, "600"]
    assert container.systemctl("stop", "streamer").returncode == 0
    config.write_text(CONFIG)


def keys(container: Booted, *arguments: str) -> str:
    done = container.run("/opt/streamer/bin/streamer", "keys", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def log(container: Booted) -> str:
    """What the program itself has said."""
    return container.journal("-t", "streamer")


def subscribe_inside(container: Booted, *connect: str) -> str:
    done = container.run(
        "/opt/streamer/bin/streamer",
        "subscribe",
        "--json",
        "--count",
        "1",
        "--timeout",
        "15",
        *(connect or AT_SOCKET),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def mode(container: Booted, path: str) -> str:
    return container.run("stat", "-L", "-c", "%a", path).stdout.strip()


def uid(container: Booted, pid: str) -> str:
    found = re.search(r"^Uid:\s+(\d+)", container.run("cat", f"/proc/{pid}/status").stdout, re.MULTILINE)
    assert found
    return found[1]

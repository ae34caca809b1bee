"""Whatever is wrong with what people give us: one clear line, an exit status, no traceback, no hang."""

from __future__ import annotations

import ctypes.util
import logging
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from streamer.cli import main
from tests.daemon.conftest import Write
from tests.support import virtual_microphone
from tests.support.daemon import COMMAND, FRAMES_TOO, ROOT, Daemon, clean_environment, run_command
from tests.support.tones import ToneScene
from tests.support.virtual_microphone import VirtualMicrophone

USAGE, CONFIG, DEVICE, BUNDLE, SOUND, SOCKET = 2, 3, 4, 5, 6, 7
NOBODY_UID = 65_534
QUICK_S = 20.0
"""A refusal takes half a second; this is for machines that are busy with something else."""

Refused = Callable[..., str]


def own_options(arguments: Sequence[str], folder: Path) -> list[str]:
    """What keeps a `run` off this machine's own places, unless the test is about them."""
    if arguments[0] != "run":
        return []
    usual = {"--model": "tiny", "--runtime-dir": str(folder / "r"), "--publish": "tcp://127.0.0.1:*"}
    return ["--no-live", *(word for option in usual.items() if option[0] not in arguments for word in option)]


@pytest.fixture
def refused(models: Path, tmp_path: Path) -> Refused:
    """Run a command that must refuse: its one line, checked."""

    def run(
        *arguments: str, status: int, environment: Mapping[str, str] | None = None, stdin: bytes | None = None
    ) -> str:
        own = own_options(arguments, tmp_path)
        done = run_command(
            *arguments, *own, models=models, environment=environment, stdin=stdin, timeout_s=QUICK_S
        )
        assert done.returncode == status, done.stderr
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert re.match(r"streamer: \S", lines[0])
        assert "Traceback" not in done.stderr
        assert "unexpected" not in done.stderr
        return lines[0]

    return run


@pytest.fixture
def noise_file(tmp_path: Path) -> Path:
    """A file that is no audio."""
    path = tmp_path / "letter.wav"
    path.write_text("Dear Sir or Madam,\n" * 100)
    return path


@pytest.fixture
def refused_here(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Refused]:
    """The same within this process: quicker, for what is refused before anything has begun."""

    def run(*arguments: str, status: int) -> str:
        ended: int | str | None
        try:
            ended = main([*arguments, *own_options(arguments, tmp_path)])
        except SystemExit as usage:
            ended = usage.code
        shown = capsys.readouterr()
        assert (ended, shown.out) == (status, ""), shown.err
        assert "Traceback" not in shown.err
        assert "unexpected" not in shown.err
        *before, line = shown.err.splitlines()
        assert all(text.startswith(("usage: ", " ")) for text in before), shown.err
        return line

    monkeypatch.setenv("STREAMER_MODELS", str(models))
    monkeypatch.setenv("STREAMER_CONFIG", os.devnull)
    logger = logging.getLogger("streamer")
    before = logger.handlers[:], logger.level, logger.propagate
    yield run
    logger.handlers[:], logger.level, logger.propagate = before


# -- sound that is none ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_file_that_is_no_audio(command: str, refused: Refused, noise_file: Path) -> None:
    line = refused(*file_arguments(command, noise_file), status=SOUND)
    assert f"{noise_file} is not a sound file that can be read" in line


@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_file_of_no_length(command: str, refused: Refused, tmp_path: Path) -> None:
    empty = tmp_path / "empty.wav"
    empty.touch()
    assert f"{empty} is empty" in refused(*file_arguments(command, empty), status=SOUND)


@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_file_without_samples(command: str, refused: Refused, write_wav: Write) -> None:
    path = write_wav(np.empty(0, np.float32))
    assert f"{path} holds no sound" in refused(*file_arguments(command, path), status=SOUND)


@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_missing_file(command: str, refused: Refused, tmp_path: Path) -> None:
    line = refused(*file_arguments(command, tmp_path / "nö such file.wav"), status=SOUND)
    assert "No such file or directory" in line
    assert "nö such file.wav" in line


def test_a_directory(refused: Refused, tmp_path: Path) -> None:
    assert "is a directory" in refused("replay", "--model", "tiny", str(tmp_path), status=SOUND)


def test_a_named_pipe_as_a_file(refused: Refused, tmp_path: Path) -> None:
    """Opening it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(*file_arguments("run", tmp_path / "pipe"), status=SOUND)


def test_a_name_that_is_far_too_long(refused: Refused) -> None:
    assert "File name too long" in refused("replay", "--model", "tiny", "a" * 5000, status=SOUND)


def test_a_name_that_is_no_utf8(models: Path, tmp_path: Path) -> None:
    name = os.fsencode(str(tmp_path)) + b"/caf\xe9.wav"
    done = subprocess.run(
        [*COMMAND, "replay", "--model", "tiny", name],
        env=clean_environment(models),
        cwd=ROOT,
        capture_output=True,
        timeout=QUICK_S,
        check=False,
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (SOUND, 1)
    assert b"No such file" in done.stderr


def file_arguments(command: str, path: Path) -> list[str]:
    return ["run", "--file", str(path)] if command == "run" else ["replay", str(path), "--model", "tiny"]


@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_file_that_is_cut_short(
    command: str, scene: ToneScene, write_wav: Write, models: Path, tmp_path: Path
) -> None:
    """What is there is listened to, and what is missing is said."""
    path = write_wav(scene.samples, subtype="PCM_16")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    arguments = [*file_arguments(command, path), *(["--fast"] if command == "run" else [])]
    done = run_command(*arguments, *own_options(arguments, tmp_path), models=models)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "is cut short" in line]
    assert len(warnings) == 1
    assert re.search(r"\d+ of 38400 samples are missing", warnings[0])
    heard = done.stdout if command == "replay" else done.stderr
    assert "low" in heard
    assert "mid" in heard
    assert "high" not in heard


def test_a_bundle_of_several_faults_in_a_config(refused: Refused, tmp_path: Path, models: Path) -> None:
    config = tmp_path / "five.toml"
    config.write_text(
        '[engine]\nhop_ms = 0\n[[stream]]\nsource = "radio"\n[publish]\nheartbeat_s = "often"\n'
        '[log]\nlevle = "info"\n[kitchen]\nsink = 1\n'
    )
    for command in (["run"], ["check-config"], ["replay", "x.wav"]):
        done = run_command(*command, "--config", str(config), models=models)
        lines = done.stderr.splitlines()
        assert (done.returncode, done.stdout, len(lines)) == (CONFIG, "", 5), done.stderr
        assert all(line.startswith("streamer: config: ") for line in lines)
        for place in (
            "engine.hop_ms: 0",
            "stream.source: 'radio'",
            "publish.heartbeat_s: 'often'",
            "log.levle: ",
            "kitchen: ",
        ):
            assert [line for line in lines if place in line], place
        assert "did you mean level?" in done.stderr
        assert "microphone, file, stdin" in done.stderr


# -- sound with something in it that ought not to be there -----------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_samples_that_are_no_numbers(bad: float, models: Path, scene: ToneScene) -> None:
    """They are replaced and counted; the events before and after come, and every score is a number."""
    samples = scene.samples.copy()
    samples[5000:5400] = bad
    samples[::1000] = bad
    count = int((~(np.abs(samples) < 32)).sum())
    with Daemon(
        "--source", "stdin", "--format", "f32le", models=models, stdin=subprocess.PIPE, topics=FRAMES_TOO
    ) as daemon:
        daemon.hear_health(lambda health: True)
        daemon.process.communicate(samples.tobytes())
        final = daemon.hear_final()
        assert daemon.wait() == 0
        assert "Warning:" not in daemon.stderr
    assert final.bad_samples == count
    assert final.gaps == 0
    assert [event.label for event in daemon.events if event.phase != "end"] == ["low", "mid", "high", "low"]
    assert all(np.isfinite(frame.scores()).all() for frame in daemon.frames)
    assert final.level_dbfs is None or np.isfinite(final.level_dbfs)


def test_silence_is_no_event(models: Path) -> None:
    with Daemon("--source", "stdin", models=models, stdin=subprocess.PIPE, topics=FRAMES_TOO) as daemon:
        daemon.hear_health(lambda health: True)
        daemon.process.communicate(bytes(2 * 16_000 * 20))
        final = daemon.hear_final()
        assert daemon.wait() == 0
    assert daemon.events == []
    assert (final.listened_s, final.bad_samples, final.clipped_samples) == (20.0, 0, 0)
    assert sum(frame.rows for frame in daemon.frames) >= 990
    assert all(np.isfinite(frame.scores()).all() for frame in daemon.frames)


def test_full_scale_is_counted(models: Path) -> None:
    """A square wave as loud as can be, at 100 Hz."""
    square = np.where(np.arange(32_000) // 80 % 2, -32_768, 32_767).astype("<i2")
    with Daemon("--source", "stdin", models=models, stdin=subprocess.PIPE, topics=FRAMES_TOO) as daemon:
        daemon.hear_health(lambda health: True)
        daemon.process.communicate(square.tobytes())
        final = daemon.hear_final()
        assert daemon.wait() == 0
    assert final.clipped_samples == 16_000, "-32768 is full scale, 32767 is just below"
    levels = [health.peak_dbfs for health in daemon.healths if health.peak_dbfs is not None]
    assert max(levels) == 0.0
    assert all(np.isfinite(frame.scores()).all() for frame in daemon.frames)


# -- standard input --------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["run", "--source", "stdin"], ["replay", "-", "--model", "tiny"]])
def test_standard_input_is_a_terminal(arguments: list[str], models: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, *arguments, *own_options(arguments, tmp_path)],
            stdin=theirs,
            env=clean_environment(models),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=QUICK_S,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stderr.count("\n")) == (SOUND, 1), done.stderr
    assert "standard input is a terminal, not sound" in done.stderr


def test_a_wav_on_standard_input(refused: Refused, scene_wav: Path) -> None:
    line = refused("replay", "-", "--model", "tiny", status=SOUND, stdin=scene_wav.read_bytes())
    assert "is a WAV file, not raw PCM" in line


def test_standard_input_without_any_sound(refused: Refused, models: Path, tmp_path: Path) -> None:
    line = refused("replay", "-", "--model", "tiny", status=SOUND, stdin=b"")
    assert "ended without any sound" in line
    done = run_command(
        "run",
        "--source",
        "stdin",
        "--model",
        "tiny",
        "--runtime-dir",
        str(tmp_path / "r"),
        "--publish",
        "tcp://127.0.0.1:*",
        models=models,
        stdin=b"",
    )
    assert done.returncode == SOUND
    assert done.stderr.count("ended without any sound") == 1


def test_half_a_sample_is_left_over(models: Path, scene: ToneScene) -> None:
    sound = (scene.samples * 32_767).astype("<i2").tobytes()
    done = run_command("replay", "-", "--model", "tiny", models=models, stdin=sound + b"x")
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "1 bytes are left over" in done.stderr
    assert done.stdout.count("\n") == len(scene.expected)


# -- the standard streams are closed ---------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_parent_that_closed_the_standard_streams(
    closed: str, models: Path, scene_wav: Path, tmp_path: Path
) -> None:
    """As old supervisors do: nothing that we print may land in a socket that got the number."""
    arguments = ["run", "--file", str(scene_wav), "--fast"]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *arguments, *own_options(arguments, tmp_path)],
        env=clean_environment(models),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=QUICK_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "unexpected" not in done.stderr
    assert "2>&-" in closed or "stopped after 5 events" in done.stderr


# -- addresses and the runtime directory -----------------------------------------------------------


def test_a_port_in_use(refused: Refused, scene_wav: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused("run", "--file", str(scene_wav), "--publish", f"tcp://127.0.0.1:{port}", status=SOCKET)
    assert f"port {port} on 127.0.0.1 is in use by another program; " in line
    assert "--publish" in line


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("nonsense", "is no address"),
        ("tcp://0.0.0.0:7790", "is not on loopback"),
        ("tcp://*:7790", "is not on loopback"),
        ("tcp://127.0.0.1:99999", "there is no port 99999"),
        ("tcp://127.0.0.1", "is no TCP address"),
        ("ipc://events.sock", "names no absolute path"),
        ("ipc:///" + "a" * 200, "is too long: 201 bytes"),
        ("ipc:///nowhere/at/all.sock", "No such file or directory"),
        ("udp://127.0.0.1:5", "is no address"),
        ("", "is no address"),
    ],
)
def test_an_address_that_cannot_be(address: str, told: str, refused_here: Refused, scene_wav: Path) -> None:
    assert told in refused_here("run", "--file", str(scene_wav), "--publish", address, status=SOCKET)


def test_a_bad_address_in_the_config_is_found_by_check_config(refused: Refused, tmp_path: Path) -> None:
    config = tmp_path / "streamer.toml"
    config.write_text('[model]\nbundle = "tiny"\n[publish]\nendpoints = ["tcp://192.168.0.1:7790"]\n')
    assert "is not on loopback" in refused("check-config", "--config", str(config), status=SOCKET)


def test_a_second_daemon_in_the_same_place(refused: Refused, models: Path, scene_wav: Path) -> None:
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        line = refused("run", "--file", str(scene_wav), "--runtime-dir", str(daemon.runtime), status=SOCKET)
        assert f"is in use: another streamer (pid {daemon.process.pid}) already runs here" in line
        other = str(daemon.runtime / "other")
        line = refused(
            "run",
            "--file",
            str(scene_wav),
            "--runtime-dir",
            other,
            "--publish",
            daemon.endpoint,
            status=SOCKET,
        )
        assert "another program listens on" in line
        daemon.hear_event("low", "hit")  # the first one has lost nothing
        assert daemon.stop() == 0


def test_a_runtime_directory_that_is_a_file(refused: Refused, tmp_path: Path, scene_wav: Path) -> None:
    (tmp_path / "r").touch()
    assert "is not a directory" in refused("run", "--file", str(scene_wav), status=SOCKET)
    below = str(tmp_path / "r" / "below")
    assert "Not a directory" in refused(
        "run", "--file", str(scene_wav), "--runtime-dir", below, status=SOCKET
    )


def test_a_runtime_directory_open_to_the_group(refused: Refused, tmp_path: Path, scene_wav: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r").chmod(0o750)
    line = refused("run", "--file", str(scene_wav), status=SOCKET)
    assert f"is open to others (mode 0750); `chmod 700 {tmp_path / 'r'}`" in line


def test_a_runtime_directory_that_cannot_be_written(refused: Refused, scene_wav: Path) -> None:
    """/proc is what not even root can write to."""
    line = refused("run", "--file", str(scene_wav), "--runtime-dir", "/proc/streamer", status=SOCKET)
    assert "runtime directory /proc/streamer cannot be used: No such file or directory" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_runtime_directory_of_somebody_else(refused: Refused, tmp_path: Path, scene_wav: Path) -> None:
    (tmp_path / "r").mkdir(mode=0o700)
    os.chown(tmp_path / "r", NOBODY_UID, NOBODY_UID)
    assert f"belongs to another user (uid {NOBODY_UID})" in refused(
        "run", "--file", str(scene_wav), status=SOCKET
    )


# -- settings and models ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--threshold", "nobody=0.5"], "labels.nobody: the model has no such label, legal: low, mid, high"),
        (["--threshold", "hihg=0.5"], "did you mean high?"),
        (
            ["--threshold", "low=2"],
            "labels.low.threshold (command line): 2.0, legal values: a number above 0 below 1",
        ),
        (["--threshold", "low=nan"], "labels.low.threshold"),
        (["--threshold", "low"], "expected LABEL=SCORE"),
        (["--threshold", "=0.5"], "expected LABEL=SCORE"),
        (["--hop-ms", "0"], "engine.hop_ms (command line): 0, legal values: a whole number from 10 to 2000"),
        (["--rate", "7"], "stream.rate_hz (command line): 7"),
        (["--channels", "-3"], "stream.channels (command line): -3"),
        (["--stream", "küche"], "stream.name (command line): 'küche'"),
        (["--stream", "a.b"], "stream.name"),
        (["--stream", ""], "stream.name"),
        (["--heartbeat", "nan"], "publish.heartbeat_s"),
        (["--source", "file"], "needs a path"),
        (["--source", "stdin", "--file", "x.wav"], "--file and --source stdin contradict each other"),
        (["--config", "/nowhere/streamer.toml"], "/nowhere/streamer.toml: No such file or directory"),
        (["--config", "/"], "/: Is a directory"),
    ],
)
def test_settings_out_of_range(arguments: list[str], told: str, refused_here: Refused) -> None:
    line = refused_here("run", *arguments, status=CONFIG)
    assert line.startswith("streamer: config: ")
    assert told in line


def test_a_setting_from_the_environment(refused: Refused, scene_wav: Path) -> None:
    line = refused(
        "run", "--file", str(scene_wav), status=CONFIG, environment={"STREAMER_ENGINE_HOP_MS": "soon"}
    )
    assert "engine.hop_ms (environment): 'soon', legal values: a whole number from 10 to 2000" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["--for", "-1"],
        ["--for", "nan"],
        ["--for", "soon"],
        ["--rate", "many"],
        ["--variant", "magic"],
        ["--frobnicate"],
    ],
)
def test_wrong_usage_of_run(arguments: list[str], refused_here: Refused) -> None:
    line = refused_here("run", *arguments, status=USAGE)
    assert re.match(r"streamer( run)?: error: ", line)
    assert arguments[-1] in line


def test_an_unknown_model(refused: Refused, scene_wav: Path) -> None:
    line = refused("run", "--file", str(scene_wav), "--model", "giant", status=BUNDLE)
    assert "bundles found by name: " in line
    assert "tiny" in line
    assert "giant" in refused("models", "giant", status=BUNDLE)
    assert "no bundle of that name" in refused("models", "x" * 5000, status=BUNDLE)


@pytest.mark.parametrize("damage", ["weights", "manifest", "file", "half a manifest"])
def test_a_damaged_model(
    damage: str, refused: Refused, models: Path, tmp_path: Path, scene_wav: Path
) -> None:
    bundle = tmp_path / "damaged"
    shutil.copytree(models / "tiny", bundle)
    manifest, graph = bundle / "manifest.json", bundle / "model.onnx"
    if damage == "weights":
        graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    elif damage == "file":
        graph.unlink()
    elif damage == "manifest":
        manifest.write_text(manifest.read_text().replace('"keyword"', '"keyhole"', 1))
    else:
        manifest.write_text(manifest.read_text()[:100])
    line = refused("run", "--file", str(scene_wav), "--model", str(bundle), status=BUNDLE)
    told = {"weights": "sha256", "file": "model.onnx", "manifest": "kind", "half a manifest": "not JSON"}
    assert str(bundle) in line
    assert told[damage] in line


def test_a_variant_that_the_bundle_has_not(refused: Refused, scene_wav: Path) -> None:
    line = refused("run", "--file", str(scene_wav), "--variant", "onnx-int8", status=BUNDLE)
    assert "files.onnx-int8: the bundle has no such variant, only card, onnx, torch" in line


def test_the_torch_variant_without_torch(refused: Refused, tmp_path: Path, scene_wav: Path) -> None:
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "torch.py").write_text('raise ModuleNotFoundError("No module named \'torch\'", name="torch")\n')
    path = os.pathsep.join([str(stub), str(ROOT)])
    line = refused(
        "run", "--file", str(scene_wav), "--variant", "torch", status=1, environment={"PYTHONPATH": path}
    )
    assert line == "streamer: torch is not installed; pip install 'streamer[torch]'"


# -- microphones -----------------------------------------------------------------------------------


def without_sound(folder: Path) -> dict[str, str]:
    """A machine without sound: ALSA knows but a card that is not there (on none, PortAudio aborts)."""
    nothing = folder / "no-devices.conf"
    nothing.write_text("pcm.default { type hw card 77 }\n")
    return {"ALSA_CONFIG_PATH": str(nothing), "JACK_NO_START_SERVER": "1"}


needs_portaudio = pytest.mark.skipif(
    ctypes.util.find_library("portaudio") is None, reason="PortAudio is not installed (package libportaudio2)"
)


@needs_portaudio
def test_no_device_at_all(refused: Refused, tmp_path: Path) -> None:
    line = refused("run", status=DEVICE, environment=without_sound(tmp_path))
    assert line == "streamer: no input device found; plug in a microphone, or try `streamer run --demo`"
    assert refused("devices", status=DEVICE, environment=without_sound(tmp_path)) == line


def test_a_crash_in_a_library_leaves_a_word(models: Path, tmp_path: Path) -> None:
    """PortAudio aborts its whole process on an empty ALSA configuration: that is not ours, and we say so."""
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "sounddevice.py").write_text(
        "import os\nos.dup2(os.open(os.devnull, os.O_WRONLY), 2)\nos.abort()\n"
    )
    path = os.pathsep.join([str(stub), str(ROOT)])
    command = [
        "run",
        "--model",
        "tiny",
        "--runtime-dir",
        str(tmp_path / "r"),
        "--publish",
        "tcp://127.0.0.1:*",
    ]
    done = run_command(*command, models=models, environment={"PYTHONPATH": path})
    assert done.returncode == DEVICE
    last = done.stderr.splitlines()[-1]
    assert last == (
        "streamer: PortAudio crashed (SIGABRT); STREAMER_DEBUG_PORTAUDIO=1 shows what PortAudio says"
    )
    assert "Traceback" not in done.stderr


missing = virtual_microphone.available()


@pytest.mark.virtmic
@pytest.mark.skipif(missing is not None, reason=str(missing))
def test_what_microphones_refuse(tmp_path: Path, refused: Refused) -> None:
    """No rate is refused by a sound server: that case is in tests/capture, with a device made up."""
    with VirtualMicrophone(tmp_path) as microphone:
        names = microphone.home / ".asoundrc"
        second = 'pcm.virtmic_two { type pulse device "virtmic" hint { show on description "two" } }\n'
        names.write_text(names.read_text() + second)
        surroundings = {
            name: text for name, text in microphone.environment().items() if os.environ.get(name) != text
        }
        listed = run_command("devices", environment=surroundings)
        assert listed.returncode == 0
        assert '"virtmic"' in listed.stdout
        assert len([line for line in listed.stdout.splitlines() if line.startswith("* ")]) == 1

        line = refused("run", "--device", "trumpet", status=DEVICE, environment=surroundings)
        assert 'no input device "trumpet"; there is ' in line
        assert '"virtmic"' in line
        line = refused("run", "--device", "99", status=DEVICE, environment=surroundings)
        assert "no input device number 99" in line
        line = refused("run", "--device", "irtmi", status=DEVICE, environment=surroundings)
        assert '"irtmi" fits several input devices; give the number or a longer name: ' in line
        line = refused(
            "run", "--device", "virtmic", "--channels", "64", status=DEVICE, environment=surroundings
        )
        assert "Invalid number of channels" in line
        assert "--channels 1" in line

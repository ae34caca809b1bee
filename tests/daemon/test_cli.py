"""The command line as people and shells use it."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from streamer import __version__
from streamer.cli.parser import COMMANDS, find_command
from streamer.errors import EXIT_INTERRUPTED
from streamer.kernel import library
from streamer.security.keys import make_pair
from tests.daemon.conftest import Write
from tests.daemon.test_faults import without_sound
from tests.support.daemon import COMMAND, ROOT, Daemon, clean_environment, run_command
from tests.support.tones import ToneScene, make_tone_scene

TIMEOUT_S = 20.0
ESCAPE = "\033["


def fresh_python(code: str, models: Path | None = None, **environment: str) -> str:
    """The output of some lines in an interpreter of their own."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(models, **environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def at_a_terminal(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit status and everything shown by a command whose three standard streams are a terminal."""
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen(
            [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=ROOT
        ) as process:
            os.close(theirs)
            shown = read_all(ours)
            return process.wait(TIMEOUT_S), shown
    finally:
        os.close(ours)


def read_all(terminal: int) -> str:
    shown, deadline_s = b"", time.monotonic() + TIMEOUT_S
    while select.select([terminal], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
        try:
            shown += os.read(terminal, 65_536)
        except OSError:  # EIO: the last process has closed its end
            return shown.decode()
    raise AssertionError(f"it did not end in {TIMEOUT_S} s; it showed {shown!r}")


# -- help, and what it costs -----------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from streamer.cli import main

    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    example = shown.partition("example:\n")[2]
    assert f"streamer {command}" in example
    assert "--debug" in shown


def test_the_examples_can_be_parsed() -> None:
    """An example with a misspelt option would be worse than none."""
    from streamer.cli.parser import build_parser

    parser = build_parser()
    for command in COMMANDS:
        lines = [line.strip().partition("   ")[0] for line in find_command(command).EXAMPLE.splitlines()]
        calls = [re.sub(r"^.*\| | >.*$", "", line).split() for line in lines]
        assert calls
        for call in calls:
            assert call[0] == "streamer", call
            assert parser.parse_args(call[1:]).run


def test_help_names_every_command_and_status() -> None:
    done = run_command("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(re.search(rf"^ +{name}\b", done.stdout, re.MULTILINE) for name in COMMANDS)
    statuses = (0, 1, 2, 3, 4, 5, 6, 7, 130)
    assert [number for number in statuses if not re.search(rf"\b{number}  ", done.stdout)] == []


def test_version() -> None:
    done = run_command("--version")
    assert (done.returncode, done.stdout) == (0, f"streamer {__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["listen"], ["run", "extra"]])
def test_wrong_usage(arguments: list[str]) -> None:
    done = run_command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: streamer")
    assert "Traceback" not in done.stderr


NEEDLESS = (
    *("torch", "training", "scipy", "onnx", "prometheus_client", "streamer.bridges"),
    # what our own parts could bring in when nobody has asked for them
    *("asyncio", "ssl", "difflib", "importlib.metadata", "numpy.typing", "sounddevice", "soxr"),
    *("streamer.cli.ctl", "streamer.remote_streams", "streamer.capture.ingest", "streamer.clips"),
)
HEAVY = ("numpy", "zmq", "onnxruntime", "torch", "soundfile", "sounddevice", "msgspec", "soxr", "asyncio")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom streamer.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert fresh_python(code).splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_loads_no_other(command: str) -> None:
    modules = {name.replace("-", "_") for name in COMMANDS}
    code = (
        "import sys\nfrom streamer.cli import main\n"
        f"try:\n    main([{command!r}, '--help'])\nexcept SystemExit:\n    pass\n"
        "loaded = {name.removeprefix('streamer.cli.') for name in sys.modules}\n"
        f"print(sorted(loaded & {modules!r}))\n"
    )
    assert fresh_python(code).splitlines()[-1] == repr([command.replace("-", "_")])


def test_numpy_starts_no_threads() -> None:
    """OpenBLAS starts one on each core, and they spin for a while: more work than all other imports."""
    code = (
        "import os, sys\nfrom streamer.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        "assert 'numpy' not in sys.modules\nimport numpy\n"
        "print(len(os.listdir('/proc/self/task')))\n"
    )
    assert fresh_python(code).splitlines()[-1] == "1"


@pytest.mark.parametrize("variant", ["auto", "onnx"])
def test_the_daemon_runs_without_torch(models: Path, scene_wav: Path, tmp_path: Path, variant: str) -> None:
    """A fresh process that has run to its end, events included; with the kernel it needs even less."""
    options = ["run", "--no-live", "--model", "tiny", "--file", str(scene_wav), "--fast"]
    options += ["--variant", variant]
    options += ["--runtime-dir", str(tmp_path / "r"), "--publish", "tcp://127.0.0.1:*"]
    code = (
        f"import sys\nfrom streamer.cli import main\nassert main({options!r}) == 0\n"
        f"heavy = [name for name in {NEEDLESS!r} if name in sys.modules]\n"
        "print('LOADED', heavy, 'onnxruntime' in sys.modules)\n"
    )
    needs_onnxruntime = variant == "onnx" or library() is None
    assert fresh_python(code, models) == f"LOADED [] {needs_onnxruntime}\n"


def test_the_daemon_leaves_nothing_behind(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    """onnxruntime, for one, keeps a database of its use in the home directory unless it is told not to."""
    home, runtime = tmp_path / "home", tmp_path / "r"
    home.mkdir()
    surroundings = {"HOME": str(home), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": ""}
    surroundings["XDG_STATE_HOME"] = str(tmp_path / "state")
    options = ["--model", "tiny", "--file", str(scene_wav), "--fast", "--runtime-dir", str(runtime)]
    done = run_command(
        "run", *options, "--publish", f"ipc://{runtime}/e.sock", models=models, environment=surroundings
    )
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []
    assert [path.name for path in runtime.iterdir()] == ["streamer.lock"]
    assert {path.name for path in (tmp_path / "state/streamer").iterdir()} <= {
        *("journal.db", "journal.db-wal", "journal.db-shm", "journal.db-seq", "journal.db-lock"),
    }


def test_subscribing_loads_no_model_runtime(models: Path) -> None:
    code = (
        "import sys, streamer.client, streamer.cli.subscribe\n"
        "print([name for name in ('onnxruntime', 'soundfile', 'soxr', 'numpy') if name in sys.modules])\n"
    )
    assert fresh_python(code) == "[]\n"


# -- replay ----------------------------------------------------------------------------------------


def test_replay_prints_an_object_a_line(models: Path, scene: ToneScene, scene_wav: Path) -> None:
    done = run_command("replay", str(scene_wav), "--model", "tiny", models=models)
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(event["label"], event["phase"]) for event in events] == [
        expected[:2] for expected in scene.expected
    ]
    for event, (label, phase, time_s) in zip(events, scene.expected, strict=True):
        assert list(event) == [
            "stream",
            "kind",
            "label",
            "phase",
            "onset_s",
            "offset_s",
            "detected_s",
            "score",
            "reason",
            "model",
        ]
        assert event["model"] == "tiny"
        assert event["stream"] == str(scene_wav)
        assert event["kind"] == ("sound" if label == "high" else "keyword")
        assert (event["offset_s"] is None) == (phase == "start")
        told_s = event["offset_s"] if phase == "end" else event["onset_s"]
        assert abs(told_s - time_s) < 0.12
        assert 0 < event["score"] <= 1


@pytest.mark.parametrize("hop_ms", [10, 500])
def test_the_hop_changes_no_event(hop_ms: int, models: Path, scene_wav: Path) -> None:
    usual = run_command("replay", str(scene_wav), "--model", "tiny", models=models)
    other = run_command("replay", str(scene_wav), "--model", "tiny", "--hop-ms", str(hop_ms), models=models)
    assert other.stdout == usual.stdout


def test_replay_writes_scores(models: Path, scene: ToneScene, scene_wav: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    done = run_command("replay", str(scene_wav), "--model", "tiny", "--scores", str(path), models=models)
    assert (done.returncode, done.stderr) == (0, "")
    with np.load(path, allow_pickle=False) as archive:
        assert sorted(archive) == ["frame_s", "labels", "scores", "times_s"]
        assert archive["labels"].tolist() == ["low", "mid", "high"]
        assert float(archive["frame_s"]) == 0.02
        scores, times_s = archive["scores"], archive["times_s"]
    assert scores.dtype == np.float32
    assert scores.shape == (len(times_s), 3)
    assert abs(len(times_s) * 0.02 - len(scene.samples) / 16_000) < 0.05
    np.testing.assert_allclose(np.diff(times_s), 0.02, atol=1e-4)
    assert ((scores >= 0) & (scores <= 1)).all()
    on = (times_s > 1.4) & (times_s < 1.65)
    assert scores[on, 2].min() > 0.5
    assert scores[on, :2].max() < 0.5


def test_scores_that_cannot_be_written(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    path = tmp_path / "no" / "such" / "scores.npz"
    done = run_command("replay", str(scene_wav), "--model", "tiny", "--scores", str(path), models=models)
    assert (done.returncode, done.stderr) == (1, f"streamer: {path}: No such file or directory\n")
    done = run_command("replay", "a.wav", "b.wav", "--model", "tiny", "--scores", str(path), models=models)
    assert done.returncode != 0
    assert "--scores takes one FILE" in done.stderr


def test_one_bad_file_among_several(models: Path, scene: ToneScene, scene_wav: Path, tmp_path: Path) -> None:
    """The others are listened to all the same, and each with a state of its own."""
    bad = tmp_path / "bad.wav"
    bad.write_text("this is no sound")
    done = run_command("replay", str(scene_wav), str(bad), str(scene_wav), "--model", "tiny", models=models)
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)
    assert str(bad) in done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(scene.expected)
    assert lines[: len(scene.expected)] == lines[len(scene.expected) :]


def test_replay_of_standard_input_is_that_of_the_file(
    models: Path, scene: ToneScene, scene_wav: Path
) -> None:
    from_file = run_command("replay", str(scene_wav), "--model", "tiny", models=models).stdout
    arguments = ["replay", "-", "--format", "f32le", "--model", "tiny"]
    from_pipe = run_command(*arguments, models=models, stdin=scene.samples.tobytes()).stdout
    assert from_pipe.replace('"stream": "-"', f'"stream": "{scene_wav}"') == from_file


def test_replay_with_another_threshold(models: Path, scene_wav: Path) -> None:
    others = ["--threshold", "low=0.999", "--threshold", "mid=0.4"]
    done = run_command("replay", str(scene_wav), "--model", "tiny", *others, models=models)
    labels = [json.loads(line)["label"] for line in done.stdout.splitlines()]
    assert labels == ["mid", "high", "high"]


# -- pipes, interrupts, tracebacks -----------------------------------------------------------------


def test_a_reader_that_leaves_early(models: Path, write_wav: Write) -> None:
    tones = tuple(("low", at + 0.2, at + 0.4) for at in range(59))
    path = write_wav(make_tone_scene(16_000, 60, tones).samples)
    replay = f"replay --model tiny {path}"
    for command in (replay, "completion bash", "--help", "run --help", f"{replay} {path}"):
        done = subprocess.run(
            [
                "bash",
                "-c",
                f'"$0" -m streamer {command} | head -n 1; echo "${{PIPESTATUS[0]}}"',
                sys.executable,
            ],
            env=clean_environment(models),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.stderr == "", command
        assert done.stdout.splitlines()[-1] == "0", command


def test_a_full_disk(models: Path, scene_wav: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "replay", str(scene_wav), "--model", "tiny"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(models),
            cwd=ROOT,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "streamer: [Errno 28] No space left on device\n")


def test_interrupting_replay(models: Path, scene: ToneScene) -> None:
    """It waits for more sound on standard input when Ctrl-C comes."""
    with subprocess.Popen(
        [*COMMAND, "replay", "-", "--model", "tiny"],
        env=clean_environment(models),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((scene.samples * 32_767).astype("<i2").tobytes())
        process.stdin.flush()
        assert b'"low"' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (EXIT_INTERRUPTED, b"")


def test_interrupting_subscribe(models: Path, scene_wav: Path) -> None:
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        with subprocess.Popen(
            [*COMMAND, "subscribe", "--connect", daemon.endpoint],
            env=clean_environment(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, err) == (EXIT_INTERRUPTED, "")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  (keyword|sound) +\w+.* 0\.\d\d  \[default\]\n", line), (
            line
        )
        assert daemon.stop() == 0


def test_debug_shows_the_traceback(models: Path) -> None:
    quiet = run_command("replay", "/nowhere.wav", "--model", "tiny", models=models)
    loud = run_command("replay", "/nowhere.wav", "--model", "tiny", "--debug", models=models)
    assert "Traceback" not in quiet.stderr
    assert "Traceback (most recent call last)" in loud.stderr
    assert "SoundError: cannot read /nowhere.wav" in loud.stderr
    assert loud.returncode == 1


# -- subscribe -------------------------------------------------------------------------------------


def test_subscribe_counts_and_chooses(models: Path, scene_wav: Path) -> None:
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        here = ["subscribe", "--connect", daemon.endpoint, "--timeout", "15"]
        done = run_command(*here, "--json", "--count", "2", "--topic", "keyword.mid.")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert (done.returncode, done.stderr) == (0, "")
        assert [event["label"] for event in events] == ["mid", "mid"]
        assert {"v", "run", "seq", "stream", "kind", "phase", "onset_s", "time_utc", "model"} <= set(
            events[0]
        )

        done = run_command(*here, "--json", "--count", "1", "--frames", "--topic", "frame.default")
        frames = json.loads(done.stdout)
        assert np.shape(frames["scores"]) == (frames["rows"], 3)

        done = run_command(*here, "--count", "1", "--topic", "health.")
        assert re.search(r"  health  listening, -\d+ dBFS, 0 samples lost  \[default\]\n", done.stdout), (
            done.stdout
        )
        assert daemon.stop() == 0


def test_subscribe_gives_up(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/nobody.sock"
    done = run_command("subscribe", "--connect", address, "--timeout", "0.2")
    assert (done.returncode, done.stderr) == (1, f"streamer: nothing came within 0.2 s from {address}\n")
    assert done.stdout == ""


def test_subscribe_finds_the_local_daemon_by_itself(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    """Both look into the same runtime directory."""
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        session = tmp_path / "session"
        session.mkdir(mode=0o700)
        (session / "streamer").symlink_to(daemon.runtime)
        done = run_command(
            "subscribe", "--count", "1", "--timeout", "15", environment={"XDG_RUNTIME_DIR": str(session)}
        )
        assert done.returncode == 0, done.stderr
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--count", "0"],
        ["--count", "-1"],
        ["--count", "many"],
        ["--timeout", "-5"],
        ["--timeout", "nan"],
        ["--timeout", "0"],
    ],
)
def test_numbers_that_make_no_sense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from streamer.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["subscribe", *arguments])
    assert ended.value.code == 2
    assert f"argument {arguments[0]}: {arguments[1]!r}, legal values: " in capsys.readouterr().err


def test_an_address_to_subscribe_to_that_is_none() -> None:
    done = run_command("subscribe", "--connect", "foo")
    assert (done.returncode, done.stderr.count("\n")) == (7, 1)
    assert "'foo' is no address; use ipc:///PATH or tcp://127.0.0.1:7790" in done.stderr


# -- what is shown at a terminal -------------------------------------------------------------------


def live_options(models: Path, wav: Path, folder: Path) -> list[str]:
    own = ["--runtime-dir", str(folder / "r"), "--publish", "tcp://127.0.0.1:*"]
    return ["run", "--model", "tiny", "--file", str(wav), *own]


@pytest.mark.parametrize("plain", [False, True])
def test_colours_at_a_terminal_only_where_wanted(
    plain: bool, models: Path, scene_wav: Path, tmp_path: Path
) -> None:
    more = {"TERM": "xterm", **({"NO_COLOR": "1"} if plain else {})}
    status, shown = at_a_terminal(
        [*live_options(models, scene_wav, tmp_path), "--fast"], clean_environment(models, **more)
    )
    assert status == 0, shown
    assert len(re.findall(r"keyword .*low", shown)) == 2, shown
    assert ("\033[32mlow\033[0m" in shown) == (not plain)
    assert "INFO" not in shown, "the live line tells it already"
    assert "Traceback" not in shown


def test_no_colours_in_a_pipe(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    done = run_command(
        *live_options(models, scene_wav, tmp_path), "--fast", models=models, environment={"TERM": "xterm"}
    )
    assert done.returncode == 0
    assert ESCAPE not in done.stdout + done.stderr
    assert done.stdout == "", "events go to the socket and, one line each, to the log"
    assert len(re.findall(r"keyword low \(0\.\d\d\)", done.stderr)) == 2


def test_the_live_line_moves(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    status, shown = at_a_terminal(
        live_options(models, scene_wav, tmp_path), clean_environment(models, TERM="xterm")
    )
    assert status == 0
    lines = re.findall(r"listening 00:0\d \[[#.]{16}\] +-\d+\.\d dBFS  (\w+) \d\.\d\d", shown)
    assert len(lines) > 5, shown
    assert {"low", "mid", "high"} <= set(lines)
    assert shown.endswith("\r\033[K"), "the line is taken away at the end"


def test_faults_at_a_terminal_are_plain_lines(models: Path) -> None:
    status, shown = at_a_terminal(["replay", "/nowhere.wav", "--model", "tiny"], clean_environment(models))
    assert (status, shown) == (
        6,
        "streamer: cannot read /nowhere.wav: No such file or directory; check the path\r\n",
    )


# -- completion ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "streamer"
    done = run_command("completion", "bash")
    assert (done.returncode, done.stderr) == (0, "")
    path.write_text(done.stdout)
    return path


def completed(script: Path, words: Sequence[str]) -> set[str]:
    """What bash offers for the last word."""
    lines = [
        f"source {script}",
        "spec=$(complete -p streamer); function=${spec##*-F }; function=${function%% *}",
        f"COMP_WORDS=({' '.join(repr(word) for word in words)})",
        f"COMP_CWORD={len(words) - 1}",
        f"\"$function\" streamer '{words[-1]}' '{words[-2]}'",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes(bash_script: Path) -> None:
    checked = subprocess.run(["bash", "-n", str(bash_script)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert completed(bash_script, ["streamer", "re"]) == {"replay"}
    assert completed(bash_script, ["streamer", ""]) >= set(COMMANDS)
    assert "--device" in completed(bash_script, ["streamer", "run", "--d"])
    assert completed(bash_script, ["streamer", "run", "--variant", "onnx-"]) == {"onnx-int8"}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_accepts_its_script(tmp_path: Path) -> None:
    (tmp_path / "_streamer").write_text(run_command("completion", "zsh").stdout)
    checked = subprocess.run(
        ["zsh", "-n", str(tmp_path / "_streamer")], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


# -- check-config, models, doctor ------------------------------------------------------------------


def test_check_config(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "streamer.toml"
    path.write_text(
        '[model]\nbundle = "tiny"\n[engine]\nhop_ms = 40\nring_s = 5.0\n[labels.low]\nthreshold = 0.7\n'
    )
    done = run_command("check-config", "--config", str(path), models=models)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "the config is good: 1 stream(s) (default), model tiny\n"
    done = run_command(
        "check-config",
        "--config",
        str(path),
        "--show",
        "--stream",
        "kitchen",
        "--hop-ms",
        "20",
        models=models,
        environment={"STREAMER_ENGINE_HOP_MS": "30", "STREAMER_ENGINE_STALL_S": "9"},
    )
    shown = json.loads(done.stdout)
    assert shown["engine"] == {"hop_ms": 20, "ring_s": 5.0, "stall_s": 9.0, "history_s": 5.0}, (
        "file < environment < flags"
    )
    assert shown["streams"][0]["name"] == "kitchen"
    assert shown["labels"]["low"]["threshold"] == 0.7
    assert shown["publish"]["heartbeat_s"] == 2.0


def test_a_tilde_in_the_config_is_the_home_directory(tmp_path: Path, models: Path) -> None:
    path = tmp_path / "streamer.toml"
    path.write_text('[runtime]\ndirectory = "~/r"\n[[stream]]\nsource = "file"\npath = "~/x.wav"\n')
    done = run_command(
        "check-config",
        "--model",
        "tiny",
        "--config",
        str(path),
        "--show",
        models=models,
        environment={"HOME": "/home/ann"},
    )
    shown = json.loads(done.stdout)
    assert (shown["runtime"]["directory"], shown["streams"][0]["path"]) == ("/home/ann/r", "/home/ann/x.wav")


def test_check_config_knows_the_labels(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "streamer.toml"
    path.write_text(
        '[model]\nbundle = "tiny"\n[labels.lwo]\nthreshold = 0.7\n[labels.bark]\nthreshold = 0.5\n'
    )
    done = run_command("check-config", "--config", str(path), models=models)
    assert (done.returncode, done.stderr.count("\n")) == (3, 2)
    assert "did you mean low?" in done.stderr
    assert "labels.bark" in done.stderr


def test_models(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "tiny", tmp_path / "worn")
    (tmp_path / "worn" / "model.onnx").write_bytes(b"")
    both = os.pathsep.join([str(models), str(tmp_path)])
    done = run_command("models", environment={"STREAMER_MODELS": both})
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "3 labels" in lines["tiny"]
    assert "damaged: " in lines["worn"]

    done = run_command("models", "tiny", models=models)
    assert done.returncode == 0
    assert str(models / "tiny") in done.stdout
    assert re.search(r"^  high +sound +0\.50$", done.stdout, re.MULTILINE)
    assert run_command("models", str(models / "tiny"), models=models).stdout == done.stdout

    card = run_command("models", "tiny", "--card", models=models)
    assert card.stdout.strip() == (models / "tiny" / "README.md").read_text().strip()
    without = run_command("models", "--card", models=models)
    assert (without.returncode, without.stderr.count("\n")) == (1, 1)


def doctor(tmp_path: Path, models: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    surroundings = {"XDG_RUNTIME_DIR": str(tmp_path), **without_sound(tmp_path), **more}
    return run_command("doctor", *arguments, models=models, environment=surroundings)


def test_the_doctor_names_what_is_missing(models: Path, tmp_path: Path) -> None:
    done = doctor(tmp_path, models, STREAMER_MODEL_BUNDLE="tiny")
    assert (done.returncode, done.stderr) == (1, "")
    lines = {line[:12].strip(): line[13:] for line in done.stdout.splitlines()}
    assert lines["microphone"].startswith("FAULT ")
    assert [name for name, line in lines.items() if line.startswith("FAULT")] == ["microphone"]
    assert lines["model"].startswith("ok    tiny 1, 3 labels, hashes good")
    assert {
        "streamer",
        "python",
        "system",
        "packages",
        "PortAudio",
        "environment",
        "config",
        "runtime dir",
    } <= set(lines)
    assert "numpy 2" in lines["packages"]
    assert "STREAMER_MODEL_BUNDLE=tiny" in lines["environment"]


def test_the_doctor_needs_no_microphone_where_none_is_wanted(
    models: Path, tmp_path: Path, scene_wav: Path
) -> None:
    path = tmp_path / "streamer.toml"
    path.write_text(f'[model]\nbundle = "tiny"\n[[stream]]\nsource = "file"\npath = "{scene_wav}"\n')
    done = doctor(tmp_path, models, "--config", str(path))
    assert done.returncode == 0, done.stdout
    assert "microphone   ok    not needed by any stream" in done.stdout
    assert "keys         ok    none in " in done.stdout


def test_the_doctor_looks_at_keys(models: Path, tmp_path: Path, scene_wav: Path) -> None:
    keys = tmp_path / "keys"
    path = tmp_path / "streamer.toml"
    path.write_text(
        f'[model]\nbundle = "tiny"\n[[stream]]\nsource = "file"\npath = "{scene_wav}"\n'
        f'[publish]\nendpoints = ["tcp://*:7790"]\n[security]\nkeys = "{keys}"\n'
    )
    done = doctor(tmp_path, models, "--config", str(path))
    assert done.returncode == 1
    assert f"it needs a key pair, and there is none in {keys}; `streamer keys new`" in done.stdout
    for verb in (["new", "lab"], ["allow", "laptop", make_pair("laptop").public]):
        assert run_command("keys", *verb, "--keys", str(keys)).returncode == 0
    done = doctor(tmp_path, models, "--config", str(path))
    assert done.returncode == 0, done.stdout
    assert f"the pair of lab, 1 clients may come in, 0 daemons are trusted, in {keys}" in done.stdout
    (keys / "allowed.toml").chmod(0o644)
    done = doctor(tmp_path, models, "--config", str(path))
    assert done.returncode == 1
    assert "keys         FAULT " in done.stdout
    assert "chmod 600" in done.stdout


def test_the_doctor_on_a_broken_config(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "streamer.toml"
    path.write_text("[engine]\nhop_ms = 0\nring_s = 0\n")
    done = doctor(tmp_path, models, "--config", str(path))
    assert (done.returncode, done.stdout.count("FAULT")) == (1, 2), done.stdout

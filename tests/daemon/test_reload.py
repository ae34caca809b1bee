"""Another model, other streams, other settings: a running daemon takes them over and misses no sample."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import soundfile

from streamer.client import Control, ControlError
from streamer.delivery.messages import Event, Frames
from tests.daemon.conftest import Write
from tests.support import virtual_microphone
from tests.support.daemon import COMMAND, FRAMES_TOO, ROOT, Daemon, clean_environment, run_command
from tests.support.tiny_bundle import make_tiny_bundle
from tests.support.tones import ToneScene, make_tone_scene
from tests.support.virtual_microphone import VirtualMicrophone

ROUND_S = 0.8
ROUND_SAMPLES = round(ROUND_S * 16_000)


@pytest.fixture
def own_models(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A folder of bundles that a test may spoil: tiny, and one that hears the same by other names."""
    folder = tmp_path / "models"
    shutil.copytree(tiny_bundle, folder / "tiny")
    make_tiny_bundle(folder / "other", name="other", prefix="other-", stride=3)
    return folder


@pytest.fixture
def blips(write_wav: Write) -> Path:
    """The keyword "mid" again and again, played in a loop."""
    return write_wav(make_tone_scene(16_000, ROUND_S, (("mid", 0.4, 0.6),)).samples, name="blips.wav")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "streamer.toml"
    path.write_text('[model]\nbundle = "tiny"\n')
    return path


def start(config: Path, models: Path, *arguments: str) -> Daemon:
    """A daemon whose model is the config's."""
    return Daemon("--config", str(config), *arguments, models=models, model=None)


def assert_nothing_missed(daemon: Daemon, between_models: int = 0) -> None:
    """Every round of the loop has its keyword, at its place on the stream's clock, once.

    A keyword in the very moment of a change may be too late for one model and too early for the other.
    """
    hits = [event for event in daemon.events if event.phase == "hit"]
    rounds = [round((event.onset_s - 0.4) / ROUND_S) for event in hits]
    assert rounds == sorted(set(rounds))
    assert rounds[-1] - rounds[0] + 1 - len(rounds) <= between_models, rounds
    assert all(
        abs(event.onset_s - 0.4 - ROUND_S * number) < 0.06 for event, number in zip(hits, rounds, strict=True)
    )
    last = daemon.healths[-1]
    assert (last.gaps, last.lost_samples, last.overruns) == (0, 0, 0)


def test_another_model_takes_over_in_the_middle_of_the_sound(
    own_models: Path, config: Path, blips: Path
) -> None:
    with (
        start(config, own_models, "--file", str(blips), "--loop") as daemon,
        Control(daemon.control) as control,
    ):
        daemon.hear_event("mid", "hit")
        for turn in range(3):
            config.write_text('[model]\nbundle = "other"\n')
            assert control.reload() == []
            assert daemon.hear_event("other-mid", "hit").model == "other"
            assert {info.model for info in control.labels()} == {"other"}
            config.write_text(f'[model]\nbundle = "tiny"\n[engine]\nhop_ms = {20 + 30 * turn}\n')
            assert control.reload() == []
            assert daemon.hear_event("mid", "hit").model == "tiny"
        assert {info.label for info in control.labels()} == {"low", "mid", "high"}
        daemon.hear_health(lambda health: True)
        assert_nothing_missed(daemon, between_models=1)
        assert len({event.run for event in daemon.events}) == 1
        assert daemon.stop() == 0
        assert "WARNING" not in daemon.stderr


def test_a_bundle_replaced_on_the_disk_is_taken_over(own_models: Path, config: Path, blips: Path) -> None:
    """The same place, another bundle in it; what is on ends with a reason."""
    sound = blips.with_name("long.wav")
    soundfile.write(sound, make_tone_scene(16_000, 20.0, (("high", 0.5, 19.5),)).samples, 16_000)
    with start(config, own_models, "--file", str(sound)) as daemon:
        first = daemon.hear_event("high", "start")
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("config read again")
        assert "labels" not in daemon.stderr.split("config read again")[1], "nothing has changed"
        manifest = json.loads((own_models / "tiny/manifest.json").read_bytes())
        manifest["version"] = "2"
        (own_models / "tiny/manifest.json").write_text(json.dumps(manifest))
        daemon.signal(signal.SIGHUP)
        broken = daemon.hear_event("high", "end")
        again = daemon.hear_event("high", "start")
        assert (broken.reason, broken.onset_s) == ("reload", first.onset_s)
        assert broken.offset_s is not None
        assert 0 <= again.onset_s - broken.offset_s < 0.2
        assert again.seq == broken.seq + 1
        assert daemon.stop() == 0


def test_what_is_on_the_disk_may_be_broken(own_models: Path, config: Path, blips: Path) -> None:
    with (
        start(config, own_models, "--file", str(blips), "--loop") as daemon,
        Control(daemon.control) as control,
    ):
        daemon.hear_event("mid", "hit")
        other = own_models / "other"
        faults = {
            "wrong hash": lambda: (other / "model.onnx").write_bytes(b"nonsense"),
            "the file is missing": (other / "model.onnx").unlink,
            "not JSON": lambda: (other / "manifest.json").write_text("{"),
            "no bundle of that name": lambda: shutil.rmtree(other),
        }
        config.write_text('[model]\nbundles = ["tiny", "other"]\n[labels.mid]\nthreshold = 0.999\n')
        for told, spoil in faults.items():
            spoil()
            with pytest.raises(ControlError, match=told) as raised:
                control.reload()
            assert raised.value.code == "failed"
            daemon.wait_log(f"config not taken over: {raised.value.message}")
        config.write_text("[engine]\nhop_ms = 1\n")
        with pytest.raises(ControlError, match=r"engine\.hop_ms: 1"):
            control.reload()
        assert [info.threshold for info in control.labels()] == [0.5, 0.5, 0.5]
        daemon.hear_event("mid", "hit")
        daemon.hear_health(lambda health: True)
        assert_nothing_missed(daemon)
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.stderr


def test_several_at_once(own_models: Path, scene: ToneScene) -> None:
    """Exactly the events of each alone, and each with its name."""
    sound = scene.samples.astype("<f4").tobytes()

    def events(*models: str) -> dict[str, list[tuple[object, ...]]]:
        arguments = [part for model in models for part in ("--model", model)]
        with Daemon(
            "--source",
            "stdin",
            "--format",
            "f32le",
            *arguments,
            models=own_models,
            model=None,
            stdin=subprocess.PIPE,
            topics=FRAMES_TOO,
        ) as daemon:
            health = daemon.hear_health(lambda health: True)
            assert (health.model, health.label_count) == ("+".join(models), 3 * len(models))
            assert daemon.process.stdin is not None
            daemon.process.stdin.write(sound)
            daemon.process.stdin.close()
            daemon.hear_final()
            assert [event.seq for event in daemon.events] == list(range(1, len(daemon.events) + 1))
            for model in models:
                assert_scored(
                    [frame for frame in daemon.frames if frame.model == model],
                    scene,
                    0.03 if model == "other" else 0.02,
                )
            return {
                model: [what(event) for event in daemon.events if event.model == model] for model in models
            }

    together = events("tiny", "other")
    assert together == events("tiny") | events("other")
    assert [label for label, *_ in together["tiny"]] == [label for label, _, _ in scene.expected]
    assert [label for label, *_ in together["other"]] == [f"other-{label}" for label, _, _ in scene.expected]


def what(event: Event) -> tuple[object, ...]:
    return (
        event.label,
        event.phase,
        event.onset_s,
        event.offset_s,
        event.detected_s,
        event.score,
        event.reason,
    )


def assert_scored(frames: list[Frames], scene: ToneScene, row_s: float) -> None:
    """Rows of one model follow each other from the stream's beginning to its end."""
    rows = 0
    for frame in frames:
        assert (frame.first_row, frame.row_s) == (rows, row_s)
        assert frame.first_s == pytest.approx(0.0075 + rows * row_s, abs=2e-5)
        rows += frame.rows
    assert abs(rows * row_s - len(scene.samples) / scene.rate_hz) < 0.1


def test_bundles_that_do_not_go_together(own_models: Path, tiny_bundle: Path, scene_wav: Path) -> None:
    twin = make_tiny_bundle(own_models / "twin", name="twin")
    namesake = make_tiny_bundle(own_models / "namesake", name="tiny", prefix="n-")
    both = ["--model", "tiny", "--model"]
    for command in (["run", "--file", str(scene_wav)], ["check-config"], ["replay", str(scene_wav)]):
        done = run_command(*command, *both, str(twin), models=own_models)
        assert (done.returncode, done.stderr) == (
            3,
            "streamer: config: model.bundles: tiny and twin both have the labels low, mid, high\n",
        )
        done = run_command(*command, *both, str(namesake), models=own_models)
        assert done.returncode == 3
        assert f"model.bundles: {own_models}/tiny and {namesake} are both called tiny" in done.stderr


def test_every_command_knows_of_several(
    own_models: Path, scene_wav: Path, scene: ToneScene, tmp_path: Path
) -> None:
    path = tmp_path / "both.toml"
    path.write_text(
        '[model]\nbundles = ["tiny", "other"]\n[labels.other-low]\nthreshold = 0.75\n'
        f'[[stream]]\nsource = "file"\npath = "{scene_wav}"\nloop = true\n'
    )
    here = ["--config", str(path)]
    done = run_command("check-config", *here, models=own_models)
    assert done.stdout == "the config is good: 1 stream(s) (default), model tiny, other\n", done.stderr
    done = run_command("doctor", *here, models=own_models, environment={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert "tiny 1, 3 labels, hashes good" in done.stdout
    assert "; other 1, 3 labels, hashes good" in done.stdout
    done = run_command("replay", str(scene_wav), *here, models=own_models)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for model, prefix in (("tiny", ""), ("other", "other-")):
        labels = [line["label"] for line in lines if line["model"] == model]
        assert labels == [prefix + label for label, _, _ in scene.expected]
    detected_s = [line["detected_s"] for line in lines]
    assert detected_s == sorted(detected_s)
    done = run_command(
        "replay", str(scene_wav), *here, "--scores", str(tmp_path / "x.npz"), models=own_models
    )
    assert (done.returncode, done.stderr) == (
        1,
        "streamer: --scores takes one model; name it with --model BUNDLE\n",
    )
    with start(path, own_models) as daemon:
        ask = ["--endpoint", daemon.control, "--timeout", "15"]
        labels = run_command("ctl", "labels", *ask).stdout.splitlines()
        assert [(row.split()[1], row.split()[3], row.split()[-1]) for row in labels[1:]] == [
            ("low", "0.50", "tiny"),
            ("mid", "0.50", "tiny"),
            ("high", "0.50", "tiny"),
            ("other-low", "0.75", "other"),
            ("other-mid", "0.50", "other"),
            ("other-high", "0.50", "other"),
        ]
        assert (
            run_command("ctl", "threshold", "other-mid", "0.9", *ask).stdout == "other-mid: 0.9 in default\n"
        )
        assert "model tiny+other" in run_command("ctl", "status", *ask).stdout
        done = run_command("ctl", "threshold", "nothing", "0.5", *ask)
        assert "one of low, mid, high, other-low, other-mid, other-high" in done.stderr
        assert daemon.stop() == 0


STREAM = '[[stream]]\nname = "{name}"\nsource = "file"\npath = "{path}"\nloop = true\n'


def test_streams_come_and_go(own_models: Path, config: Path, blips: Path) -> None:
    """Whose settings are equal goes on as if nothing had happened; the others say goodbye."""
    model = '[model]\nbundle = "tiny"\n'
    a, b, c = (STREAM.format(name=name, path=blips) for name in "abc")
    config.write_text(model + a + b)
    with start(config, own_models) as daemon, Control(daemon.control) as control:

        def hit(stream: str) -> None:
            daemon.hear(lambda record: isinstance(record, Event) and record.stream == stream)

        hit("a")
        hit("b")
        config.write_text(model + a + c)
        assert control.reload() == []
        gone = daemon.hear_health(lambda health: health.stream == "b" and health.final)
        assert (gone.state, gone.detail) == ("stopping", "its settings were changed")
        hit("c")
        assert [info.stream for info in control.streams()] == ["a", "c"]
        config.write_text(model + a + c.replace("loop = true", 'pace = "fast"'))
        assert control.reload() == []
        daemon.hear_health(lambda health: health.stream == "c" and health.final)
        hit("c")
        assert daemon.events[-1].onset_s == pytest.approx(0.4, abs=0.06), "its clock begins anew"
        config.write_text(model + a + STREAM.format(name="d", path="/nowhere.wav"))
        with pytest.raises(ControlError, match=r"/nowhere\.wav"):
            control.reload()
        hit("a")
        daemon.hear_health(lambda health: health.stream == "a")
        daemon.records = [record for record in daemon.records if getattr(record, "stream", "") == "a"]
        assert_nothing_missed(daemon)
        assert daemon.stop() == 0


def test_who_asks_while_one_is_under_way(own_models: Path, config: Path, blips: Path) -> None:
    """Everybody gets an answer, and what they asked for is in force then."""
    with start(config, own_models, "--file", str(blips), "--loop") as daemon:
        daemon.hear_event("mid", "hit")

        def ask(_: int) -> list[str]:
            with Control(daemon.control, timeout_s=15) as control:
                needs_restart = control.reload()
                assert {info.model for info in control.labels()} == {"other"}
                return needs_restart

        config.write_text('[model]\nbundle = "other"\n')
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == [[]] * 8
        daemon.hear_event("other-mid", "hit")
        daemon.hear_health(lambda health: True)
        assert_nothing_missed(daemon, between_models=1)
        assert daemon.stop() == 0


@pytest.mark.virtmic
@pytest.mark.skipif(virtual_microphone.available() is not None, reason=str(virtual_microphone.available()))
def test_a_microphone_goes_on_without_losing_a_sample(own_models: Path, config: Path, tmp_path: Path) -> None:
    with VirtualMicrophone(tmp_path) as server:
        surroundings = {
            name: text for name, text in server.environment().items() if os.environ.get(name) != text
        }
        with (
            Daemon(
                "--config",
                str(config),
                "--device",
                "virtmic",
                models=own_models,
                model=None,
                environment=surroundings,
            ) as daemon,
            Control(daemon.control) as control,
        ):
            began = daemon.hear_health(lambda health: health.listened_s > 0.5)
            for model in ("other", "tiny", "other"):
                config.write_text(f'[model]\nbundle = "{model}"\n')
                assert control.reload() == []
                reached_s = daemon.hear_health(lambda health, name=model: health.model == name).listened_s + 1
                last = daemon.hear_health(lambda health, until_s=reached_s: health.listened_s > until_s)
            assert (last.gaps, last.lost_samples, last.overruns) == (0, 0, 0)
            passed_s = last.uptime_s - began.uptime_s
            assert last.listened_s - began.listened_s == pytest.approx(passed_s, abs=0.7)
            assert daemon.stop() == 0
            assert "WARNING" not in daemon.stderr


def test_a_disk_that_hangs_delays_nothing(own_models: Path, config: Path, blips: Path) -> None:
    """The config can be a pipe that nobody writes to: sound goes on, and so do requests and the end."""
    with start(config, own_models, "--file", str(blips), "--loop") as daemon:
        daemon.hear_event("mid", "hit")
        config.unlink()
        os.mkfifo(config)
        daemon.signal(signal.SIGHUP)
        with Control(daemon.control) as control:
            for _ in range(3):
                daemon.hear_event("mid", "hit")
            assert control.threshold("low", 0.9).threshold == 0.9
            daemon.hear_health(lambda health: True)
            assert_nothing_missed(daemon)
            with ThreadPoolExecutor(1) as pool:
                waits = pool.submit(reload_error, daemon)
                daemon.wait_log("a client says reload")
                assert daemon.stop() == 0
                assert waits.result() == "not-available"


def reload_error(daemon: Daemon) -> str:
    with Control(daemon.control, timeout_s=15) as control, pytest.raises(ControlError) as raised:
        control.reload()
    return raised.value.code


def test_a_microphone_elsewhere_goes_on_with_another_model(
    own_models: Path, config: Path, blips: Path
) -> None:
    """Without a history of its own; a stream that comes later begins with the new model."""
    with Daemon(
        "--config",
        str(config),
        "--remote-only",
        "--ingest",
        "tcp://127.0.0.1:*",
        models=own_models,
        model=None,
    ) as daemon:
        daemon.wait_log("taken on tcp://")
        address = re.search(r"taken on (tcp://\S+)", daemon.stderr)
        assert address
        with remote(address[1], "one", blips), Control(daemon.control) as control:
            daemon.hear_event("mid", "hit")
            config.write_text('[model]\nbundle = "other"\n')
            assert control.reload() == []
            assert daemon.hear_event("other-mid", "hit").stream == "one"
            config.write_text(f'[model]\nbundle = "other"\n{STREAM.format(name="one", path=blips)}')
            with remote(address[1], "two", blips):
                daemon.hear(lambda record: isinstance(record, Event) and record.stream == "two")
        assert {event.model for event in daemon.events if event.stream == "two"} == {"other"}
        losses = {health.stream: health.lost_samples for health in daemon.healths}
        assert losses["one"] == losses["two"] == 0
        assert daemon.stop() == 0


@contextlib.contextmanager
def remote(address: str, name: str, path: Path) -> Iterator[None]:
    """A sender that plays a file again and again."""
    command = [*COMMAND, "send", "--to", address, "--stream", name, "--file", str(path), "--loop"]
    process = subprocess.Popen(command, env=clean_environment(), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(15)

"""Sound in, messages out: whole daemons, heard over their socket."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from streamer.delivery.messages import Event, Frames
from streamer.errors import EXIT_INTERRUPTED
from tests.daemon.conftest import LENGTH_S, Write, assert_events
from tests.support.daemon import FRAMES_TOO, TOPICS, Daemon, run_command
from tests.support.tones import ToneScene, make_tone_scene


def pour(pipe: IO[bytes] | None, sound: bytes) -> None:
    """Write everything and close: the end of the sound."""
    assert pipe is not None
    pipe.write(sound)
    pipe.close()


def s16le(samples: np.ndarray) -> bytes:
    """Samples as the bytes of a pipe."""
    return (np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


def joined(frames: Sequence[Frames]) -> np.ndarray:
    """(T, L) of messages that must follow each other without a hole."""
    assert [frame.first_row for frame in frames[1:]] == [
        frame.first_row + frame.rows for frame in frames[:-1]
    ]
    return np.concatenate([frame.scores() for frame in frames])


def test_a_file_in_real_time(models: Path, scene: ToneScene, scene_wav: Path) -> None:
    started_s = time.monotonic()
    with Daemon("--file", str(scene_wav), models=models) as daemon:
        final = daemon.hear_final()
        assert daemon.wait() == 0
        took_s = time.monotonic() - started_s
        assert_events(daemon.events, scene)
        assert took_s >= LENGTH_S, "faster than real time"
    assert daemon.records[-1] is final
    assert (final.state, final.seq, final.listened_s) == ("stopping", len(scene.expected), LENGTH_S)
    assert [health.final for health in daemon.healths].count(True) == 1
    assert (
        {"listening"} <= {health.state for health in daemon.healths} <= {"starting", "listening", "stopping"}
    )
    assert (final.lost_samples, final.gaps, final.overruns, final.bad_samples) == (0, 0, 0, 0)
    assert (final.model, final.label_count, final.stream) == ("tiny", 3, "default")
    assert {(event.model, event.stream) for event in daemon.events} == {("tiny", "default")}
    assert len({record.run for record in [*daemon.events, *daemon.healths]}) == 1


def test_events_come_within_a_hop_of_their_sound(models: Path, scene_wav: Path) -> None:
    """Their wall clock is that of the sound, and they are told soon after it."""
    with Daemon("--file", str(scene_wav), "--hop-ms", "40", models=models) as daemon:
        ages_s = []
        for _ in range(2):
            event = daemon.hear_event("low", "hit")
            ages_s.append(time.time() - datetime.fromisoformat(event.time_utc).timestamp())
        assert daemon.hear_final().lag_s is not None
    # 100 ms block of the file, 40 ms hop, and a machine that may be busy with other work.
    assert all(-0.05 <= age_s < 1.0 for age_s in ages_s), ages_s


def test_as_fast_as_possible_says_the_same(models: Path, scene: ToneScene, write_wav: Write) -> None:
    """Ten minutes of silence first: time enough for the subscriber to connect."""
    before_s, rate_hz = 600, scene.rate_hz
    path = write_wav(
        np.concatenate([np.zeros(before_s * rate_hz, np.float32), scene.samples]), subtype="PCM_16"
    )
    started_s = time.monotonic()
    with Daemon("--file", str(path), "--fast", models=models) as daemon:
        final = daemon.hear_final(60)
        assert daemon.wait() == 0
        took_s = time.monotonic() - started_s
        assert_events(daemon.events, scene, shift_s=before_s)
    assert final.listened_s == before_s + LENGTH_S
    assert took_s < before_s / 10, "a busy machine is far quicker than that"


@pytest.mark.parametrize("sort", ["s16le mono", "f32le stereo 48 kHz"])
def test_standard_input(sort: str, models: Path, scene: ToneScene, scene_48k: ToneScene) -> None:
    options = ["--source", "stdin"]
    sound = s16le(scene.samples)
    if sort != "s16le mono":
        options += ["--format", "f32le", "--channels", "2", "--rate", "48000"]
        sides = np.stack([1.5 * scene_48k.samples, 0.5 * scene_48k.samples], axis=1)
        sound = sides.astype("<f4").tobytes()
    with Daemon(*options, models=models, stdin=subprocess.PIPE) as daemon:
        daemon.hear_health(lambda health: health.state == "starting")
        pour(daemon.process.stdin, sound)
        final = daemon.hear_final()
        assert daemon.wait() == 0
        assert_events(daemon.events, scene)
    assert final.listened_s == LENGTH_S
    assert "standard input" in final.source


def test_a_writer_in_small_pieces_makes_no_difference(models: Path, scene: ToneScene) -> None:
    """Odd numbers of bytes: samples arrive in halves."""
    sound = s16le(scene.samples)
    with Daemon("--source", "stdin", models=models, stdin=subprocess.PIPE) as daemon:
        daemon.hear_health(lambda health: True)
        pipe = daemon.process.stdin
        assert pipe is not None
        for start in range(0, len(sound), 997):
            pipe.write(sound[start : start + 997])
            pipe.flush()
        pipe.close()
        daemon.hear_final()
        assert_events(daemon.events, scene)


def test_two_streams_in_one_daemon(models: Path, tmp_path: Path, write_wav: Write, scene: ToneScene) -> None:
    other = make_tone_scene(44_100, 2.0, (("mid", 0.5, 0.8), ("high", 1.2, 1.6)))
    write_wav(scene.samples, 16_000, "kitchen.wav")
    write_wav(other.samples, 44_100, "hall.wav")
    config = tmp_path / "two.toml"
    config.write_text(
        '[[stream]]\nname = "kitchen"\nsource = "file"\npath = "kitchen.wav"\n'
        '[[stream]]\nname = "hall"\nsource = "file"\npath = "hall.wav"\n'
    )
    with Daemon("--config", str(config), models=models) as daemon:
        daemon.hear(lambda record: getattr(record, "final", False) and record.stream == "kitchen")
        assert daemon.wait() == 0
        events = daemon.events
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    for name, played in (("kitchen", scene), ("hall", other)):
        own = [event for event in events if event.stream == name]
        assert [(event.label, event.phase) for event in own] == [expected[:2] for expected in played.expected]
    finals = [health.stream for health in daemon.healths if health.final]
    assert sorted(finals) == ["hall", "kitchen"], "one last word each"
    for name in finals:
        assert [health.final for health in daemon.healths if health.stream == name][-1]
    assert {health.source for health in daemon.healths if health.stream == "hall"} == {
        f'file "{tmp_path}/hall.wav" (44100 Hz, 1 channel)'
    }


def test_a_topic_chooses(models: Path, scene_wav: Path) -> None:
    with Daemon("--file", str(scene_wav), models=models) as daemon:
        some = daemon.subscribe(["keyword.low.", "sound.high.nobody"])
        got = [some.receive(10)]
        daemon.hear_final()
        while (record := some.receive(0.2)) is not None:
            got.append(record)
    assert got == [event for event in daemon.events if event.label == "low"]
    assert len(got) == 2


def test_frames_for_those_who_ask_and_as_replay_has_them(
    models: Path, scene: ToneScene, scene_wav: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.npz"
    replayed = run_command(
        "replay", str(scene_wav), "--model", "tiny", "--scores", str(scores), models=models
    )
    assert (replayed.returncode, replayed.stderr) == (0, "")
    with Daemon(
        "--source", "stdin", "--format", "f32le", models=models, stdin=subprocess.PIPE, topics=FRAMES_TOO
    ) as daemon:
        silent = daemon.subscribe(TOPICS)
        assert silent.receive(5) is not None
        daemon.hear_health(lambda health: True)
        pour(daemon.process.stdin, scene.samples.astype("<f4").tobytes())
        daemon.hear_final()
        others = []
        # A daemon that is gone before it could say what came before has its events held back for two seconds.
        while (record := silent.receive(4)) is not None:
            others.append(record)
    assert daemon.frames
    assert not [record for record in others if isinstance(record, Frames)]
    with np.load(scores) as archive:
        np.testing.assert_allclose(joined(daemon.frames), archive["scores"], atol=1e-3)  # half precision
        assert daemon.frames[0].labels == archive["labels"].tolist() == ["low", "mid", "high"]
        assert daemon.frames[0].row_s == archive["frame_s"] == 0.02
        times_s = [frame.first_s + frame.row_s * row for frame in daemon.frames for row in range(frame.rows)]
        np.testing.assert_allclose(times_s, archive["times_s"], atol=2e-5)
    assert len([record for record in others if not isinstance(record, Frames)]) >= len(scene.expected)


@pytest.mark.parametrize("period_s", [0.1, 0.3])
def test_the_heartbeat_keeps_its_period(period_s: float, models: Path, scene_wav: Path) -> None:
    """Subscribers count three missing beats as the end: a beat must not come late by its own length."""
    with Daemon("--file", str(scene_wav), "--loop", models=models, heartbeat_s=period_s) as daemon:
        daemon.hear_health(lambda health: health.state == "listening")
        beats = [daemon.hear_health(lambda health: True) for _ in range(6)]
        assert daemon.stop() == 0
    gaps_s = np.diff([beat.uptime_s for beat in beats])
    assert {beat.heartbeat_s for beat in beats} == {period_s}
    assert gaps_s.min() > 0.5 * period_s, gaps_s
    assert np.median(gaps_s) < 1.6 * period_s, gaps_s
    assert beats[-1].cpu_percent is not None
    assert 0 <= beats[-1].cpu_percent < 100
    assert beats[-1].level_dbfs is not None
    assert -60 < beats[-1].level_dbfs < -10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_what_is_on_and_says_goodbye(
    number: signal.Signals, models: Path, write_wav: Write
) -> None:
    path = write_wav(make_tone_scene(16_000, 30, (("high", 0.6, 29.0),)).samples)
    with Daemon("--file", str(path), models=models) as daemon:
        daemon.hear_event("high", "start")
        assert daemon.stop(number) == 0
        final = daemon.hear_final()
    start, end = daemon.events
    assert (start.phase, end.phase, end.reason) == ("start", "end", "stop")
    assert end.onset_s == start.onset_s
    assert end.offset_s is not None
    assert end.offset_s > start.onset_s
    assert (final.seq, final.state) == (end.seq, "stopping")
    assert daemon.records.index(end) < daemon.records.index(final)
    assert not daemon.runtime.joinpath("events.sock").exists()


def test_a_second_signal_ends_at_once(models: Path, scene_wav: Path) -> None:
    """Both arrive while it is stopped, so the second one interrupts the first one's orderly end."""
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        daemon.hear_event("low", "hit")
        daemon.signal(signal.SIGSTOP)
        daemon.signal(signal.SIGINT)
        daemon.signal(signal.SIGTERM)
        daemon.signal(signal.SIGCONT)
        assert daemon.wait() == EXIT_INTERRUPTED
        assert "Traceback" not in daemon.stderr
        assert "stopped after" not in daemon.stderr


def test_it_starts_again_after_a_kill(models: Path, scene_wav: Path) -> None:
    """Lock and socket of a daemon that was killed stay behind and must not stand in the way."""
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        first = daemon.hear_event("low", "hit")
        assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
        assert daemon.runtime.joinpath("events.sock").exists()
        daemon.restart()
        again = daemon.hear(lambda record: record.run != first.run and isinstance(record, Event))
        assert (again.label, again.seq) == ("low", daemon.events[-2].seq + 1), "the numbers go on"
        assert daemon.stop() == 0


def test_it_ends_by_itself_after_the_time_given(models: Path, scene_wav: Path) -> None:
    with Daemon("--file", str(scene_wav), "--loop", "--for", "1.5", models=models) as daemon:
        final = daemon.hear_final()
        assert daemon.wait() == 0
    assert 1.5 <= final.uptime_s < 10


def test_a_loop_goes_on_counting(models: Path, write_wav: Write) -> None:
    """Times lie on the clock of all the sound so far, not of one round."""
    path = write_wav(make_tone_scene(16_000, 0.9, (("mid", 0.5, 0.7),)).samples)
    with Daemon("--file", str(path), "--loop", models=models) as daemon:
        onsets_s = [daemon.hear_event("mid", "hit").onset_s for _ in range(3)]
        assert daemon.stop() == 0
    np.testing.assert_allclose(np.diff(onsets_s), 0.9, atol=0.021)


def test_tcp_and_ipc_at_once_and_the_free_port_is_told(models: Path, scene_wav: Path) -> None:
    with Daemon(
        "--file", str(scene_wav), "--loop", models=models, publish=["ipc", "tcp://127.0.0.1:*"]
    ) as daemon:
        daemon.wait_log("publishing on")
        line = next(line for line in daemon.stderr.splitlines() if "publishing on" in line)
        tcp = line.rpartition(", ")[2]
        assert tcp.startswith("tcp://127.0.0.1:")
        assert "*" not in tcp
        other = daemon.subscribe(TOPICS, tcp)
        assert other.receive(10) is not None
        assert daemon.hear_health(lambda health: True)
        assert daemon.stop() == 0


def test_the_socket_is_private(models: Path, scene_wav: Path) -> None:
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        modes = {path.name: path.stat().st_mode & 0o777 for path in daemon.runtime.iterdir()}
        assert daemon.stop() == 0
    assert modes["events.sock"] == 0o600
    assert modes["streamer.lock"] == 0o600


def test_a_relative_runtime_directory(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    done = run_command(
        "run",
        "--file",
        str(scene_wav),
        "--fast",
        "--model",
        "tiny",
        "--runtime-dir",
        "own",
        "--publish",
        "tcp://127.0.0.1:*",
        models=models,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "own" / "streamer.lock").exists()


def test_a_file_that_goes_away_between_two_rounds(models: Path, write_wav: Write) -> None:
    """The open sound ends and the last message comes, although the daemon ends with a fault."""
    path = write_wav(make_tone_scene(16_000, 2.0, (("high", 0.8, 2.0),)).samples)
    with Daemon("--file", str(path), "--loop", models=models) as daemon:
        daemon.hear_event("high", "start")
        path.unlink()
        final = daemon.hear_final()
        assert daemon.wait() == 6
        daemon.wait_log(f"cannot read {path}: No such file or directory")
        assert "Traceback" not in daemon.stderr
    assert [event.phase for event in daemon.events] == ["start", "end"]
    assert (daemon.events[-1].reason, final.seq) == ("stop", 2)

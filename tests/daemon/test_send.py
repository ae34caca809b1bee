"""`streamer send` and a daemon, as people have them: processes, real sockets, restarts and kills."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import zmq

from streamer.delivery.messages import Event, Health
from tests.daemon.conftest import Write
from tests.support import virtual_microphone
from tests.support.daemon import COMMAND, ROOT, STOP_TIMEOUT_S, Daemon, clean_environment, run_command
from tests.support.senders import ManySenders
from tests.support.tones import ToneScene, make_tone_scene
from tests.support.virtual_microphone import VirtualMicrophone

USAGE, CONFIG, DEVICE, SOUND, SOCKET = 2, 3, 4, 6, 7
BUSY_S = 60.0
"""For what takes a second on an idle machine."""


@pytest.fixture
def ingest() -> str:
    """An address that is free: a daemon that starts again must have the same one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


class Send:
    """`streamer send` in a process of its own."""

    def __init__(
        self,
        to: str,
        *arguments: str,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "send", "--to", to, *arguments],
            env={**clean_environment(), **(environment or {})},
            cwd=ROOT,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="send-stderr")
        self._reader.start()
        if stdin is not None:
            assert self.process.stdin is not None
            self.process.stdin.write(stdin)
            self.process.stdin.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self._lines.append(line.decode(errors="replace"))
                self._changed.notify_all()

    @property
    def told(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def wait_told(self, part: str) -> None:
        with self._changed:
            found = self._changed.wait_for(lambda: part in "".join(self._lines), BUSY_S)
        assert found, self.told

    def wait(self) -> int:
        status = self.process.wait(BUSY_S)
        self._reader.join(STOP_TIMEOUT_S)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextlib.contextmanager
def listening(ingest: str, models: Path, *arguments: str, **more: object) -> Iterator[Daemon]:
    """A daemon with remote streams, and us connected to it; with streams of its own where options say so."""
    own = () if arguments else ("--remote-only",)
    with Daemon("--ingest", ingest, *own, *arguments, models=models, **more) as daemon:  # type: ignore[arg-type]
        daemon.hear_health(lambda health: health.stream == "ingest")
        yield daemon


def hear_events(daemon: Daemon, count: int) -> None:
    """Listen until there are so many, which may be kept and come by replay."""
    while len(daemon.events) < count:
        daemon.hear(lambda record: isinstance(record, Event), BUSY_S)


def hear_end(daemon: Daemon, stream: str) -> Health:
    found = daemon.hear(
        lambda record: isinstance(record, Health) and record.final and record.stream == stream, BUSY_S
    )
    assert isinstance(found, Health)
    return found


def told(events: Sequence[Event]) -> list[tuple[str, str, float, float | None, float]]:
    return [(event.label, event.phase, event.onset_s, event.offset_s, event.detected_s) for event in events]


def replayed(path: Path, models: Path) -> list[tuple[str, str, float, float | None, float]]:
    done = run_command("replay", str(path), "--model", "tiny", models=models)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        (line["label"], line["phase"], line["onset_s"], line["offset_s"], line["detected_s"])
        for line in lines
    ]


# -- the same as if it were here -------------------------------------------------------------------


@pytest.mark.parametrize("sort", ["16 kHz, pcm16", "16 kHz, flac", "48 kHz, float"])
def test_the_same_events_at_the_same_samples_as_from_the_file(
    sort: str, ingest: str, models: Path, scene: ToneScene, scene_48k: ToneScene, write_wav: Write
) -> None:
    played = scene_48k if "48" in sort else scene
    path = write_wav(played.samples, played.rate_hz, subtype="FLOAT" if "float" in sort else "PCM_16")
    codec = "flac" if "flac" in sort else "pcm16"
    with listening(ingest, models) as daemon:
        with Send(ingest, "--file", str(path), "--stream", "kitchen", "--codec", codec) as send:
            assert send.wait() == 0
        final = hear_end(daemon, "kitchen")
        assert daemon.stop() == 0
    expected = replayed(path, models)
    assert len(expected) == len(played.expected)
    assert told(daemon.events) == expected
    assert {event.stream for event in daemon.events} == {"kitchen"}
    assert (final.state, final.detail) == ("stopping", "the sender said goodbye")
    assert (final.lost_samples, final.gaps, final.overruns) == (0, 0, 0)
    assert final.listened_s == pytest.approx(len(played.samples) / played.rate_hz, abs=1e-4)
    assert f'sender at 127.0.0.1 (file "{path}" ' in final.source
    assert send.told == f"streamer: {ingest}: connected: the daemon takes the stream kitchen\n"


def test_standard_input_faster_than_real_time(ingest: str, models: Path, scene: ToneScene) -> None:
    """A writer that can wait waits for the daemon: nothing is pushed out of the buffer."""
    samples = np.tile(scene.samples, 20)
    with (
        listening(ingest, models) as daemon,
        Send(
            ingest,
            *("--source", "stdin", "--rate", "16000", "--stream", "pipe", "--buffer-s", "5"),
            stdin=(samples * 32_767).astype("<i2").tobytes(),
        ) as send,
    ):
        assert send.wait() == 0
        final = hear_end(daemon, "pipe")
        assert daemon.stop() == 0
    assert (final.lost_samples, final.listened_s) == (0, len(samples) / 16_000)
    assert len(daemon.events) == 20 * len(scene.expected)


def test_beside_a_stream_of_its_own(ingest: str, models: Path, scene_wav: Path, scene: ToneScene) -> None:
    with listening(ingest, models, "--file", str(scene_wav), "--loop") as daemon:
        with Send(ingest, "--file", str(scene_wav), "--stream", "kitchen") as send:
            assert send.wait() == 0
        hear_end(daemon, "kitchen")
        daemon.hear_event("low", "hit")
        assert daemon.stop() == 0
    own = [event for event in daemon.events if event.stream == "default"]
    sent = [event for event in daemon.events if event.stream == "kitchen"]
    assert [(event.label, event.phase) for event in sent] == [event[:2] for event in scene.expected]
    assert len(own) > 0
    seqs = [event.seq for event in daemon.events]
    assert seqs == list(range(1, len(seqs) + 1))


# -- interruptions ---------------------------------------------------------------------------------

# A second of silence on each side of the moments at which something happens.
LONG = (("low", 0.6, 0.9), ("high", 1.2, 1.8), ("mid", 3.4, 3.7), ("high", 4.2, 4.8), ("low", 7.0, 7.3))
LONG_S = 8.5


@pytest.fixture
def long_scene() -> ToneScene:
    return make_tone_scene(16_000, LONG_S, LONG)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_daemon_that_starts_again_misses_nothing(
    number: signal.Signals, ingest: str, models: Path, long_scene: ToneScene, write_wav: Write
) -> None:
    """The sound of the time between is kept by the sender, and caught up with."""
    path = write_wav(long_scene.samples, subtype="PCM_16")
    with listening(ingest, models) as daemon:
        with Send(ingest, "--file", str(path), "--stream", "kitchen") as send:
            daemon.hear_event("high", "end")
            daemon.stop(number)
            before = list(daemon.events)
            send.wait_told("lost: ")
            daemon.restart()
            assert send.wait() == 0
        hear_events(daemon, len(long_scene.expected))
        daemon.wait_log("stream kitchen: stopping, the sender said goodbye")
        assert daemon.stop() == 0
        assert "samples" not in daemon.stderr, "none is told as lost"
    assert [(event.label, event.phase) for event in daemon.events] == [
        expected[:2] for expected in long_scene.expected
    ]
    assert [event.seq for event in daemon.events] == list(range(1, len(daemon.events) + 1))
    assert re.search(r"back after \d+\.\d s, nothing lost", send.told)
    after = [event for event in daemon.events if event not in before]
    shift_s = 7.0 - after[-1].onset_s  # the clock of the new run begins where it was told to go on
    assert 1.5 < shift_s < 3.4
    for event, (_, phase, time_s) in zip(after, long_scene.expected[-len(after) :], strict=True):
        told_s = event.offset_s if phase == "end" else event.onset_s
        assert told_s is not None
        assert abs(told_s + shift_s - time_s) < 0.3


def test_a_sender_that_is_killed_is_missed_and_may_come_back(
    ingest: str, models: Path, scene: ToneScene, scene_wav: Path, write_wav: Write
) -> None:
    on = write_wav(make_tone_scene(16_000, 30, (("high", 0.6, 29.0),)).samples)
    with listening(ingest, models) as daemon:
        with Send(ingest, "--file", str(on), "--stream", "kitchen") as send:
            daemon.hear_event("high", "start")
            send.process.kill()
        gone = daemon.hear_health(lambda health: health.stream == "kitchen" and health.state == "no-device")
        assert gone.detail.endswith(" is gone")
        with Send(ingest, "--file", str(scene_wav), "--stream", "kitchen") as send:
            assert send.wait() == 0
        final = hear_end(daemon, "kitchen")
        assert daemon.stop() == 0
    start, end, *rest = daemon.events
    assert (start.phase, end.phase, end.reason) == ("start", "end", "gap")
    assert [(event.label, event.phase) for event in rest] == [event[:2] for event in scene.expected]
    assert rest[0].onset_s > 2 + end.onset_s, "the pause has its place on the clock"
    assert final.gaps == 1
    assert final.lost_samples > 16_000


def test_a_sender_that_stays_away_is_given_up(
    ingest: str, models: Path, tmp_path: Path, write_wav: Write
) -> None:
    path = write_wav(make_tone_scene(16_000, 30, (("high", 0.6, 29.0),)).samples)
    config = tmp_path / "short.toml"
    config.write_text(f'stream = []\n[ingest]\nendpoints = ["{ingest}"]\nstream_timeout_s = 3.0\n')
    with listening(ingest, models, "--config", str(config)) as daemon:
        with Send(ingest, "--file", str(path), "--stream", "kitchen") as send:
            daemon.hear_event("high", "start")
            send.process.kill()
        final = hear_end(daemon, "kitchen")
        assert final.detail == "no word from the sender for 3 s"
        daemon.hear_health(lambda health: health.stream == "ingest" and health.detail == "0 remote streams")
        assert daemon.stop() == 0
    assert [(event.phase, event.reason) for event in daemon.events] == [("start", ""), ("end", "stop")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_told_to_stop_it_says_goodbye(
    number: signal.Signals, ingest: str, models: Path, write_wav: Write
) -> None:
    path = write_wav(make_tone_scene(16_000, 30, (("high", 0.6, 29.0),)).samples)
    with listening(ingest, models) as daemon:
        with Send(ingest, "--file", str(path), "--stream", "kitchen") as send:
            daemon.hear_event("high", "start")
            send.process.send_signal(number)
            assert send.wait() == 0
        assert hear_end(daemon, "kitchen").detail == "the sender said goodbye"
        assert daemon.stop() == 0
    assert [(event.phase, event.reason) for event in daemon.events] == [("start", ""), ("end", "stop")]
    assert send.told.count("\n") == 1, send.told


def test_a_second_sender_of_the_same_name_waits_its_turn(
    ingest: str, models: Path, scene_wav: Path, scene: ToneScene
) -> None:
    with listening(ingest, models) as daemon:
        with Send(ingest, "--file", str(scene_wav), "--loop", "--stream", "kitchen") as first:
            daemon.hear_event("low", "hit")
            with Send(ingest, "--file", str(scene_wav), "--stream", "kitchen") as second:
                second.wait_told("the daemon refuses: there is a stream kitchen already; trying for ever")
                first.process.send_signal(signal.SIGTERM)
                assert first.wait() == 0
                assert second.wait() == 0
        hear_end(daemon, "kitchen")
        hear_end(daemon, "kitchen")
        assert daemon.stop() == 0
        assert daemon.stderr.count("refused a sender") == 1
    assert [(event.label, event.phase) for event in daemon.events[-len(scene.expected) :]] == [
        event[:2] for event in scene.expected
    ]


# -- many, and nonsense ----------------------------------------------------------------------------


@pytest.mark.slow
def test_two_hundred_senders_at_once(ingest: str, models: Path) -> None:
    """In real time for some seconds: nothing is lost, and every stream has its events."""
    scene = make_tone_scene(16_000, 5.0, (("low", 1.0, 1.3), ("mid", 2.0, 2.3), ("high", 3.0, 4.0)))
    with (
        listening(
            ingest, models, heartbeat_s=2.0, environment={"STREAMER_INGEST_MAX_STREAMS": "200"}
        ) as daemon,
        ManySenders(ingest, scene.samples, 200) as senders,
    ):
        senders.run(BUSY_S)
        finals: dict[str, Health] = {}
        while len(finals) < 200:
            found = daemon.hear(lambda record: isinstance(record, Health) and record.final, BUSY_S)
            assert isinstance(found, Health)
            finals[found.stream] = found
        assert daemon.stop() == 0
    assert senders.lost_samples == 0
    assert {final.listened_s for final in finals.values()} == {5.0}
    assert {(final.lost_samples, final.gaps, final.overruns) for final in finals.values()} == {(0, 0, 0)}
    by_stream: dict[str, list[tuple[str, str]]] = {name: [] for name in finals}
    for event in daemon.events:
        by_stream[event.stream].append((event.label, event.phase))
    assert all(events == [event[:2] for event in scene.expected] for events in by_stream.values())
    assert daemon.subscriber.missed == 0
    assert "lost" not in daemon.stderr


def test_garbage_does_not_disturb_the_daemon(
    ingest: str, models: Path, scene: ToneScene, scene_wav: Path, rng: np.random.Generator
) -> None:
    port = int(ingest.rpartition(":")[2])
    with listening(ingest, models) as daemon, zmq.Context() as context:
        with (
            Send(ingest, "--file", str(scene_wav), "--stream", "kitchen") as send,
            context.socket(zmq.DEALER) as dealer,
            socket.create_connection(("127.0.0.1", port)) as raw,
        ):
            dealer.setsockopt(zmq.LINGER, 0)
            dealer.connect(ingest)
            raw.sendall(rng.bytes(50_000))
            for _ in range(2000):
                dealer.send_multipart([rng.bytes(int(rng.integers(0, 200))) for _ in range(2)])
            assert send.wait() == 0
        final = hear_end(daemon, "kitchen")
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.stderr
        assert daemon.stderr.count("refused a sender") == 1
    assert final.lost_samples == 0
    assert [(event.label, event.phase) for event in daemon.events] == [event[:2] for event in scene.expected]


# -- a daemon with no microphone -------------------------------------------------------------------


def test_without_any_stream_there_is_a_heartbeat_and_the_watchdog_is_fed(ingest: str, models: Path) -> None:
    with listening(ingest, models, environment={"WATCHDOG_USEC": "800000"}) as daemon:
        first = daemon.hear_health(lambda health: health.stream == "ingest")
        assert (first.state, first.detail) == ("listening", "0 remote streams")
        assert first.source == f"remote microphones on {ingest}"
        daemon.wait_notified(lambda lines: lines.count("WATCHDOG=1") >= 3, "the watchdog starves")
        assert daemon.hear_health(lambda health: health.uptime_s > first.uptime_s + 1).state == "listening"
        assert daemon.stop() == 0
        assert hear_end(daemon, "ingest").state == "stopping"


def test_a_sender_that_goes_away_does_not_starve_the_watchdog(
    ingest: str, models: Path, write_wav: Write
) -> None:
    """A restart of the daemon does not bring somebody else's microphone back."""
    path = write_wav(make_tone_scene(16_000, 30, ()).samples)
    with listening(ingest, models, environment={"WATCHDOG_USEC": "800000"}) as daemon:
        with Send(ingest, "--file", str(path), "--stream", "kitchen") as send:
            daemon.hear_health(lambda health: health.stream == "kitchen" and health.state == "listening")
            send.process.kill()
        daemon.hear_health(lambda health: health.state == "no-device")
        daemon.notify.forget()
        daemon.wait_notified(lambda lines: lines.count("WATCHDOG=1") >= 3, "the watchdog starves")
        assert daemon.stop() == 0


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["send"], USAGE, "--to"),
        (["send", "--to", "tcp://127.0.0.1:7792", "--codec", "opus"], USAGE, "--codec"),
        (["send", "--to", "tcp://127.0.0.1:7792", "--buffer-s", "0.5"], USAGE, "from 1 to 3600 seconds"),
        (["send", "--to", "lab.local"], SOCKET, "is no address; use ipc:///PATH or tcp://127.0.0.1:7792"),
        (["send", "--to", "tcp://*:7792"], SOCKET, "is no address to connect to"),
        (
            ["send", "--to", "tcp://127.0.0.1:7792", "--stream", "a.b"],
            CONFIG,
            "stream.name (command line): 'a.b'",
        ),
        (
            ["send", "--to", "tcp://127.0.0.1:7792", "--file", "/nowhere.wav"],
            SOUND,
            "cannot read /nowhere.wav",
        ),
        (
            ["send", "--to", "tcp://192.0.2.1:7792", "--file", "x.wav"],
            CONFIG,
            "the key of 192.0.2.1:7792 is not known",
        ),
        (["run", "--remote-only"], CONFIG, "none needs ingest.endpoints"),
        (["run", "--remote-only", "--device", "USB"], CONFIG, "contradict each other"),
        (
            ["run", "--ingest", "tcp://127.0.0.1:1", "--stream", "ingest"],
            CONFIG,
            "'ingest' is the daemon's own",
        ),
        (["run", "--ingest", "tcp://*:7792", "--remote-only"], SOCKET, "is not on loopback"),
    ],
)
def test_a_fault_is_one_line(
    arguments: list[str], status: int, words: str, models: Path, tmp_path: Path
) -> None:
    own = []
    if arguments[0] == "run":
        own = [
            "--model",
            "tiny",
            "--no-live",
            "--runtime-dir",
            str(tmp_path / "r"),
            "--publish",
            "tcp://127.0.0.1:*",
            "--no-journal",
        ]
    done = run_command(*arguments, *own, models=models, environment={"HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("streamer")


def test_it_sends_without_a_model_in_memory(ingest: str, models: Path, scene_wav: Path) -> None:
    """A small machine with a microphone need not have room for onnxruntime."""
    script = (
        "import sys; from streamer.cli import main; status = main(sys.argv[1:]); "
        "heavy = {'onnxruntime', 'torch', 'soxr'} & set(sys.modules); sys.exit(str(heavy or '') or status)"
    )
    with listening(ingest, models) as daemon:
        done = subprocess.run(
            [sys.executable, "-c", script, "send", "--to", ingest, "--file", str(scene_wav)],
            env=clean_environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=BUSY_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert daemon.stop() == 0
    name = re.search(r"the daemon takes the stream (\S+)", done.stderr)
    assert name is not None
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name[1]), "the machine's name, made legal"


missing = virtual_microphone.available()


@pytest.mark.virtmic
@pytest.mark.skipif(missing is not None, reason=str(missing))
def test_the_senders_microphone_goes_and_comes_back(ingest: str, models: Path, tmp_path: Path) -> None:
    """Its sender tells, waits for it and goes on: one gap, as long as the absence."""
    with (
        VirtualMicrophone(tmp_path) as server,
        Daemon("--ingest", ingest, "--remote-only", models=models) as daemon,
        Send(ingest, "--stream", "kitchen", "--device", "virtmic", environment=server.environment()) as send,
    ):

        def kitchen(wanted: Callable[[Health], bool]) -> Health:
            return daemon.hear_health(
                lambda health: health.stream == "kitchen" and wanted(health), timeout_s=BUSY_S
            )

        heard = kitchen(lambda health: health.listened_s > 0.5)
        server.kill_server()
        send.wait_told('streamer: microphone "virtmic" (44100 Hz, 1 channel) is gone: ')
        assert kitchen(lambda health: health.state != "listening").state in ("stalled", "no-device")
        server.stop()
        server.start()
        send.wait_told('streamer: microphone "virtmic" (44100 Hz, 1 channel): back after ')
        after = kitchen(lambda health: health.state == "listening" and health.gaps > 0)
        assert after.gaps == 1
        passed_s = after.uptime_s - heard.uptime_s
        counted_s = after.listened_s - heard.listened_s + after.lost_samples / 16_000
        assert abs(passed_s - counted_s) < 2

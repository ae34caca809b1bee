"""From sound to message: how much later than it must a subscriber have it?

The daemon speaks once a block of sound, so a sound waits up to a block, the hop's own wait. What comes on top
is measured: from the moment at which the source handed over the last sample that a block needs to the moment
at which a subscriber, another process, has the message. Scores go straight out; an event is in the journal,
and on the disk, before it goes.

The source is a pipe that gets 10 ms every 10 ms, or a virtual microphone fed in the same way: there the sound
server's way is part of it. Where in the microphone's sound the daemon began is found by comparing its scores
with those of the sound itself.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from benchmarks.alignment import find_start
from benchmarks.daemon import Daemon, Message
from benchmarks.part import Bench, Measure, in_turns, percentile, result
from benchmarks.virtual import SteppedMicrophone, at_server
from streamer.audio import SAMPLE_RATE_HZ
from streamer.features.extractor import latency_samples
from streamer.inference.bundle import load_bundle
from streamer.pipeline import ROW_START_SAMPLES
from tests.support.virtual_microphone import available

NAME = "latency"
HELP = "from sound to message, beyond the hop"
LENGTH_S = 20.0
PIECE_SAMPLES = SAMPLE_RATE_HZ // 100
WARM_UP_S = 2.0
EASY = 0.003
"""A threshold at which speech makes many events."""
MICROPHONES = {
    "virtual microphone": (),
    "virtual microphone, `--rate 16000`": ("--rate", str(SAMPLE_RATE_HZ)),
}
"""The sound server gives the first one at its own rate, so that it is resampled there and back."""
TOPICS = ("frame.", "keyword.", "sound.", "health.")


def run(bench: Bench) -> dict[str, Any]:
    """Pipe and microphone."""
    length_s = bench.seconds(LENGTH_S, 6.0)
    path = bench.sound.file(length_s)
    samples = soundfile.read(path, dtype="int16")[0]
    measures: dict[str, Measure] = {"pipe": lambda: _through_pipe(samples)}
    if why_not := available():
        bench.skipped["latency of a microphone"] = why_not
    else:
        for name, words in MICROPHONES.items():
            measures[name] = partial(_through_microphone, bench.folder, path, samples, words)
    return result(in_turns(NAME, min(2, bench.rounds), measures), length_s=length_s, piece_ms=10)


class Player:
    """Writes pieces in real time on a thread, and notes when."""

    def __init__(self, samples: np.ndarray, target: IO[bytes]) -> None:
        pieces = len(samples) // PIECE_SAMPLES
        self._pieces = [samples[n * PIECE_SAMPLES :][:PIECE_SAMPLES].tobytes() for n in range(pieces)]
        self._target = target
        self._handed_s: list[float] = []
        self._thread = threading.Thread(target=self._play, name="player")

    def _play(self) -> None:
        begun_s = time.monotonic()
        for number, piece in enumerate(self._pieces):
            time.sleep(max(0.0, begun_s + (number + 1) * 0.01 - time.monotonic()))
            self._handed_s.append(time.monotonic())
            self._target.write(piece)
            self._target.flush()

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join()

    @property
    def ended(self) -> bool:
        """All has been written."""
        return not self._thread.is_alive()

    def handed_over_s(self, sample: float) -> float | None:
        """When everything before this sample had been written; None: never."""
        piece = max(0, -(-round(sample) // PIECE_SAMPLES) - 1)
        return self._handed_s[piece] if piece < len(self._handed_s) else None


def _arguments() -> list[str]:
    """Thresholds low enough for many events."""
    labels = [rule.name for rule in load_bundle("default").manifest.labels]
    return [word for label in labels for word in ("--threshold", f"{label}={EASY}")]


def _gather(daemon: Daemon, until: Callable[[], bool]) -> list[Message]:
    found = []
    while not until():
        if (message := daemon.receive(0.05)) is not None:
            found.append(message)
    while (message := daemon.receive(0.3)) is not None:
        found.append(message)
    return found


def _through_pipe(samples: np.ndarray) -> dict[str, float]:
    words = ["--source", "stdin", "--rate", str(SAMPLE_RATE_HZ), *_arguments()]
    with Daemon(words, topics=TOPICS, pipe=True) as daemon:
        daemon.wait_health()
        with Player(samples, daemon.stdin) as player:
            messages = _gather(daemon, lambda: player.ended)
        return _figures(messages, player, 0)


def _through_microphone(
    folder: Path, path: Path, samples: np.ndarray, words: Sequence[str]
) -> dict[str, float]:
    with ExitStack() as stack:
        microphone = SteppedMicrophone(folder)
        stack.enter_context(microphone)
        player = Player(samples, stack.enter_context(microphone.writer()))
        words = ["--device", "virtmic", *words, *_arguments()]
        daemon = stack.enter_context(Daemon(words, more=at_server(microphone), topics=TOPICS))
        with player:
            messages = _gather(daemon, lambda: player.ended)
    frames = [message for message in messages if message.topic.startswith("frame.")]
    return _figures(messages, player, find_start(path, frames, folder))


def _figures(messages: Sequence[Message], player: Player, start: int) -> dict[str, float]:
    """Milliseconds; `start` is the sample at which the daemon began to hear."""
    beyond = latency_samples(load_bundle("default").manifest.features) - ROW_START_SAMPLES
    handed: list[tuple[float, float]] = []  # where a block ends in the stream, and when it was complete
    scores_ms, events_ms = [], []
    for message in messages:
        if message.topic.startswith("frame."):
            frames = message.record
            end_s = frames["first_s"] + frames["rows"] * frames["row_s"]
            at_s = player.handed_over_s(start + end_s * SAMPLE_RATE_HZ + beyond)
            if at_s is not None:
                handed.append((end_s, at_s))
                if end_s > WARM_UP_S:
                    scores_ms.append(1000 * (message.at_s - at_s))
    for message in messages:
        if message.topic.startswith(("keyword.", "sound.")) and message.record["detected_s"] > WARM_UP_S:
            decided_s = message.record["detected_s"] - beyond / SAMPLE_RATE_HZ
            at = next((at_s for end_s, at_s in handed if end_s >= decided_s - 1e-4), None)
            if at is not None:
                events_ms.append(1000 * (message.at_s - at))
    if not scores_ms:
        raise RuntimeError("no scores came")
    return {**_spread("scores", scores_ms), **_spread("events", events_ms)}


def _spread(name: str, values_ms: Sequence[float]) -> dict[str, float]:
    if not values_ms:
        return {}
    return {
        f"{name}_p50_ms": statistics.median(values_ms),
        f"{name}_p99_ms": percentile(values_ms, 0.99),
        f"{name}_max_ms": max(values_ms),
        f"{name}_count": float(len(values_ms)),
    }

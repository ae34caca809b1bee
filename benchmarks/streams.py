"""Many streams at once, in real time: from files, and from remote senders that one other process plays.

Nothing may be dropped. The lag is told in two ways: by the daemon for each stream (how old the newest sound
was when it was listened to), and from outside for some of the senders' streams: from the moment at which a
sender hands over the last sample that a block of scores needs to those scores at a subscriber.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contestants import PLAIN
from benchmarks.daemon import Daemon, Message
from benchmarks.figures import LONGER_MS
from benchmarks.part import Bench, Measure, in_turns, percentile, result
from benchmarks.processes import Running, cpu_s, memory
from benchmarks.senders import BLOCK_S
from streamer.audio import SAMPLE_RATE_HZ
from streamer.capture.cutter import BLOCK_SAMPLES
from streamer.features.extractor import latency_samples
from streamer.inference.bundle import load_bundle
from streamer.pipeline import ROW_START_SAMPLES

NAME = "streams"
HELP = "many streams in real time, from files and from remote senders"
COUNTS = (1, 16, 128, 400, 600, 800, 1000)
MORE = (800, 1000)
"""Longer blocks cost less: so many streams are tried with those, too."""
WINDOW_S = 8.0
WATCHED = 20
"""Streams whose scores a subscriber gets."""


def run(bench: Bench) -> dict[str, Any]:
    """Files and senders, more and more."""
    window_s = bench.seconds(WINDOW_S, 3.0)
    measures: dict[str, Measure] = {}
    for hop_ms, counts in ((80, bench.some(COUNTS)), (LONGER_MS, () if bench.quick else MORE)):
        for count in counts:
            measures[f"{kind('files', hop_ms)}, {count}"] = _files(bench, count, hop_ms, window_s)
            measures[f"{kind('senders', hop_ms)}, {count}"] = _senders(bench, count, hop_ms, window_s)
    return result(in_turns(NAME, max(1, bench.rounds // 3), measures), window_s=window_s)


def kind(what: str, hop_ms: int) -> str:
    """As the rows are called."""
    return what if hop_ms == 80 else f"{what} at {hop_ms} ms"


def _files(bench: Bench, count: int, hop_ms: int, window_s: float) -> Measure:
    sound = bench.sound.file(60.0)

    def measure() -> dict[str, float]:
        tables = [
            f'[[stream]]\nname = "n{number:04d}"\nsource = "file"\npath = "{sound}"\nloop = true\n'
            for number in range(count)
        ]
        settings = f"[engine]\nhop_ms = {hop_ms}\nhistory_s = 0.0\n{''.join(tables)}"
        with Daemon([], settings=settings, topics=["health."]) as daemon:
            daemon.wait_health("listening", count)
            settle(count)
            return watch(daemon, count, window_s)

    return measure


def _senders(bench: Bench, count: int, hop_ms: int, window_s: float) -> Measure:
    sound = bench.sound.file(60.0)

    def measure() -> dict[str, float]:
        settings = f"[engine]\nhop_ms = {hop_ms}\n[ingest]\nmax_streams = {count}\n"
        topics = ["health.", *(f"frame.n{number:04d}" for number in _watched(count))]
        with Daemon(["--remote-only"], settings=settings, topics=topics, ingest=True) as daemon:
            daemon.wait_health()
            with _play(daemon, count, window_s + settled_s(count) + 2.0, sound, bench.folder) as senders:
                begun_s = float(senders.line())
                daemon.wait_health("listening", count)
                settle(count)
                found = watch(daemon, count, window_s, senders.pids, begun_s)
                books = json.loads(senders.line())
        return {
            **found,
            "senders_late_p99_ms": books["sent_late_p99_ms"],
            "unacknowledged_s": books["unacknowledged_samples"] / SAMPLE_RATE_HZ,
            "complaints": float(len(books["complaints"])),
        }

    return measure


def _watched(count: int) -> range:
    return range(0, count, max(1, count // WATCHED))


def _play(daemon: Daemon, count: int, seconds: float, sound: Path, folder: Path) -> Running:
    command = [
        sys.executable,
        "-m",
        "benchmarks.senders",
        daemon.ingest,
        str(count),
        str(seconds),
        str(sound),
    ]
    return Running(command, PLAIN, log=folder / "senders.log")


def settled_s(count: int) -> float:
    """Until the first rush is over."""
    return 1.0 + count / 100


def settle(count: int) -> None:
    """Wait for that."""
    time.sleep(settled_s(count))


def watch(
    daemon: Daemon, count: int, window_s: float, senders: Sequence[int] = (), begun_s: float | None = None
) -> dict[str, float]:
    """What so many streams cost in the next seconds, what was lost, and how far they were behind."""
    daemon.received()  # what came before does not count
    pids = daemon.running.pids
    at_s, daemon_cpu_s, senders_cpu_s = time.monotonic(), cpu_s(pids), cpu_s(senders)
    messages = daemon.collect(window_s)
    passed_s = time.monotonic() - at_s
    found = {
        "core_percent": 100 * (cpu_s(pids) - daemon_cpu_s) / passed_s,
        "senders_core_percent": 100 * (cpu_s(senders) - senders_cpu_s) / passed_s,
    }
    used = memory(pids)
    healths = [one for one in messages if one.topic.startswith("health.n")]
    lags_ms = [1000 * one.record["lag_s"] for one in healths if one.record["lag_s"] is not None]
    if len({one.topic for one in healths}) < count:
        raise RuntimeError("not every stream told how it is in that time")
    lost = {one.topic: one.record["lost_samples"] / SAMPLE_RATE_HZ for one in healths}
    found |= {
        "streams": float(count),
        "lag_p50_ms": percentile(lags_ms, 0.5),
        "lag_p99_ms": percentile(lags_ms, 0.99),
        "lag_max_ms": max(lags_ms),
        "lost_s": sum(lost.values()),
        "alone_mb": used.alone_mb,
    }
    if begun_s is not None:
        beyond_ms = _scores_ms(messages, begun_s, count)
        found |= {
            "scores_p50_ms": percentile(beyond_ms, 0.5),
            "scores_p99_ms": percentile(beyond_ms, 0.99),
            "scores_count": float(len(beyond_ms)),
        }
    return found


def _scores_ms(messages: Sequence[Message], begun_s: float, count: int) -> list[float]:
    """From the handing over of what a block needs to its scores at a subscriber."""
    beyond = latency_samples(load_bundle("default").manifest.features) - ROW_START_SAMPLES
    found = []
    for message in messages:
        if message.topic.startswith("frame."):
            frames = message.record
            end = round((frames["first_s"] + frames["rows"] * frames["row_s"]) * SAMPLE_RATE_HZ) + beyond
            blocks = -(-end // BLOCK_SAMPLES)
            number = int(frames["stream"][1:])
            found.append(1000 * (message.at_s - begun_s - (blocks + number / count) * BLOCK_S))
    return found

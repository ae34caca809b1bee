"""What one live stream costs as the hop shrinks, and as labels and subscribers grow.

A file in real time, as in the part `paced`. The hop at the virtual microphone, since a file comes in pieces
of 100 ms whatever the hop; beside it a peer that is fed as often.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.bundles import with_labels
from benchmarks.contestants import PLAIN, peer_command, peer_environment
from benchmarks.daemon import Daemon
from benchmarks.paced import books, daemon_with, on_microphone, watch
from benchmarks.part import Bench, Measure, in_turns, result
from benchmarks.processes import Running
from streamer.inference.bundle import load_bundle
from streamer.listener import block_frames
from tests.support.virtual_microphone import available

NAME = "growth"
HELP = "one live stream against hop, labels and subscribers"
HOPS_MS = (80, 40, 20, 10)
LABELS = (1, 10, 100, 1000)
SUBSCRIBERS = (0, 1, 10, 100)
WINDOW_S = 4.0
SETTLE_S = 1.0


def run(bench: Bench) -> dict[str, Any]:
    """Each by itself; the rest as it is by default."""
    window_s, settle_s = bench.seconds(WINDOW_S), bench.seconds(SETTLE_S, 1.0)
    sound = bench.sound.file(60.0)

    def one(*arguments: str, subscribers: int | None = None) -> Measure:
        return lambda: _daemon(sound, list(arguments), settle_s, window_s, subscribers)

    measures: dict[str, Measure] = {}
    if why_not := available():
        bench.skipped["cost against the hop"] = why_not
    for hop_ms in bench.some(HOPS_MS) if not why_not else ():
        who = daemon_with(["--hop-ms", str(hop_ms)])
        measures[f"hop, {hop_ms} ms"] = on_microphone(bench, 16_000, settle_s, window_s, who)
        for peer in bench.peers[:1]:
            measures[f"{peer} fed, {hop_ms} ms"] = _peer(peer, sound, hop_ms, settle_s, window_s)
    try:
        bundles = {count: with_labels(count, bench.folder) for count in bench.some(LABELS)}
    except RuntimeError as error:
        bundles, bench.skipped["cost against labels"] = {}, str(error)
    for count, bundle in bundles.items():
        measures[f"labels, {count}"] = one("--model", str(bundle))
    measures[f"labels, {len(_default().labels)} (default)"] = one()
    for count in bench.some(SUBSCRIBERS):
        measures[f"subscribers, {count}"] = one(subscribers=count)
    blocks_ms = {str(hop_ms): 10 * block_frames(hop_ms, _default().network.stride) for hop_ms in HOPS_MS}
    return result(in_turns(NAME, min(2, bench.rounds), measures), window_s=window_s, block_ms=blocks_ms)


def _default() -> Any:
    return load_bundle("default").manifest


def _daemon(
    sound: Path, arguments: list[str], settle_s: float, window_s: float, subscribers: int | None
) -> dict[str, float]:
    """With the usual subscriber, or so many that want everything, scores as well."""
    with Daemon(["--file", str(sound), "--loop", *arguments]) as daemon:
        daemon.wait_health("listening")
        if not subscribers:
            if subscribers == 0:
                daemon.leave()
                return watch(daemon.running.pids, settle_s, window_s)
            return books(daemon, watch(daemon.running.pids, settle_s, window_s))
        command = [sys.executable, "-m", "benchmarks.subscribers", daemon.events, str(subscribers)]
        with Running(command, PLAIN) as others:
            others.line()
            return books(daemon, watch(daemon.running.pids, settle_s, window_s))


def _peer(peer: str, sound: Path, chunk_ms: int, settle_s: float, window_s: float) -> Measure:
    def measure() -> dict[str, float]:
        command = [*peer_command(peer, "paced", sound), str(chunk_ms)]
        with Running(command, peer_environment()) as running:
            running.line()
            return watch(running.pids, settle_s, window_s)

    return measure

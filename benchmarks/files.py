"""Files, as fast as possible, on one core.

The rate without start-up is that of the sound by which a long file is longer than a short one, in processor
time: nobody has to say where its start-up ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contestants import PLAIN, peer_command, replay_command
from benchmarks.part import Bench, in_turns, result
from benchmarks.processes import run_to_end

NAME = "files"
HELP = "files as fast as possible, one core"
SHORT_S = 2.0
LONG_S = {"streamer": 600.0, "pymicro-wakeword": 600.0, "openwakeword": 300.0, "silero-vad": 300.0}
OTHERS_LONG_S = 120.0
"""Enough for those that take longer."""


def run(bench: Bench) -> dict[str, Any]:
    """Everybody."""
    core = max(os.sched_getaffinity(0))
    measures = {"streamer": _measure(bench, replay_command, LONG_S["streamer"], core)}
    for peer in bench.peers:
        command = _commander(peer)
        measures[peer] = _measure(bench, command, LONG_S.get(peer, OTHERS_LONG_S), core)
    return result(in_turns(NAME, bench.rounds, measures))


def _commander(peer: str) -> Callable[[Path], Sequence[str]]:
    return lambda path: peer_command(peer, "files", path)


def _measure(
    bench: Bench, command: Callable[[Path], Sequence[str]], long_s: float, core: int
) -> Callable[[], dict[str, float]]:
    long_s = max(4 * SHORT_S, long_s * min(1.0, 2 * bench.scale))

    def measure() -> dict[str, float]:
        short = run_to_end(command(bench.sound.file(SHORT_S)), PLAIN, core=core)
        long = run_to_end(command(bench.sound.file(long_s)), PLAIN, core=core)
        if long.cpu_s <= short.cpu_s:
            raise RuntimeError("a long file cost no more than a short one: the machine is too busy")
        return {
            "times_real_time": (long_s - SHORT_S) / (long.cpu_s - short.cpu_s),
            "times_real_time_with_start": long_s / long.cpu_s,
            "sound_s": long_s,
            "wall_s": long.wall_s,
            "start_cpu_s": short.cpu_s,
        }

    return measure

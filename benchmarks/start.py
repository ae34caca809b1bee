"""How long it takes to begin: from the start of the process to its first word."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import soundfile

from benchmarks.contestants import PLAIN, peer_command, replay_command
from benchmarks.daemon import STREAMER, Daemon
from benchmarks.part import Bench, Measure, in_turns, result
from benchmarks.processes import Running, cpu_s, run_to_end
from streamer.cli.run import DEMO

NAME = "start"
HELP = "start of the process to the first score or event; --help"
KEYWORD_S = (4.0, 7.0)
"""The piece of the demo scene in which the first keyword is."""
TURNS = 2
"""As often as other parts: it takes little time, and varies more."""


def run(bench: Bench) -> dict[str, Any]:
    """Everybody."""
    keyword = _keyword(bench.folder)
    short = bench.sound.file(2.0)
    measures: dict[str, Measure] = {
        "streamer --help": _to_end([*STREAMER, "--help"]),
        "streamer replay, first event": lambda: _first_line(replay_command(keyword)),
        "streamer run, first scores": lambda: _first_scores(keyword),
    }
    for peer in bench.peers:
        measures[f"{peer}, first score"] = _first_of(peer, short)
    return result(in_turns(NAME, TURNS * bench.rounds, measures))


def _keyword(folder: Path) -> Path:
    path = folder / "keyword.wav"
    samples, rate_hz = soundfile.read(DEMO, dtype="float32")
    first, last = (round(second * rate_hz) for second in KEYWORD_S)
    soundfile.write(path, samples[first:last], rate_hz, subtype="PCM_16")
    return path


def _to_end(command: list[str]) -> Measure:
    def measure() -> dict[str, float]:
        ended = run_to_end(command, PLAIN)
        return {"wall_ms": 1000 * ended.wall_s, "cpu_ms": 1000 * ended.cpu_s}

    return measure


def _first_line(command: list[str]) -> dict[str, float]:
    with Running(command, PLAIN) as running:
        running.line()
        wall_s = time.monotonic() - running.begun_s
        return {"wall_ms": 1000 * wall_s}


def _first_of(peer: str, path: Path) -> Measure:
    return lambda: _first_line(peer_command(peer, "first", path))


def _first_scores(path: Path) -> dict[str, float]:
    """At a subscriber; the sound of the first block has to pass in real time, and is counted apart."""
    with Daemon(["--file", str(path), "--loop"], topics=["frame."]) as daemon:
        message = daemon.receive(30.0)
        if message is None:
            raise RuntimeError(f"streamer has no scores: {daemon.running.complaints()}")
        frames = message.record
        block_s = frames["first_s"] + frames["rows"] * frames["row_s"]
        spent_s = cpu_s(daemon.running.pids)
        return {
            "wall_ms": 1000 * (message.at_s - daemon.begun_s),
            "of_it_sound_ms": 1000 * block_s,
            "cpu_ms": 1000 * spent_s,
        }

"""One live stream in real time: the share of a core that it takes, and the memory.

The peers get 80 ms of sound every 80 ms in a process of their own, or read the virtual microphone; streamer
plays a file in real time, or reads that microphone: daemon and recorder together, with the journal on and a
subscriber to every event. All with what they ship as default.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.contestants import peer_command, peer_environment
from benchmarks.daemon import TOLD, Daemon
from benchmarks.part import Bench, Measure, in_turns, result
from benchmarks.processes import Running, cpu_s, memory
from benchmarks.virtual import at_server
from tests.support.virtual_microphone import VirtualMicrophone, available

NAME = "paced"
HELP = "one live stream in real time: processor time and memory, from a file and from a virtual microphone"
SCORES_TOLD = "streamer with frame scores"
"""The subscriber wants those, too: then each block of them has to be told."""
RATES_HZ = (16_000, 48_000)
WINDOW_S = 8.0
SETTLE_S = 2.0
PLAYING_S = 1.0
"""Until the sound server's timing has settled: who begins to record earlier may spin for a while."""
PLAY_MS = 100
"""What the player asks of the sound server: the same for everybody."""


def run(bench: Bench) -> dict[str, Any]:
    """Everybody."""
    window_s, settle_s = bench.seconds(WINDOW_S), bench.seconds(SETTLE_S, 1.0)
    sound = bench.sound.file(max(30.0, 2 * (window_s + settle_s)))
    measures: dict[str, Measure] = {"streamer, file": lambda: _daemon_on_file(sound, settle_s, window_s)}
    for peer in bench.peers:
        measures[f"{peer}, fed"] = _peer_fed(peer, sound, settle_s, window_s)
    why_not = available()
    if why_not:
        bench.skipped["virtual microphone"] = why_not
    else:
        for rate_hz in RATES_HZ:
            name = f"microphone {rate_hz // 1000} kHz"
            measures[f"nobody, {name}"] = on_microphone(bench, rate_hz, settle_s, window_s, _nobody)
            measures[f"streamer, {name}"] = on_microphone(bench, rate_hz, settle_s, window_s, daemon_with([]))
            with_scores = daemon_with([], topics=(*TOLD, "frame."))
            measures[f"{SCORES_TOLD}, {name}"] = on_microphone(
                bench, rate_hz, settle_s, window_s, with_scores
            )
            for peer in bench.peers[:1]:
                measures[f"{peer}, {name}"] = _peer_at(bench, peer, rate_hz, settle_s, window_s)
    rows = in_turns(NAME, bench.rounds, measures)
    if not why_not and not bench.quick:
        # Once only: what they take of it beyond being fed is PortAudio's share, the same for all.
        once = {
            f"{peer}, microphone 16 kHz": _peer_at(bench, peer, RATES_HZ[0], settle_s, window_s)
            for peer in bench.peers[1:]
        }
        rows |= in_turns(NAME, 1, once)
    return result(rows, window_s=window_s)


def watch(
    pids: Sequence[int], settle_s: float, window_s: float, server: int | None = None
) -> dict[str, float]:
    """Share of a core over the window, memory at its end."""
    time.sleep(settle_s)
    begun_s, begun_cpu_s = time.monotonic(), cpu_s(pids)
    server_cpu_s = cpu_s([server]) if server else 0.0
    time.sleep(window_s)
    passed_s = time.monotonic() - begun_s
    found = {"core_percent": 100 * (cpu_s(pids) - begun_cpu_s) / passed_s}
    if server:
        found["server_core_percent"] = 100 * (cpu_s([server]) - server_cpu_s) / passed_s
    if pids:
        used = memory(pids)
        found |= {"alone_mb": used.alone_mb, "rss_mb": used.rss_mb, "pss_mb": used.pss_mb}
    return found


def books(daemon: Daemon, found: dict[str, float]) -> dict[str, float]:
    """Nothing may have been lost meanwhile; how late it was."""
    healths = [one.record for one in daemon.received() if one.topic.startswith("health.")]
    if not healths:
        raise RuntimeError(f"streamer fell silent: {daemon.running.complaints()}")
    lost = healths[-1]["lost_samples"]
    if lost:
        raise RuntimeError(f"streamer lost {lost} samples")
    return {**found, "lag_ms": 1000 * max(record["lag_s"] or 0.0 for record in healths)}


def _daemon_on_file(sound: Path, settle_s: float, window_s: float) -> dict[str, float]:
    with Daemon(["--file", str(sound), "--loop"]) as daemon:
        daemon.wait_health("listening")
        return books(daemon, watch(daemon.running.pids, settle_s, window_s))


def _peer_fed(peer: str, sound: Path, settle_s: float, window_s: float) -> Measure:
    def measure() -> dict[str, float]:
        with Running(peer_command(peer, "paced", sound), peer_environment()) as running:
            running.line()
            return watch(running.pids, settle_s, window_s)

    return measure


# -- at the virtual microphone -----------------------------------------------------------------------

Listening = Callable[[VirtualMicrophone, float, float], dict[str, float]]


def on_microphone(bench: Bench, rate_hz: int, settle_s: float, window_s: float, who: Listening) -> Measure:
    sound = bench.sound.file(max(60.0, 3 * (settle_s + window_s) + 20), rate_hz)

    def measure() -> dict[str, float]:
        with _microphone(bench.folder, rate_hz, sound) as microphone:
            return who(microphone, settle_s, window_s)

    return measure


@contextmanager
def _microphone(folder: Path, rate_hz: int, sound: Path) -> Iterator[VirtualMicrophone]:
    with VirtualMicrophone(folder, rate_hz) as microphone:
        microphone.play(sound, PLAY_MS)
        time.sleep(PLAYING_S)
        yield microphone


def _nobody(microphone: VirtualMicrophone, settle_s: float, window_s: float) -> dict[str, float]:
    """What the sound server takes for itself."""
    found = watch([], settle_s, window_s, microphone.pid)
    return {"server_core_percent": found["server_core_percent"]}


def daemon_with(arguments: Sequence[str], topics: Sequence[str] = TOLD) -> Listening:
    """streamer at the microphone, daemon and recorder."""

    def listen(microphone: VirtualMicrophone, settle_s: float, window_s: float) -> dict[str, float]:
        words = ["--device", "virtmic", *arguments]
        with Daemon(words, more=at_server(microphone), topics=topics) as daemon:
            daemon.wait_health("listening")
            pids = daemon.running.pids
            found = watch(pids, settle_s, window_s, microphone.pid)
            return books(daemon, {**found, "processes": float(len(pids))})

    return listen


def _peer_at(bench: Bench, peer: str, rate_hz: int, settle_s: float, window_s: float) -> Measure:
    def listen(microphone: VirtualMicrophone, settle_s: float, window_s: float) -> dict[str, float]:
        surroundings = microphone.environment()
        surroundings.pop("PYTHONPATH", None)
        with Running(peer_command(peer, "microphone", "virtmic"), surroundings) as running:
            running.line()
            return watch(running.pids, settle_s, window_s, microphone.pid)

    return on_microphone(bench, rate_hz, settle_s, window_s, listen)

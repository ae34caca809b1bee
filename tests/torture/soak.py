"""A day of sound through a whole daemon: cost, memory, handles and what it hears must not drift."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from streamer.client import Subscriber
from streamer.delivery.messages import Event, Health
from tests.support.daemon import ROOT
from tests.torture.part import Outcome, Process, wait_ready

NAME = "soak"
HELP = "a day of sound, as fast as it goes, and whether anything grows or drifts"

RATE_HZ = 16_000
ROUND_S = 600
"""A round is the demo scene, and the rest of ten minutes noise that swells and falls, and silence."""
WARM_ROUNDS = 6
"""Until then buffers, caches and the journal may still grow."""
GROWTH_MAX_MB = 1.0
COST_DRIFT_MAX = 0.1
TICKS_A_S = os.sysconf("SC_CLK_TCK")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The part's options."""
    parser.add_argument("--hours", type=float, default=24.0, metavar="H", help="of sound (%(default)g)")


@dataclass(frozen=True)
class State:
    """The daemon after so much sound."""

    heard_s: float
    cpu_s: float
    rss_mb: float
    threads: int
    descriptors: int


def run(options: argparse.Namespace) -> Outcome:
    """Let it listen."""
    with tempfile.TemporaryDirectory(prefix="ts-") as name:
        folder = Path(name)
        write_round(folder / "round.wav", options.seed)
        daemon = Process(_command(folder), folder, "daemon", models=ROOT / "models")
        daemon.begin()
        try:
            states, rounds = listen(daemon, folder, 3600 * options.hours)
        finally:
            daemon.kill()
        return judge(states, rounds, daemon.complaints())


def _command(folder: Path) -> list[str]:
    return [
        *("streamer", "run", "--file", str(folder / "round.wav"), "--loop", "--fast", "--no-live"),
        *("--runtime-dir", str(folder / "run"), "--publish", f"ipc://{folder}/events.sock"),
        *("--control", f"ipc://{folder}/control.sock", "--journal", str(folder / "journal" / "j.db")),
        *("--log-level", "warning"),
    ]


def write_round(path: Path, seed: int) -> None:
    """What is heard again and again."""
    scene, rate_hz = soundfile.read(ROOT / "streamer/assets/demo.ogg", dtype="float32")
    assert rate_hz == RATE_HZ
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 1, ROUND_S * RATE_HZ).astype(np.float32)
    second = np.arange(len(sound)) / RATE_HZ
    sound *= (0.001 + 0.02 * np.clip(np.sin(2 * np.pi * second / 97), 0, 1)).astype(np.float32)
    sound[len(sound) // 2 : len(sound) // 2 + 120 * RATE_HZ] = 0  # a microphone that is switched off
    sound[: len(scene)] = scene
    soundfile.write(path, sound, RATE_HZ, subtype="PCM_16")


def listen(daemon: Process, folder: Path, length_s: float) -> tuple[list[State], list[Counter[str]]]:
    """The daemon's state round by round, and what it told in each."""
    states: list[State] = []
    rounds: dict[int, Counter[str]] = {}
    with Subscriber(f"ipc://{folder}/events.sock", control=f"ipc://{folder}/control.sock", since=0) as heard:
        wait_ready(daemon, (folder / "events.sock").exists, 60)
        deadline_s = time.monotonic() + length_s / 20 + 120
        while time.monotonic() < deadline_s:
            record = heard.receive(5.0)
            if isinstance(record, Event) and record.phase != "end":
                number = int(record.onset_s // ROUND_S)
                rounds.setdefault(number, Counter())[f"{record.label} at {record.onset_s % ROUND_S:.0f}"] += 1
            if isinstance(record, Health) and record.listened_s // ROUND_S > len(states):
                states.append(state_of(daemon, record.listened_s))
                if record.listened_s >= length_s:
                    break
    return states, [rounds.get(number, Counter()) for number in range(1, len(states) - 1)]


def state_of(daemon: Process, heard_s: float) -> State:
    """As the system sees it."""
    assert daemon.process is not None
    place = Path(f"/proc/{daemon.process.pid}")
    fields = (place / "stat").read_text("ascii").rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / TICKS_A_S
    return State(
        heard_s, cpu_s, daemon.rss_mb(), len(list((place / "task").iterdir())), len(os.listdir(place / "fd"))
    )


def judge(states: list[State], rounds: list[Counter[str]], complaints: str) -> Outcome:
    """The first hours against the last ones."""
    if len(states) < 4 * WARM_ROUNDS:
        return Outcome(False, f"ended after {len(states)} rounds: {complaints}")
    warm, last = states[WARM_ROUNDS], states[-1]
    grown_mb = last.rss_mb - warm.rss_mb
    half = (len(states) + WARM_ROUNDS) // 2
    early, late = (_cost(states[a], states[b]) for a, b in ((WARM_ROUNDS, half), (half, -1)))
    usual = Counter[str](dict(Counter(json.dumps(sorted(found.items())) for found in rounds).most_common(1)))
    same = max(usual.values(), default=0)
    events = sum(sum(found.values()) for found in rounds)
    faults = [
        fault
        for fault, found in (
            ("memory grew", grown_mb > GROWTH_MAX_MB),
            ("threads grew", last.threads > warm.threads),
            ("descriptors grew", last.descriptors > warm.descriptors),
            ("the cost drifted", abs(late / early - 1) > COST_DRIFT_MAX),
            ("rounds were heard differently", same < len(rounds)),
            ("nothing was heard", not events),
            ("it complained", bool(complaints.strip())),
        )
        if found
    ]
    told = (
        f"{last.heard_s / 3600:.1f} h of sound, {events} events in {len(rounds)} rounds, {same} alike; "
        f"memory {warm.rss_mb:.1f} to {last.rss_mb:.1f} MB, threads {warm.threads} to {last.threads}, "
        f"descriptors {warm.descriptors} to {last.descriptors}; "
        f"{1e3 * early:.2f} and {1e3 * late:.2f} ms of processor time a second of sound"
    )
    return Outcome(not faults, "; ".join(filter(None, [*faults, told, complaints[-300:].strip()])))


def _cost(first: State, last: State) -> float:
    return (last.cpu_s - first.cpu_s) / (last.heard_s - first.heard_s)

"""Kills -9 of a daemon to which a remote microphone sends: no keyword is lost, and none is told twice.

Sound is acknowledged once its events are in the journal, so that a kill loses none of them. The last third of
a second is sent again, and a keyword in it that is in the journal already must not be told a second time.
"""

from __future__ import annotations

import argparse
import random
import socket
import tempfile
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import soundfile

from streamer.client import Control, ControlError
from tests.support.tiny_bundle import make_tiny_bundle
from tests.support.tones import make_tone_scene
from tests.torture.part import Outcome, Process, wait_ready
from tests.torture.tones import ROUND_S, TONES
from tests.torture.truth import Told, journalled

NAME = "senders"
HELP = "kill a daemon that a remote microphone sends to"

READY_S = 60.0
SETTLE_S = 3.0
TOLERANCE_S = 0.25
"""Between the wall clocks of two tones."""
LOW_TO_MID_S = TONES[1][1] - TONES[0][1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument(
        "--daemon-kills", type=int, default=50, metavar="N", help="kills of a daemon with a sender (50)"
    )


def run(options: argparse.Namespace) -> Outcome:
    """Kill, and look for every tone."""
    return torture(options.daemon_kills, options.seed)


def torture(kills: int, seed: int) -> Outcome:
    """So many kills, at moments that the seed chooses."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="tr-") as name:
        folder = Path(name)
        control, daemon, sender = _cast(folder)
        try:
            daemon.begin()
            sender.begin()
            wait_ready(daemon, lambda: _hears(control), READY_S)
            for _ in range(kills):
                time.sleep(rng.uniform(0.5, 3.0))
                daemon.kill()
                time.sleep(rng.choice([0.0, rng.uniform(0.0, 1.0)]))
                daemon.begin()
                wait_ready(daemon, lambda: _hears(control), READY_S)
            time.sleep(SETTLE_S)
            events, unkept = journalled(control)
        finally:
            for process in (sender, daemon):
                if process.process is not None:
                    process.kill()
    keywords = [event for event in events if event["phase"] == "hit"]
    doubled, missing = _count(keywords)
    faults = [
        fault
        for fault, found in (
            (f"{missing} keywords are missing", missing > 0),
            (f"{doubled} keywords were told twice", doubled > 0),
            ("numbers are missing in the journal", bool(unkept)),
            ("hardly anything was heard", len(keywords) < kills),
        )
        if found
    ]
    line = f"{kills} kills -9 of the daemon over {len(keywords)} keywords from a remote microphone: "
    return Outcome(
        not faults, "; ".join([*faults, f"{line}{missing} missing, {doubled} told twice; seed {seed}"])
    )


def _cast(folder: Path) -> tuple[str, Process, Process]:
    make_tiny_bundle(folder / "models/tiny")
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    sound = folder / "tones.wav"
    soundfile.write(sound, make_tone_scene(16_000, ROUND_S, TONES).samples, 16_000, subtype="PCM_16")
    with socket.create_server(("127.0.0.1", 0)) as probe:  # it needs the same one in each of its lives
        ingest = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    control = f"ipc://{runtime}/control.sock"
    listen = ["run", "--no-live", "--model", "tiny", "--remote-only", "--log-level", "warning"]
    listen += ["--runtime-dir", str(runtime), "--publish", f"ipc://{runtime}/events.sock"]
    listen += ["--control", control, "--ingest", ingest, "--journal", str(folder / "state/journal.db")]
    daemon = Process(["streamer", *listen], folder, "daemon", models=folder / "models")
    send = ["send", "--to", ingest, "--file", str(sound), "--loop", "--stream", "attic"]
    return control, daemon, Process(["streamer", *send], folder, "sender")


def _hears(control: str) -> bool:
    """Whether the daemon has the sender's sound."""
    try:
        with Control(control, timeout_s=0.5) as asked:
            return any(one.stream == "attic" and one.state == "listening" for one in asked.streams())
    except ControlError:
        return False


def _count(keywords: list[Told]) -> tuple[int, int]:
    """How many are told twice, and how many times something is missing: low and mid take turns."""
    doubled = missing = 0
    for one, other in pairwise(keywords):
        passed_s = _utc_s(other) - _utc_s(one)
        due_s = LOW_TO_MID_S if one["label"] == "low" else ROUND_S - LOW_TO_MID_S
        if one["label"] == other["label"] and abs(passed_s) < TOLERANCE_S:
            doubled += 1
        elif one["label"] == other["label"] or abs(passed_s - due_s) > TOLERANCE_S:
            missing += 1
    return doubled, missing


def _utc_s(event: Told) -> float:
    return datetime.fromisoformat(event["time_utc"]).timestamp()

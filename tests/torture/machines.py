"""Three machines: a daemon, a microphone that sends it tones over CURVE, and a subscriber with a key."""

from __future__ import annotations

import math
import time
from datetime import datetime
from pathlib import Path

import soundfile

from streamer.client import Control, ControlError, Health
from streamer.security.allowed import ALLOWED_FILE
from streamer.security.edit import allow
from streamer.security.keys import OWN_KEY, make_pair, write_pair
from streamer.security.known import trust
from tests.support.namespaces import Network
from tests.support.tiny_bundle import make_tiny_bundle
from tests.support.tones import make_tone_scene
from tests.torture.part import Process, wait_ready
from tests.torture.tones import ROUND_S, TONES
from tests.torture.truth import read

READY_S = 60.0
HEARTBEAT_S = 0.25
UP_TO_DATE_S = 0.7
"""By how much a stream may be further behind than at its best."""
STREAM = "attic"


class Machines:
    """Starts all; knows how far the sender and the subscriber have come."""

    def __init__(self, folder: Path, network: Network, *, buffer_s: float) -> None:
        models, runtime = folder / "models", folder / "run"
        make_tiny_bundle(models / "tiny")
        runtime.mkdir(mode=0o700)
        sound = folder / "tones.wav"
        soundfile.write(sound, make_tone_scene(16_000, ROUND_S, TONES).samples, 16_000, subtype="PCM_16")
        self.network = network
        self.control = f"ipc://{runtime}/control.sock"
        self.log = folder / "consumer.log"
        self._least_behind_s = math.inf  # of the stream's clock, behind the wall's
        attic, laptop = (network.cables[name].near_address for name in ("attic", "laptop"))
        _make_keys(folder, {"attic": attic, "laptop": laptop})

        def keys(name: str) -> dict[str, str]:
            return {"STREAMER_SECURITY_KEYS": str(folder / name)}

        listen = ["run", "--no-live", "--model", "tiny", "--remote-only", "--log-level", "warning"]
        listen += ["--runtime-dir", str(runtime), "--journal", str(folder / "state/journal.db")]
        listen += ["--heartbeat", str(HEARTBEAT_S), "--ingest", f"tcp://{attic}:7792"]
        listen += ["--publish", f"ipc://{runtime}/events.sock", "--publish", f"tcp://{laptop}:7790"]
        listen += ["--control", self.control, "--control", f"tcp://{laptop}:7791"]
        self.daemon = Process(
            ["streamer", *listen],
            folder,
            "daemon",
            models=models,
            more=keys("lab"),
            within=network.within("lab"),
        )
        send = ["send", "--to", f"tcp://{attic}:7792", "--file", str(sound), "--loop", "--stream", STREAM]
        self.sender = Process(
            ["streamer", *send, "--buffer-s", str(buffer_s)],
            folder,
            "sender",
            more=keys("attic"),
            within=network.within("attic"),
        )
        self.subscriber = Process(
            ["tests.torture.consumer", f"tcp://{laptop}:7790", str(self.log)],
            folder,
            "subscriber",
            more=keys("laptop"),
            within=network.within("laptop"),
        )

    def begin(self) -> None:
        """Start all, and wait until the first events have come all the way."""
        for process, ready in (
            (self.daemon, lambda: self.head_seq() is not None),
            (self.sender, lambda: self.is_heard(time.time())),
            (self.subscriber, lambda: self.told_seq() > 0),
        ):
            process.begin()
            wait_ready(process, ready, READY_S)

    def head_seq(self) -> int | None:
        """The number of the last event; None if the daemon does not answer."""
        try:
            with Control(self.control, timeout_s=2.0) as control:
                return control.ping().seq
        except ControlError:
            return None

    def health(self) -> Health | None:
        """What the daemon says of the microphone."""
        with Control(self.control, timeout_s=10.0) as control:
            streams = {health.stream: health for health in control.status().streams}
        return streams.get(STREAM)

    def is_heard(self, since_utc_s: float) -> bool:
        """Whether the daemon has the sound of the moment, and has said so since.

        By the stream's clock: the age of sound that lay on the way in between is not known to anybody.
        """
        health = self.health()
        if health is None or health.state != "listening":
            return False
        said_s = _utc_s(health.time_utc)
        behind_s = said_s - health.listened_s - health.lost_samples / 16_000
        self._least_behind_s = min(self._least_behind_s, behind_s)
        return said_s > since_utc_s and behind_s < self._least_behind_s + UP_TO_DATE_S

    def told_seq(self) -> int:
        """The number of the last event that the subscriber has."""
        lines = read(self.log)
        return int(lines[-1].get("seq") or 0) if lines else 0

    def end(self) -> None:
        """Stop all."""
        for process in (self.subscriber, self.sender, self.daemon):
            if process.process is not None:
                process.kill()


def _make_keys(folder: Path, daemon_at: dict[str, str]) -> None:
    """The daemon lets both in, each under the one right that it needs, and both trust the daemon."""
    lab = make_pair("lab")
    write_pair(folder / "lab" / OWN_KEY, lab)
    for name, right in (("attic", "send"), ("laptop", "listen")):
        pair = make_pair(name)
        write_pair(folder / name / OWN_KEY, pair)
        trust(folder / name, daemon_at[name], lab.public)
        allow(folder / "lab" / ALLOWED_FILE, name, pair.public, [right], [])


def _utc_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()

"""Where the day takes place: a daemon with the tiny bundle, its virtual microphone, and tones for it."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import soundfile

from streamer.client import Control
from streamer.delivery.messages import Event, Health, utc_ms
from tests.support.daemon import Daemon
from tests.support.tiny_bundle import TONES_HZ, make_tiny_bundle
from tests.support.tones import make_tone_scene
from tests.support.virtual_microphone import VirtualMicrophone

LIMIT_S = 40.0
"""Longer than any of it takes on a busy machine: a hang."""
AFTER_PLAYER_S = 5.0
"""So long after the player has ended, its tones may be reported."""
FRESH_S = 0.5
"""A stream that listens has sound that is younger."""
SETTLE_S = 10.0
LEAD_S, TONE_S, PAUSE_S, TAIL_S = 0.3, 0.25, 0.2, 0.3
RATE_HZ = 48_000
GOOD = '[model]\nbundle = "{bundle}"\n[engine]\nhop_ms = {hop_ms}\n'
BAD = ('[model]\nbundle = "nowhere"\n', '[model\nbundle = "tiny"\n')


class Hang(Exception):
    """The daemon does not do what it should; it may have died."""


class Possessions(NamedTuple):
    """What a process has at a moment."""

    memory_mb: float
    """Without what it shares: a recorder's ring is in memory as far as it has been filled."""
    threads: int
    descriptors: int
    children: int


@dataclass
class Tones:
    """What became of those that were played."""

    played: int = 0
    reported: int = 0
    again: int = 0
    """Reported more than once: the player came late, and left a hole."""
    while_muted: int = 0
    """Reported although nobody was to listen."""
    unplayed: int = 0
    """The player failed: they sounded in part, or not at all."""


class Scene:
    """Everything there is while the `with` block lasts."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.rng = rng
        self.tones = Tones()
        self.misses: list[str] = []
        """Each tone that was not reported."""
        self.config = folder / "streamer.toml"
        self.good = GOOD.format(bundle="tiny", hop_ms=50)
        """The config that was taken over last."""
        self.config.write_text(self.good)
        make_tiny_bundle(folder / "models/tiny")
        make_tiny_bundle(folder / "models/other", name="other", stride=3)
        self._waves = _write_waves(folder)
        self.server = VirtualMicrophone(folder, RATE_HZ, sole=True)
        own = {name: text for name, text in self.server.environment().items() if os.environ.get(name) != text}
        self.daemon = Daemon(
            *("--config", str(self.config), "--device", "virtmic", "--rate", str(RATE_HZ)),
            models=folder / "models",
            environment=own,
            model=None,
        )
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Scene:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.server)
            stack.enter_context(self.daemon)
            self.control = stack.enter_context(Control(self.daemon.control, timeout_s=LIMIT_S))
            self.listens(time.time())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def use_everything(self) -> None:
        """What is loaded once stays: each bundle, and what a report takes."""
        for bundle in ("other", "tiny"):
            self.config.write_text(GOOD.format(bundle=bundle, hop_ms=50))
            self.control.reload()
            self.hear_tones(self.begin_tones(), "the beginning")

    # -- the daemon ------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take what the daemon has said until now."""
        while (record := self.daemon.subscriber.receive(0.0)) is not None:
            self.daemon.records.append(record)

    def health(self, wanted: Callable[[Health], bool], what: str, timeout_s: float = LIMIT_S) -> Health:
        """The next one that fits; Hang if the daemon has died, or says nothing of the kind."""
        last = ""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s and not self.is_dead:
            record = self.daemon.subscriber.receive(0.5)
            if record is not None:
                self.daemon.records.append(record)
            if isinstance(record, Health):
                if wanted(record):
                    return record
                last = f"{record.state} {record.detail}"
        raise Hang(f"not {what} within {timeout_s:g} s; {last}")

    @property
    def is_dead(self) -> bool:
        """The daemon has ended."""
        return self.daemon.process.poll() is not None

    def listens(self, since_utc_s: float) -> Health:
        """Wait until it listens, and has said so since then."""

        def fits(health: Health) -> bool:
            age_s = health.last_sample_age_s
            said = utc_ms(health.time_utc) >= int(since_utc_s * 1_000)
            return said and health.state == "listening" and age_s is not None and age_s < FRESH_S

        return self.health(fits, "listening")

    def recorders(self) -> list[int]:
        """The processes that record for it."""
        pid = self.daemon.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def possessions(self, usual: Possessions | None = None) -> Possessions:
        """What the daemon has; whatever is more than usual has a while to go away."""
        deadline_s = time.monotonic() + SETTLE_S
        while True:
            has = self._possessions()
            if usual is None or has[1:] == usual[1:] or time.monotonic() > deadline_s:
                return has
            time.sleep(0.1)

    def _possessions(self) -> Possessions:
        pid = self.daemon.process.pid
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        anonymous_kb, files_kb, threads = (
            int(status.partition(f"{name}:")[2].split()[0]) for name in ("RssAnon", "RssFile", "Threads")
        )
        memory_mb = (anonymous_kb + files_kb) / 1_024
        return Possessions(memory_mb, threads, len(os.listdir(f"/proc/{pid}/fd")), len(self.recorders()))

    # -- the tones -------------------------------------------------------------------------------------

    def begin_tones(self) -> tuple[tuple[str, ...], subprocess.Popen[bytes]]:
        """Play one of each label, in whatever order; `hear_tones` wants the answer."""
        self.drain()
        order = self.rng.choice(list(self._waves))
        return order, self.server.play(self._waves[order], latency_ms=500)

    def hear_tones(self, playing: tuple[tuple[str, ...], subprocess.Popen[bytes]], during: str) -> None:
        """Wait until each has been reported."""
        order, player = playing
        due = {(label, "start" if label == "high" else "hit") for label in order} | {("high", "end")}
        heard, states = self._hear(due, player)
        if player.poll() != 0:
            self.tones.unplayed += len(order)
            return
        self.tones.played += len(order)
        absent = {label for label, _ in due - set(heard)}
        self.tones.reported += len(order) - len(absent)
        self.tones.again += len(heard) - len(set(heard))
        seen = ", ".join(dict.fromkeys(states))
        self.misses += [f"{label} of {'-'.join(order)} during {during}, states {seen}" for label in absent]

    def play_unheard(self) -> None:
        """Nothing of it may be reported."""
        _, player = self.begin_tones()
        heard, _ = self._hear({("nothing", "of it")}, player, after_s=1.0)
        self.tones.while_muted += len(heard)

    def _hear(
        self, due: set[tuple[str, str]], player: subprocess.Popen[bytes], after_s: float = AFTER_PLAYER_S
    ) -> tuple[list[tuple[str, str]], list[str]]:
        """Until all of these have come and the player has ended, or time is over: events, and states."""
        heard: list[tuple[str, str]] = []
        states: list[str] = []
        begun_s = time.monotonic()
        ended_s = float("inf")
        while time.monotonic() < min(ended_s + after_s, begun_s + LIMIT_S):
            if ended_s == float("inf") and player.poll() is not None:
                ended_s = time.monotonic()
            if ended_s < float("inf") and (due <= set(heard) or player.poll() != 0):
                break
            record = self.daemon.subscriber.receive(0.1)
            if record is not None:
                self.daemon.records.append(record)
            if isinstance(record, Event):
                heard.append((record.label, record.phase))
            elif isinstance(record, Health):
                states.append(record.state)
        return heard, states


def _write_waves(folder: Path) -> dict[tuple[str, ...], Path]:
    """A file for every order of the tones."""
    waves = {}
    for order in itertools.permutations(TONES_HZ):
        starts_s = [LEAD_S + number * (TONE_S + PAUSE_S) for number in range(len(order))]
        tones = tuple(
            (label, start_s, start_s + TONE_S) for label, start_s in zip(order, starts_s, strict=True)
        )
        waves[order] = folder / f"{'-'.join(order)}.wav"
        sound = make_tone_scene(RATE_HZ, starts_s[-1] + TONE_S + TAIL_S, tones)
        soundfile.write(waves[order], sound.samples, RATE_HZ)
    return waves

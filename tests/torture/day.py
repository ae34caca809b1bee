"""A scripted day: faults of every kind, one after another, and tones in between that have to be reported.

The microphone is a real PulseAudio's, the daemon the real one. After each fault it must listen again, and
report each tone that is then played; when all is over, it must have no more than at the beginning.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from streamer.client import ControlError
from tests.support import virtual_microphone
from tests.torture.day_faults import KINDS, Times
from tests.torture.day_scene import Hang, Possessions, Scene
from tests.torture.part import Outcome

NAME = "day"
HELP = "faults of the microphone, its sound server and the daemon, with tones in between"

EVERY = 50
"""Faults from one look at memory, threads and descriptors to the next."""
GROWTH_MAX_MB = 2.0
"""From the first look after every kind of fault has been there once. A thread more is too many."""
NOTICED_S, BACK_S = 2.0, 3.0
"""What takes longer is counted: the machine has other work, too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument("--faults", type=int, default=500, metavar="N", help="of the day (500: over an hour)")
    parser.add_argument("--day-s", type=float, metavar="S", help="the day ends after S seconds at the latest")


def run(options: argparse.Namespace) -> Outcome:
    """Live through the day."""
    missing = virtual_microphone.available()
    if missing:
        return Outcome(True, f"skipped: {missing}")
    return torture(options.faults, options.seed, options.day_s or float("inf"))


def torture(faults: int, seed: int, limit_s: float = float("inf")) -> Outcome:
    """So many faults, of kinds and at moments that the seed chooses."""
    with tempfile.TemporaryDirectory(prefix="ty-") as name:
        day = Day(Path(name), faults, seed)
        day.live(limit_s)
    return day.judge()


class Day:
    """Its course and its books."""

    def __init__(self, folder: Path, faults: int, seed: int) -> None:
        self._seed = seed
        self._rng = random.Random(seed)
        self._kinds = self._rng.sample(list(KINDS), len(KINDS))  # each once, then whatever comes
        self._kinds += self._rng.choices(list(KINDS), k=max(0, faults - len(KINDS)))
        self._kinds = self._kinds[:faults]
        self._scene = Scene(folder, self._rng)
        self._times = Times()
        self._done: Counter[str] = Counter()
        self._had: list[Possessions] = []
        self._ended_by = ""
        self._crashes = self._hangs = 0

    def live(self, limit_s: float) -> None:
        """One fault after another; the first crash or hang is the end of the day."""
        began_s = time.monotonic()
        with self._scene:
            if len(self._kinds) > len(KINDS):
                self._scene.use_everything()
            self._look()
            for number, kind in enumerate(self._kinds, start=1):
                if time.monotonic() - began_s > limit_s:
                    break
                try:
                    self._meet(kind)
                except (Hang, ControlError, RuntimeError, OSError, subprocess.SubprocessError) as error:
                    self._crashes += self._scene.is_dead
                    self._hangs += isinstance(error, Hang | ControlError) and not self._scene.is_dead
                    self._ended_by = f"ended by fault {number} ({kind}): {error}"
                    print(f"{self._ended_by}\n{self._scene.daemon.stderr[-3_000:]}", file=sys.stderr)
                    return
                if number == len(KINDS) or number % EVERY == 0:
                    self._look()
            self._look()
            self._ended_by = self._stop()

    def _meet(self, kind: str) -> None:
        time.sleep(self._rng.uniform(0.0, 0.5))
        KINDS[kind](self._scene, self._times)
        self._scene.listens(time.time())
        self._done[kind] += 1
        self._scene.hear_tones(self._scene.begin_tones(), f"the quiet after {kind}")
        self._scene.control.ping()

    def _look(self) -> None:
        self._had.append(self._scene.possessions(self._had[0] if self._had else None))

    @property
    def _grown_mb(self) -> float:
        """Since everything has been in use once; a day that is too short for that tells nothing."""
        return self._had[-1].memory_mb - self._had[1].memory_mb if len(self._had) > 2 else 0.0

    def _stop(self) -> str:
        self._scene.drain()
        status = self._scene.daemon.stop()
        wrong = [f"status {status} at the end"] if status else []
        wrong += ["a traceback in the log"] if "Traceback" in self._scene.daemon.stderr else []
        return ", ".join(wrong)

    def judge(self) -> Outcome:
        """What is wrong, and the figures."""
        tones = self._scene.tones
        more = [max(0, now - then) for now, then in zip(self._had[-1][1:], self._had[0][1:], strict=True)]
        faults = [
            fault
            for fault, found in (
                (self._ended_by, self._ended_by),
                (f"missed: {'; '.join(self._scene.misses)}", self._scene.misses),
                (f"{tones.while_muted} events while muted", tones.while_muted),
                ("hardly anything was played", tones.played < 3 * sum(self._done.values())),
                (f"never told on health: {', '.join(self._times.untold)}", self._times.untold),
                (f"memory grew by {self._grown_mb:.1f} MB", self._grown_mb > GROWTH_MAX_MB),
                ("{} threads, {} descriptors, {} children more".format(*more), any(more)),
            )
            if found
        ]
        return Outcome(not faults, "; ".join([*faults, self._figures()]))

    def _figures(self) -> str:
        tones, times = self._scene.tones, self._times
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self._done.items()))
        memory = ", ".join(f"{had.memory_mb:.1f}" for had in self._had)
        first, last = self._had[0], self._had[-1]
        return "; ".join(
            (
                f"{sum(self._done.values())} faults ({kinds})",
                f"{tones.played} tones played, {tones.reported} reported, {len(self._scene.misses)} missed, "
                f"{tones.again} told again, {tones.unplayed} not played, {tones.while_muted} while muted",
                f"{len(times.noticed_s)} outages noticed, in s: {_spread(times.noticed_s, NOTICED_S)}",
                f"heard again, in s: {_spread(times.back_s, BACK_S)}",
                f"{times.lost_under_load} samples lost under load",
                f"{self._crashes} crashes, {self._hangs} hangs",
                f"memory at the start, after {len(KINDS)} faults, each {EVERY} and at the end {memory} MB",
                f"threads {first.threads} and {last.threads}, descriptors {first.descriptors} and "
                f"{last.descriptors}, children {first.children} and {last.children}",
                f"seed {self._seed}",
            )
        )


def _spread(times_s: Sequence[float], bound_s: float) -> str:
    if not times_s:
        return "none"
    late = sum(time_s > bound_s for time_s in times_s)
    return f"{np.median(times_s):.2f} median, {max(times_s):.2f} worst, {late} over {bound_s:g}"

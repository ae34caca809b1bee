"""Many subscribers, one of them stopped for a while: the others notice nothing, and it catches up.

The daemon is one without ears (tests/torture/event_source.py), so that the rate of events is known and each
says when it was sent. Delays are compared before and while the one subscriber is stopped.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamer.client import Control, ControlError
from tests.torture.listeners import Heard
from tests.torture.part import Outcome, Process, wait_until

NAME = "stalled"
HELP = "stop one of many subscribers, and see whether the others are delayed"

PROCESSES = 3
"""That the subscribers are spread over."""
START_S = 60.0
WARM_S = 5.0
GROWTH_MAX_MB = 16.0
"""What the daemon may keep for a subscriber that does not read."""
DELAY_FACTOR, DELAY_MORE_S = 2.0, 0.05
"""How much larger the delays of the others may be; the machine has other work, too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument("--subscribers", type=int, default=100, metavar="N", help="subscribers in all (100)")
    parser.add_argument("--stopped-s", type=float, default=60.0, metavar="S", help="one is stopped for (60)")
    parser.add_argument("--rate-hz", type=float, default=5.0, metavar="HZ", help="events a second (5)")


def run(options: argparse.Namespace) -> Outcome:
    """Stop one, and compare."""
    with tempfile.TemporaryDirectory(prefix="ts-") as name:
        cast = Cast(Path(name), options.subscribers, options.rate_hz)
        try:
            cast.begin()
            times_s, memory_mb = cast.play(options.stopped_s)
            heard, stopped = cast.finish()
        finally:
            cast.end()
    return judge(heard, stopped, times_s, memory_mb)


class Cast:
    """The daemon, the others, and the one that is stopped."""

    def __init__(self, folder: Path, count: int, rate_hz: float) -> None:
        folder.chmod(0o700)
        self.control = f"ipc://{folder}/control.sock"
        endpoint = f"ipc://{folder}/events.sock"
        self.daemon = Process(["tests.torture.event_source", str(folder), str(rate_hz)], folder, "source")
        sizes = [len(part) for part in np.array_split(np.arange(count - 1), PROCESSES)]
        self.files = [folder / f"heard-{number}.json" for number in range(PROCESSES + 1)]
        listen = ["tests.torture.listeners", endpoint]
        self.others = [
            Process([*listen, str(size), str(self.files[number])], folder, f"listeners-{number}")
            for number, size in enumerate(sizes)
        ]
        self.one = Process([*listen, "1", str(self.files[-1])], folder, "listener")

    def begin(self) -> None:
        """Start all, and let them come to rest."""
        self.daemon.begin()
        if not wait_until(lambda: self._seq() > 0, START_S):
            raise RuntimeError(f"the daemon does not start: {self.daemon.complaints()}")
        for process in (*self.others, self.one):
            process.begin()
        if not wait_until(lambda: all(p.out.read_bytes() for p in (*self.others, self.one)), START_S):
            raise RuntimeError(f"the subscribers do not start: {self.one.complaints()}")
        time.sleep(WARM_S)

    def _seq(self) -> int:
        try:
            with Control(self.control, timeout_s=0.5) as control:
                return control.ping().seq
        except ControlError:
            return 0

    def play(self, stopped_s: float) -> tuple[list[float], list[float]]:
        """As long with all awake as with one stopped: the moments between, and the daemon's memory then."""
        times_s, memory_mb = [time.monotonic()], [self.daemon.rss_mb()]
        for number in (None, SIGSTOP):
            if number:
                self.one.signal(number)
            time.sleep(stopped_s)
            times_s.append(time.monotonic())
            memory_mb.append(self.daemon.rss_mb())
        self.one.signal(SIGCONT)
        return times_s, memory_mb

    def finish(self) -> tuple[list[Heard], Heard]:
        """Let the one catch up; what everybody has heard."""
        time.sleep(2 * WARM_S)
        heard: list[Heard] = []
        for process, path in zip((*self.others, self.one), self.files, strict=True):
            process.signal(SIGTERM)
            if not wait_until(path.exists, START_S):
                raise RuntimeError(f"{process.name} does not end: {process.complaints()}")
            assert process.process is not None
            process.process.wait(START_S)
            heard += msgspec.json.decode(path.read_bytes(), type=list[Heard])
        return heard[:-1], heard[-1]

    def end(self) -> None:
        """Stop all."""
        for process in (*self.others, self.one, self.daemon):
            if process.process is not None:
                process.kill()


def judge(heard: list[Heard], stopped: Heard, times_s: list[float], memory_mb: list[float]) -> Outcome:
    """Compare the delays of the others before and while the one was stopped."""
    moments = np.array([sent_s for one in heard for _, sent_s, _ in one])
    delays_s = np.array([delay_s for one in heard for _, _, delay_s in one])
    before = delays_s[(moments >= times_s[0]) & (moments < times_s[1])]
    while_stopped = delays_s[(moments >= times_s[1]) & (moments < times_s[2])]
    late = 99.9
    allowed_s = DELAY_FACTOR * float(np.percentile(before, late)) + DELAY_MORE_S
    grown_mb = memory_mb[2] - memory_mb[1]
    absent = [seq for seq, sent_s, _ in stopped if times_s[1] <= sent_s < times_s[2]]
    faults = [
        fault
        for fault, found in (
            ("others were delayed", float(np.percentile(while_stopped, late)) > allowed_s),
            ("the daemon's memory grew", grown_mb > GROWTH_MAX_MB),
            ("numbers are missing or doubled", not all(in_order(one) for one in (*heard, stopped))),
            (
                "the one that was stopped did not catch up",
                not absent or stopped[-1][0] < heard[0][-1][0] - 100,
            ),
        )
        if found
    ]
    told = (
        f"{len(heard) + 1} subscribers, one stopped for {times_s[2] - times_s[1]:.0f} s; "
        f"delays of the others in ms before (p50 / p99 / p99.9 / most): {figures(before)}; "
        f"meanwhile: {figures(while_stopped)}; the one got all {len(absent)} events of that time later; "
        f"daemon {memory_mb[0]:.1f} MB, before {memory_mb[1]:.1f} MB, after {memory_mb[2]:.1f} MB"
    )
    return Outcome(not faults, "; ".join([*faults, told]))


def in_order(heard: Heard) -> bool:
    """Whether the numbers go up by one."""
    numbers = [seq for seq, _, _ in heard]
    return bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def figures(delays_s: NDArray[np.float64]) -> str:
    """A distribution in four figures."""
    shown = [*np.percentile(delays_s, [50, 99, 99.9]), delays_s.max()]
    return " / ".join(f"{1_000 * value:.1f}" for value in shown)

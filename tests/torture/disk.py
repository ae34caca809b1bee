"""Disks that are full, broken and read-only under the journal of a daemon that hears known tones.

A small disk of its own is filled and freed, with a kill in between; the daemon's own writes get ENOSPC and
EIO by strace; it is started on a read-only disk that becomes writable. Each time it has to go on publishing,
to say what is wrong, and to catch up. In the end every number is an event or stated as lost, and nothing is
lost that was in the journal once.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamer.client import Control, ControlError
from streamer.delivery.requests import JournalStatus
from tests.support.failing_disk import SmallDisk, failing_calls, lacks_small_disk, lacks_strace
from tests.support.tiny_bundle import make_tiny_bundle
from tests.torture.kills import Player, Witness
from tests.torture.part import Outcome, Process, wait_ready, wait_until
from tests.torture.truth import identity, journalled, read

NAME = "disk"
HELP = "fill, break and lock the journal's disk"

DISK_MB = 8
CALM_S = 2.0
READY_S = 60.0
RECOVERED_S = 60.0
"""When catching up counts as failed; the daemon tries again every 30 s at least."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument(
        "--fault-s", type=float, default=10.0, metavar="S", help="how long each fault of the disk lasts (10)"
    )


def run(options: argparse.Namespace) -> Outcome:
    """All trials, one after the other."""
    return torture(options.fault_s, list(TRIALS))


def torture(fault_s: float, trials: Sequence[str]) -> Outcome:
    """The trials of these names; those that cannot be had here are told as skipped."""
    with tempfile.TemporaryDirectory(prefix="td-") as name:
        folder = Path(name)
        missing, untraced = lacks_small_disk(folder), lacks_strace()
        if missing:
            return Outcome(True, f"skipped: {missing}")
        skipped = [f"{trial}: skipped, {untraced}" for trial in trials if untraced and "strace" in trial]
        with SmallDisk(folder / "disk", DISK_MB) as disk:
            cast = Cast(folder, disk)
            try:
                cast.begin()
                for trial in trials:
                    if not (untraced and "strace" in trial):
                        cast.attempt(trial, TRIALS[trial], fault_s)
                faults, told = cast.judge()
            finally:
                cast.end()
    return Outcome(not faults, "\n         ".join([*faults, told, *cast.told, *skipped]))


@dataclass
class Cast:
    """The daemon, a subscriber, and a bare socket that hears what is published."""

    folder: Path
    disk: SmallDisk
    told: list[str] = field(default_factory=list)
    """One line for each trial."""
    faults: list[str] = field(default_factory=list)
    risked: list[tuple[int, int]] = field(default_factory=list)
    """Numbers that were given out while the journal was failing, before a kill: these may be lost."""

    def __post_init__(self) -> None:
        models, runtime = self.folder / "models", self.folder / "run"
        make_tiny_bundle(models / "tiny")
        runtime.mkdir(mode=0o700)
        endpoint, self.control = f"ipc://{runtime}/events.sock", f"ipc://{runtime}/control.sock"
        self.journal = self.disk.path / "journal.db"
        listen = ["run", "--no-live", "--model", "tiny", "--source", "stdin", "--log-level", "error"]
        listen += ["--runtime-dir", str(runtime), "--publish", endpoint, "--heartbeat", "0.5"]
        listen += ["--journal", str(self.journal)]
        self.daemon = Process(
            ["streamer", *listen], self.folder, "daemon", models=models, stdin=subprocess.PIPE
        )
        self.log = self.folder / "consumer.log"
        self.subscriber = Process(
            ["tests.torture.consumer", endpoint, str(self.log)], self.folder, "consumer"
        )
        self.player = Player(self.daemon)
        self.witness = Witness(endpoint)

    def begin(self) -> None:
        """Start all."""
        self.begin_daemon()
        self.subscriber.begin()
        time.sleep(CALM_S)

    def begin_daemon(self) -> None:
        """Start the daemon, and wait until it answers."""
        self.daemon.begin()
        self.player.begin()
        wait_ready(self.daemon, lambda: self.status() is not None, READY_S)

    def status(self) -> JournalStatus | None:
        """How the journal is; None if nobody answers."""
        try:
            with Control(self.control, timeout_s=1.0) as control:
                return control.status().journal
        except ControlError:
            return None

    def is_failing(self) -> bool:
        """Whether the daemon says that its journal cannot be written."""
        status = self.status()
        return status is not None and status.journal_state == "failing"

    def is_well(self) -> bool:
        """Whether everything is written."""
        status = self.status()
        return status is not None and (status.journal_state, status.journal_pending) == ("ok", 0)

    def attempt(self, name: str, trial: Trial, fault_s: float) -> None:
        """One fault: how the daemon takes it, and how long it takes to catch up afterwards."""
        with trial(self):
            noticed = wait_until(self.is_failing, READY_S)
            first = self.status()
            time.sleep(fault_s)
            last = self.status()
        began_s = time.monotonic()
        recovered = wait_until(self.is_well, RECOVERED_S)
        after_s = time.monotonic() - began_s
        if not noticed or first is None or last is None:
            self.faults.append(f"{name}: nothing was said on the health topic")
            return
        published = last.seq - first.seq
        if not published:
            self.faults.append(f"{name}: nothing was published meanwhile")
        if not recovered:
            self.faults.append(f"{name}: it did not catch up in {RECOVERED_S:g} s")
        self.told.append(
            f'{name}: health said "{last.journal_detail}"; {published} events published in {fault_s:g} s, '
            f"{last.journal_pending} waiting at the end, all written {after_s:.1f} s after"
        )

    def judge(self) -> tuple[list[str], str]:
        """What is wrong, and the figures."""
        self.player.be_silent()
        time.sleep(CALM_S)
        status = self.status()
        head_seq = status.seq if status else 0
        caught_up = wait_until(lambda: _last_seq(self.log) >= head_seq, RECOVERED_S)
        events, lost = journalled(self.control)
        truth = {identity(event) for event in events}
        lines = read(self.log)
        told = [identity(line) for line in lines if line["type"] == "event"]
        missed = [(line["first"], line["last"]) for line in lines if line["type"] == "missed"]
        gone = {number for first, last, _ in lost for number in range(first, last + 1)}
        risked = {number for first, last in self.risked for number in range(first, last + 1)}
        kept = [event["seq"] for event in events]
        numbers = [event[1] for event in told]
        unknown = [event for event in {*told, *self.witness.heard} - truth if event[1] not in gone]
        told_missed = [number for first, last in missed for number in range(first, last + 1)]
        faults = [
            *self.faults,
            *(
                fault
                for fault, found in (
                    ("the subscriber did not catch up", not caught_up),
                    (
                        f"numbers that are neither event nor lost, or both, of {head_seq}",
                        sorted([*kept, *gone]) != list(range(1, head_seq + 1)),
                    ),
                    (f"{len(gone - risked)} events are lost that were in the journal", bool(gone - risked)),
                    (f"{len(truth - set(told))} events were not told", bool(truth - set(told))),
                    (f"{len(told) - len(set(told))} events were told twice", len(told) != len(set(told))),
                    ("the order is wrong", numbers != sorted(numbers)),
                    (f"{len(unknown)} events were published that nobody knows of", bool(unknown)),
                    ("numbers were told as missed that are not lost", not gone.issuperset(told_missed)),
                    (
                        "numbers are lost that were neither told nor told as missed",
                        not gone.issubset({*numbers, *told_missed}),
                    ),
                    (
                        "numbers were used twice",
                        max(Counter(event[1] for event in {*truth, *told}).values(), default=0) > 1,
                    ),
                )
                if found
            ),
        ]
        heard_live = len(gone & {event[1] for event in {*told, *self.witness.heard}})
        line = (
            f"{len(events)} events in the journal, {len(gone)} stated as lost "
            f"({heard_live} of them heard live; killed while the disk was full), "
            f"no number used twice; the subscriber, which was away then, has {len(told)}, in order, "
            f"and was told that {len(told_missed)} are missing"
        )
        return faults, line

    def end(self) -> None:
        """Stop all."""
        for process in (self.subscriber, self.daemon):
            if process.process is not None:
                process.kill()
        self.witness.close()


Trial = Callable[[Cast], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def full(cast: Cast) -> Iterator[None]:
    """No room, until somebody removes something."""
    # a WAL that has been copied back is written over and needs no room: wait until it grows
    assert wait_until(lambda: _fill(cast) or cast.is_failing(), READY_S)
    yield
    cast.disk.free()


def _fill(cast: Cast) -> bool:
    cast.disk.fill()
    return False


@contextlib.contextmanager
def killed_while_full(cast: Cast) -> Iterator[None]:
    """No room, then a kill: what waited in memory is gone, and has to be told as missed to who was away."""
    with full(cast):
        cast.subscriber.kill()
        time.sleep(CALM_S)
        before = cast.status()
        assert before is not None
        cast.daemon.kill()
        cast.disk.fill()
        cast.begin_daemon()
        cast.disk.fill()
        after = cast.status()
        assert after is not None
        cast.risked.append((before.seq - before.journal_pending + 1, after.seq))
        cast.subscriber.begin()
        yield


@contextlib.contextmanager
def read_only(cast: Cast) -> Iterator[None]:
    """Killed, and started again while the disk can only be read."""
    assert wait_until(cast.is_well, READY_S)
    cast.daemon.kill()
    cast.disk.make_read_only()
    cast.begin_daemon()
    yield
    cast.disk.make_read_only(False)


def traced(call: str, error: str, *, when: str = "") -> Trial:
    """A system call fails on the journal's files."""

    @contextlib.contextmanager
    def trial(cast: Cast) -> Iterator[None]:
        assert cast.daemon.process is not None
        files = [cast.journal, cast.journal.with_name("journal.db-wal")]
        with failing_calls(cast.daemon.process.pid, [call], error, files, when=when):
            yield

    return trial


def _last_seq(log: Path) -> int:
    lines = read(log)
    return int(lines[-1].get("seq") or lines[-1].get("last") or 0) if lines else 0


TRIALS: dict[str, Trial] = {
    "disk full": full,
    "disk full, daemon killed and started": killed_while_full,
    "read-only at the start": read_only,
    "strace: pwrite64 gets ENOSPC": traced("pwrite64", "ENOSPC"),
    "strace: pwrite64 gets EIO": traced("pwrite64", "EIO"),
    "strace: fdatasync gets EIO": traced("fdatasync", "EIO"),
    "strace: pwrite64 gets EIO now and then": traced("pwrite64", "EIO", when="2+3"),
}

"""Cables that are pulled, slowed and lossy, between a microphone, a daemon and a subscriber.

Three network namespaces, CURVE all the way. A microphone sends tones in real time; the subscriber must have
every event of the journal exactly once and in order, and the daemon must have every tone but those in sound
that it has told as lost.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.namespaces import Cable, Network, lacks_drop, lacks_network
from tests.torture.machines import HEARTBEAT_S, Machines
from tests.torture.part import Outcome, wait_until
from tests.torture.tones import KNOWN, ROUND_S, Compared, compare
from tests.torture.truth import journalled, read

NAME = "network"
HELP = "pull, slow and shake the cables between microphone, daemon and subscriber"

BUFFER_S = 8.0
CALM_S = 3.0
RECOVERED_S = 60.0
"""When a recovery counts as failed."""
GAP_SLACK_S = 4.0
"""By how much the sound told as lost may exceed the time without a cable beyond the buffer: what is
under way counts as sent."""


@dataclass(frozen=True)
class Trial:
    """A fault, the cables it strikes, and how long."""

    name: str
    length_s: float
    cables: Sequence[str]
    break_it: Callable[[Cable], None]
    mend_it: Callable[[Cable], None]
    loses_sound: bool | None = False
    """Whether sound has to be lost by it; None: it may be."""
    drops: bool = False
    """Whether it takes nft."""


def cut(length_s: float, *cables: str, loses_sound: bool = False) -> Trial:
    """Cables are pulled for a while."""
    names = " and ".join(cables)
    return Trial(f"{names} cut for {length_s:g} s", length_s, cables, Cable.pull, Cable.plug, loses_sound)


def silent(length_s: float, *cables: str, loses_sound: bool = False) -> Trial:
    """Somewhere on the way everything is swallowed for a while, and neither end can know."""
    name = f"{' and '.join(cables)} silent for {length_s:g} s"
    return Trial(name, length_s, cables, lambda cable: cable.drop(100), Cable.mend, loses_sound, True)


def slow(kbit: float, length_s: float, *cables: str, loses_sound: bool | None = False) -> Trial:
    """Cables carry less for a while."""
    name = f"{' and '.join(cables)} at {kbit:g} kbit/s for {length_s:g} s"
    return Trial(name, length_s, cables, lambda cable: cable.slow(kbit), Cable.mend, loses_sound)


def lossy(percent: int, length_s: float, *cables: str) -> Trial:
    """Cables lose packets at random for a while."""
    name = f"{percent} % of packets lost for {length_s:g} s"
    return Trial(name, length_s, cables, lambda cable: cable.drop(percent), Cable.mend, drops=True)


TRIALS = (
    cut(4, "attic"),
    cut(20, "attic", loses_sound=True),
    cut(10, "laptop"),
    silent(4, "attic", "laptop"),
    silent(45, "laptop"),
    slow(400, 15, "attic", "laptop"),
    slow(120, 10, "attic"),  # 16-bit sound needs 256: it backs up, within the sender's buffer
    slow(100, 40, "attic", loses_sound=True),
    slow(4, 20, "laptop"),
    lossy(5, 20, "attic", "laptop"),
    lossy(20, 20, "attic", "laptop"),
    cut(5, "attic", "laptop"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options of its own: each fault has the length that it needs."""


def run(_options: argparse.Namespace) -> Outcome:
    """All trials, one after the other."""
    missing = lacks_network()
    return Outcome(True, f"skipped: {missing}") if missing else torture(TRIALS, BUFFER_S)


def torture(trials: Sequence[Trial], buffer_s: float) -> Outcome:
    """Make the network, do the trials, compare."""
    cannot_drop = lacks_drop()
    skipped = [trial.name for trial in trials if cannot_drop and trial.drops]
    with (
        tempfile.TemporaryDirectory(prefix="tn-") as name,
        Network("lab", ["attic", "laptop"]) as network,
    ):
        machines = Machines(Path(name), network, buffer_s=buffer_s)
        try:
            machines.begin()
            time.sleep(CALM_S)
            reports = [attempt(machines, trial, buffer_s) for trial in trials if trial.name not in skipped]
            faults, told = judge(machines)
        finally:
            machines.end()
    faults += [fault for report in reports for fault in report.faults]
    lines = [report.told for report in reports] + [f"{trial}: skipped, {cannot_drop}" for trial in skipped]
    return Outcome(not faults, "\n         ".join([*faults, told, *lines]))


@dataclass(frozen=True)
class Report:
    """What came of a trial."""

    told: str
    faults: list[str]


def attempt(machines: Machines, trial: Trial, buffer_s: float) -> Report:
    """Break cables for a while, mend them, and see how long it takes until all is well."""
    before = machines.health()
    assert before is not None
    cables = [machines.network.cables[name] for name in trial.cables]
    for cable in cables:
        trial.break_it(cable)
    time.sleep(trial.length_s)
    meanwhile = machines.health()
    dropped = sum(cable.dropped() for cable in cables)
    head_seq = machines.head_seq() or 0
    behind = head_seq - machines.told_seq()
    for cable in cables:
        trial.mend_it(cable)
    sound_s, events_s = recover(machines, head_seq)
    time.sleep(2 * HEARTBEAT_S)  # for the health message that tells of the last loss
    after = machines.health()
    assert after is not None
    lost_s = (after.lost_samples - before.lost_samples) / 16_000
    gaps = after.gaps - before.gaps
    told = f"{trial.name}: "
    told += f"{dropped} packets lost; " if dropped else ""
    told += f"microphone was {meanwhile.state if meanwhile else 'gone'}, sound is back {_after(sound_s)}, "
    told += f"{lost_s:.1f} s told as lost in {gaps} gap{'' if gaps == 1 else 's'}; "
    told += f"subscriber was {behind} events behind, has them {_after(events_s)}"
    faults = []
    if sound_s is None or events_s is None:
        faults.append(f"{trial.name}: no recovery within {RECOVERED_S:g} s")
    if trial.loses_sound is False and lost_s > 0:
        faults.append(f"{trial.name}: {lost_s:.2f} s of sound are told as lost")
    if trial.loses_sound and trial.break_it is Cable.pull:
        # Less where the system had taken sound for sending before anybody noticed, and brings it afterwards.
        most_s = trial.length_s - buffer_s + GAP_SLACK_S
        if lost_s > most_s or gaps > 1:
            faults.append(
                f"{trial.name}: {lost_s:.1f} s lost in {gaps} gaps, {most_s:g} s in one were expected"
            )
    return Report(told, faults)


def recover(machines: Machines, head_seq: int) -> tuple[float | None, float | None]:
    """After how many seconds sound is up to date, and the subscriber has what it could not get."""
    began_s, began_utc_s = time.monotonic(), time.time()
    sound_s: float | None = None
    events_s: float | None = None

    def both() -> bool:
        nonlocal sound_s, events_s
        passed_s = time.monotonic() - began_s
        if sound_s is None and machines.is_heard(began_utc_s + HEARTBEAT_S):
            sound_s = passed_s
        if events_s is None and machines.told_seq() >= head_seq:
            events_s = passed_s
        return sound_s is not None and events_s is not None

    wait_until(both, RECOVERED_S)
    return sound_s, events_s


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {seconds:.1f} s"


def judge(machines: Machines) -> tuple[list[str], str]:
    """Compare what the subscriber has with the journal, and the journal with the tones."""
    health, head_seq = machines.health(), machines.head_seq() or 0
    assert health is not None
    complete = wait_until(lambda: machines.told_seq() >= head_seq, RECOVERED_S)
    truth, unkept = journalled(machines.control)
    truth = [event for event in truth if event["seq"] <= head_seq]
    lines = read(machines.log)
    missed = [line for line in lines if line["type"] == "missed"]
    told = [line for line in lines if line["type"] == "event" and line["seq"] <= head_seq]
    lost_s = health.lost_samples / 16_000
    compared = compare(truth)
    faults = [
        fault
        for fault, found in (
            ("the subscriber does not have everything", not complete),
            (f"{len(missed)} times events are told as missed", bool(missed)),
            (f"{len(unkept)} ranges are not in the journal", bool(unkept)),
            ("the subscriber has something else than the journal", told != truth),
            (f"tones and events do not agree: {compared}", not _agree(compared, lost_s, health.gaps)),
        )
        if found
    ]
    at_sender = sum(map(int, re.findall(r"(\d+) samples \([\d.]+ s\) lost", machines.sender.complaints())))
    line = (
        f"{len(truth)} events in the journal, the subscriber has {len(told)}: "
        f"{'exactly these, in order' if told == truth else 'NOT these'}; "
        f"{lost_s:.1f} s of sound told as lost, {health.gaps} times in all "
        f"({at_sender / 16_000:.1f} s of it by the sender on its return), "
        f"{compared.absent} events missing there, {compared.twice} doubled"
    )
    return faults, line


def _agree(compared: Compared, lost_s: float, gaps: int) -> bool:
    """Nothing but what was told as lost is missing; a gap may cut a tone in two."""
    most_absent = len(KNOWN) * (lost_s / ROUND_S + 2 * gaps)
    return compared.absent <= most_absent and compared.twice <= gaps and compared.strange <= 2 * gaps

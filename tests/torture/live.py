"""An hour as it really is: a microphone, the default model, the demo scene again and again in real time.

What each round tells, and with which scores, is held against the same scene replayed from a file with pauses
of any length: where in a row of scores the scene begins is chance there and here, and all that may differ.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from streamer.audio import SAMPLE_RATE_HZ
from streamer.delivery.messages import Event
from tests.support import virtual_microphone
from tests.support.daemon import ROOT, Daemon, run_command
from tests.support.virtual_microphone import VirtualMicrophone
from tests.torture.part import Outcome

NAME = "live"
HELP = "an hour of a real microphone: whether cost, memory or what is heard drift"

RATE_HZ = 48_000
REPLAYED_ROUNDS = 200
"""With 40 the lowest score of a label may still be missing by 0.03."""
PAUSE_MIN_S, PAUSE_MAX_S = 1.5, 3.0
HEARD_S = 1.0
"""So long after the player's end its last word has been told."""
SCORE_MARGIN = 0.02
"""Beyond what was seen in the replayed rounds, which are no more than a sample of all beginnings."""
WARM_S = 1_000.0
"""Until then rings fill and caches warm up: in the first hour the last step came after a quarter of it."""
GROWTH_MAX_MB = 1.0
COST_DRIFT_MAX = 0.15
LOOKS = 12
"""That are told, of those that are made after each round."""
TICKS_A_S = os.sysconf("SC_CLK_TCK")

Scores = dict[str, list[float]]
"""Of each label, the scores with which it was told in one round."""


class Body(NamedTuple):
    """A process at a moment."""

    cpu_s: float
    own_mb: float
    """Memory that no file is behind: other programs on the machine change how much of a file counts."""
    pss_mb: float
    threads: int
    descriptors: int


class Look(NamedTuple):
    """How the daemon and its recorder are after a round."""

    at_s: float
    daemon: Body
    recorder: Body


@dataclass
class Course:
    """What became of the hour."""

    looks: list[Look]
    rounds: list[Scores]
    unplayed: int = 0
    """The player failed, or came late."""
    ended_by: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument(
        "--live-hours", type=float, default=1.0, metavar="H", help="of the live part (%(default)g)"
    )


def run(options: argparse.Namespace) -> Outcome:
    """Listen for as long as was asked for."""
    missing = virtual_microphone.available()
    if missing:
        return Outcome(True, f"skipped: {missing}")
    return torture(3600 * options.live_hours, options.seed)


def torture(length_s: float, seed: int, replayed: int = REPLAYED_ROUNDS) -> Outcome:
    """So much sound in real time; the seed chooses the pauses."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="tl-") as name:
        folder = Path(name)
        scene = write_scene(folder / "scene.wav")
        expected = replay(folder, scene, rng, replayed)
        course, ending = live(folder, length_s, rng)
    return judge(course, expected, ending)


# -- what is to be heard -------------------------------------------------------------------------------


def write_scene(path: Path) -> np.ndarray:
    """The demo scene at the microphone's rate, as it is played."""
    sound, rate_hz = soundfile.read(ROOT / "streamer/assets/demo.ogg", dtype="float32")
    assert rate_hz == SAMPLE_RATE_HZ
    soundfile.write(path, soxr.resample(sound, rate_hz, RATE_HZ), RATE_HZ, subtype="PCM_16")
    played, _ = soundfile.read(path, dtype="int16")
    return np.asarray(played)


def replay(folder: Path, scene: np.ndarray, rng: random.Random, rounds: int) -> list[Scores]:
    """What the same model tells of so many rounds in a file."""
    begins, pieces, at = [], [], 0
    for _ in range(rounds):
        pause = np.zeros(round(rng.uniform(PAUSE_MIN_S, PAUSE_MAX_S) * RATE_HZ), np.int16)
        begins.append((at + len(pause)) / RATE_HZ)
        pieces += [pause, scene]
        at += len(pause) + len(scene)
    soundfile.write(folder / "rounds.wav", np.concatenate(pieces), RATE_HZ, subtype="PCM_16")
    done = run_command("replay", str(folder / "rounds.wav"), models=ROOT / "models", timeout_s=3_600)
    assert done.returncode == 0, done.stderr
    told: list[Scores] = [{} for _ in begins]
    for event in map(json.loads, done.stdout.splitlines()):
        if event["phase"] != "end":
            number = int(np.searchsorted(begins, event["onset_s"], "right")) - 1
            told[number].setdefault(event["label"], []).append(event["score"])
    return told


# -- what is heard -------------------------------------------------------------------------------------


def live(folder: Path, length_s: float, rng: random.Random) -> tuple[Course, str]:
    """Rounds, one after another, through a microphone; and what the daemon says of its losses at the end."""
    course = Course([], [])
    with VirtualMicrophone(folder, RATE_HZ) as server:
        own = {name: text for name, text in server.environment().items() if os.environ.get(name) != text}
        arguments = ("--device", "virtmic", "--rate", str(RATE_HZ))
        models = ROOT / "models"
        with Daemon(*arguments, models=models, environment=own, model="default", heartbeat_s=2.0) as daemon:
            daemon.hear_health(lambda health: health.state == "listening")
            began_s = time.monotonic()
            while time.monotonic() - began_s < length_s and not course.ended_by:
                _play_round(daemon, server, folder / "scene.wav", rng, course)
                if daemon.process.poll() is None:
                    course.looks.append(_look(daemon, began_s))
                else:
                    course.ended_by = f"the daemon ended: {daemon.stderr[-500:]}"
            return course, _ending(daemon)


def _play_round(
    daemon: Daemon, server: VirtualMicrophone, wave: Path, rng: random.Random, course: Course
) -> None:
    quiet_s = rng.uniform(PAUSE_MIN_S, PAUSE_MAX_S) - HEARD_S
    _receive(daemon, quiet_s)  # nothing is to be heard in it: what is, counts for the round
    begun = len(daemon.records)
    player = server.play(wave, latency_ms=2_000)
    while player.poll() is None:
        _receive(daemon, 0.5)
    _receive(daemon, HEARD_S)
    if player.returncode:
        course.unplayed += 1
        return
    scores: Scores = {}
    for record in daemon.records[begun:]:
        if isinstance(record, Event) and record.phase != "end":
            scores.setdefault(record.label, []).append(record.score)
    course.rounds.append(scores)
    del daemon.records[:begun]


def _receive(daemon: Daemon, for_s: float) -> None:
    deadline_s = time.monotonic() + for_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        record = daemon.subscriber.receive(left_s)
        if record is not None:
            daemon.records.append(record)


def _look(daemon: Daemon, began_s: float) -> Look:
    pid = daemon.process.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return Look(time.monotonic() - began_s, body_of(pid), body_of(int(child)))


def body_of(pid: int) -> Body:
    """As the system sees it."""
    place = Path(f"/proc/{pid}")
    fields = (place / "stat").read_text("ascii").rpartition(")")[2].split()
    memory = (place / "smaps_rollup").read_text("ascii")
    pss_kb, anonymous_kb, shared_kb = (
        int(memory.partition(f"\n{name}:")[2].split()[0]) for name in ("Pss", "Pss_Anon", "Pss_Shmem")
    )
    return Body(
        (int(fields[11]) + int(fields[12])) / TICKS_A_S,
        (anonymous_kb + shared_kb) / 1_024,
        pss_kb / 1_024,
        len(list((place / "task").iterdir())),
        len(os.listdir(place / "fd")),
    )


def _ending(daemon: Daemon) -> str:
    """What it lost, and how it ended; "" where all is well."""
    if daemon.process.poll() is not None:
        return f"exit status {daemon.process.returncode}"
    status = daemon.stop()
    last = daemon.hear_final()
    wrong = [f"exit status {status}"] if status else []
    if last.lost_samples or last.gaps or last.overruns:
        wrong.append(f"lost {last.lost_samples} samples, {last.gaps} gaps, {last.overruns} overruns")
    wrong += [line for line in daemon.stderr.splitlines() if " WARNING" in line or "Traceback" in line][:3]
    return "; ".join(wrong)


# -- judgement -----------------------------------------------------------------------------------------


def judge(course: Course, expected: Sequence[Scores], ending: str) -> Outcome:
    """The hour against the replayed rounds, and its end against its beginning."""
    looks, length_s = course.looks, course.looks[-1].at_s if course.looks else 0.0
    warm = [look for look in looks if look.at_s >= min(WARM_S, length_s / 3)]
    if len(warm) < 4 or course.ended_by:
        return Outcome(False, f"{course.ended_by or ending or 'too short'}; {len(looks)} rounds")
    others = [fault for scores in course.rounds if (fault := differs(scores, expected))]
    growth_mb = [last.own_mb - first.own_mb for first, last in zip(warm[0][1:], warm[-1][1:], strict=True)]
    more = [
        max(body.threads - first.threads, body.descriptors - first.descriptors)
        for first, last in zip(warm[0][1:], warm[-1][1:], strict=True)
        for body in (last,)
    ]
    early, late = halves(costs(warm))
    faults = [
        fault
        for fault, found in (
            (ending, ending),
            (f"{len(others)} rounds differ: {'; '.join(others[:3])}", others),
            (f"{course.unplayed} rounds were not played", course.unplayed > len(course.rounds) / 20),
            ("memory grew by {:.2f} and {:.2f} MB".format(*growth_mb), max(growth_mb) > GROWTH_MAX_MB),
            ("threads or descriptors grew", max(more) > 0),
            ("the cost drifted", late / early - 1 > COST_DRIFT_MAX),
        )
        if found
    ]
    return Outcome(not faults, "; ".join([*faults, figures(course, warm, expected)]))


def differs(scores: Scores, expected: Sequence[Scores]) -> str:
    """How a round differs from all that may be; "" where it does not."""
    counts = {label: len(found) for label, found in scores.items()}
    if counts not in [{label: len(found) for label, found in other.items()} for other in expected]:
        return f"told {counts}"
    for label, found in scores.items():
        least, most = spread(expected, label)
        if min(found) < least - SCORE_MARGIN or max(found) > most + SCORE_MARGIN:
            return f"{label} {min(found):.3f} to {max(found):.3f}, not {least:.3f} to {most:.3f}"
    return ""


def spread(rounds: Sequence[Scores], label: str) -> tuple[float, float]:
    """The least and the highest score of a label in all rounds."""
    found = [score for scores in rounds for score in scores.get(label, [])]
    return min(found), max(found)


def costs(looks: Sequence[Look]) -> list[float]:
    """Processor time of daemon and recorder for a second of sound, in ms, from look to look."""
    times_s = [(look.at_s, look.daemon.cpu_s + look.recorder.cpu_s) for look in looks]
    pairs = itertools.pairwise(times_s)
    return [1e3 * (after[1] - before[1]) / (after[0] - before[0]) for before, after in pairs]


def halves(values: Sequence[float]) -> tuple[float, float]:
    """The first and the second half, by their lower quartiles: other work on the machine only adds."""
    middle = len(values) // 2
    return float(np.quantile(values[:middle], 0.25)), float(np.quantile(values[middle:], 0.25))


def figures(course: Course, warm: Sequence[Look], expected: Sequence[Scores]) -> str:
    """What was found, in words."""
    told = sum(len(found) for scores in course.rounds for found in scores.values())
    sets = Counter(json.dumps(sorted(scores)) for scores in course.rounds)
    labels = sorted({label for scores in expected for label in scores})
    widest = {
        name: max((high - low, label) for label in labels for low, high in [spread(rounds, label)])
        for name, rounds in (("live", course.rounds), ("replayed", expected))
    }
    third = max(1, len(course.rounds) // 3)
    drift = max(
        abs(_mean(course.rounds[-third:], label) - _mean(course.rounds[:third], label)) for label in labels
    )
    daemon, recorder = (_told([look[which] for look in warm]) for which in (1, 2))
    shown = [warm[round(at)] for at in np.linspace(0, len(warm) - 1, min(LOOKS, len(warm)))]
    print(_table(shown), file=sys.stderr)
    early, late = halves(costs(warm))
    return (
        f"{course.looks[-1].at_s / 3600:.2f} h, {len(course.rounds)} rounds, {told} events, "
        f"{max(sets.values())} rounds with the same labels; scores of one label at most "
        f"{widest['live'][0]:.3f} apart ({widest['live'][1]}), replayed with {len(expected)} other pauses "
        f"{widest['replayed'][0]:.3f} ({widest['replayed'][1]}); the mean of the last third at most "
        f"{drift:.4f} from that of the first; daemon {daemon}; recorder {recorder}; "
        f"{early:.2f} and {late:.2f} ms of processor time a second in the first and the second half"
    )


def _mean(rounds: Sequence[Scores], label: str) -> float:
    found = [score for scores in rounds for score in scores.get(label, [])]
    return float(np.mean(found)) if found else 0.0


def _told(bodies: Sequence[Body]) -> str:
    first, last = bodies[0], bodies[-1]
    return (
        f"{first.own_mb:.2f} to {last.own_mb:.2f} MB of its own "
        f"(PSS {first.pss_mb:.1f} to {last.pss_mb:.1f}), "
        f"threads {first.threads} to {last.threads}, descriptors {first.descriptors} to {last.descriptors}"
    )


def _table(looks: Sequence[Look]) -> str:
    lines = ["  after s  daemon CPU s  own MB  PSS MB  recorder CPU s  own MB  PSS MB"]
    lines += [
        f"{at_s:9.0f} {daemon.cpu_s:13.2f} {daemon.own_mb:7.2f} {daemon.pss_mb:7.1f}"
        f" {recorder.cpu_s:15.2f} {recorder.own_mb:7.2f} {recorder.pss_mb:7.1f}"
        for at_s, daemon, recorder in looks
    ]
    return "\n".join(lines)

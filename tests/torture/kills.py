"""Kills -9 of the daemon and of subscribers at random moments, over a stream of events that are known.

A daemon listens to tones on its standard input. Two subscribers follow it: one whose output is its place,
which must have each event exactly once, and `streamer subscribe --place`, which may print again the one line
that it was killed over. What they have is compared with each other, with the tones, with the journal, and
with what a bare ZeroMQ socket heard, which is the one part here that knows nothing of our client.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import zmq

from streamer.client import Control, ControlError
from tests.support.tiny_bundle import make_tiny_bundle
from tests.support.tones import make_tone_scene
from tests.torture.part import Outcome, Process, wait_until
from tests.torture.tones import KNOWN, ROUND_S, TOLERANCE_S, TONES
from tests.torture.truth import Told, identity, journalled, read

NAME = "kills"
HELP = "kill daemon and subscribers, and see whether an event is lost or doubled"

SPEED = 5.0
"""The tones are played so much faster than they sound."""
READY_S = 60.0
SETTLE_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="kills in all (200)")


def run(options: argparse.Namespace) -> Outcome:
    """Kill, and compare."""
    return torture(options.kills, options.seed)


class Player:
    """Plays the tones to each life of a daemon, from the beginning."""

    def __init__(self, daemon: Process) -> None:
        self._daemon = daemon
        scene = make_tone_scene(16_000, ROUND_S, TONES)
        self._round = (scene.samples * 32_767).astype("<i2")
        self._silent = threading.Event()

    def begin(self) -> None:
        """A new life has begun."""
        process = self._daemon.process
        assert process is not None
        threading.Thread(target=self._play, args=(process,), name="player", daemon=True).start()

    def be_silent(self) -> None:
        """No more events."""
        self._silent.set()

    def _play(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        piece = len(self._round) // 12
        due_s = time.monotonic()
        try:
            while process.poll() is None:
                for start in range(0, len(self._round), piece):
                    sound = self._round[start : start + piece]
                    if self._silent.is_set():
                        sound = np.zeros_like(sound)
                    process.stdin.write(sound.tobytes())
                    process.stdin.flush()
                    due_s += piece / 16_000 / SPEED
                    time.sleep(max(0.0, due_s - time.monotonic()))
        except (BrokenPipeError, ValueError):  # it was killed
            return


class Witness:
    """A bare socket that hears what is published, if it is connected."""

    def __init__(self, endpoint: str) -> None:
        self.heard: set[tuple[str, int, str, str, str]] = set()
        self._endpoint = endpoint
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="witness")
        self._thread.start()

    def _listen(self) -> None:
        context = zmq.Context()
        with context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.subscribe(b"keyword.")
            socket.subscribe(b"sound.")
            socket.connect(self._endpoint)
            while not self._stop.is_set():
                if socket.poll(100):
                    self.heard.add(identity(msgspec.json.decode(socket.recv_multipart()[1])))
        context.term()

    def close(self) -> None:
        """Listen no more."""
        self._stop.set()
        self._thread.join()


def torture(kills: int, seed: int, *, pause_s: float = 1.5) -> Outcome:
    """So many kills, at moments that the seed chooses."""
    began_s = time.monotonic()
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="tk-") as name:
        folder = Path(name)
        cast = Cast(folder)
        try:
            cast.begin()
            for _ in range(kills):
                cast.kill_one(rng, pause_s)
            settled = cast.settle()
            faults, told = cast.judge()
        finally:
            cast.end()
        if not settled:
            faults.insert(0, f"the subscribers did not catch up in {SETTLE_S:g} s")
    line = f"{told}; seed {seed}, {time.monotonic() - began_s:.0f} s"
    return Outcome(not faults, "; ".join([*faults, line]))


class Cast:
    """Daemon, subscribers and witness."""

    def __init__(self, folder: Path) -> None:
        models = folder / "models"
        make_tiny_bundle(models / "tiny")
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        self.endpoint = f"ipc://{runtime}/events.sock"
        self.control = f"ipc://{runtime}/control.sock"
        listen = ["run", "--no-live", "--model", "tiny", "--source", "stdin", "--log-level", "warning"]
        listen += ["--runtime-dir", str(runtime), "--publish", self.endpoint, "--heartbeat", "0.5"]
        listen += ["--journal", str(folder / "state" / "journal.db")]
        self.daemon = Process(["streamer", *listen], folder, "daemon", models=models, stdin=subprocess.PIPE)
        self.log = folder / "consumer.log"
        self.exact = Process(["tests.torture.consumer", self.endpoint, str(self.log)], folder, "consumer")
        follow = ["subscribe", "--connect", self.endpoint, "--json", "--since", "0"]
        self.printing = Process(["streamer", *follow, "--place", str(folder / "place")], folder, "subscribe")
        self.player = Player(self.daemon)
        self.witness = Witness(self.endpoint)

    def begin(self) -> None:
        """Start all."""
        self._begin_daemon()
        self.exact.begin()
        self.printing.begin()

    def _begin_daemon(self) -> None:
        self.daemon.begin()
        self.player.begin()

    def kill_one(self, rng: random.Random, pause_s: float) -> None:
        """Wait for a random time, kill one of them, and start it again."""
        victim = rng.choices([self.daemon, self.exact, self.printing], [5, 4, 3])[0]
        # most kills of the daemon hit it at work, some while it is starting
        if victim is self.daemon and rng.random() < 0.8 and not wait_until(self.answers, READY_S):
            raise RuntimeError(f"the daemon does not start: {self.daemon.complaints()}")
        time.sleep(rng.uniform(0.0, pause_s))
        victim.kill()
        time.sleep(rng.choice([0.0, rng.uniform(0.0, pause_s / 3)]))
        if victim is self.daemon:
            self._begin_daemon()
        else:
            victim.begin()

    def answers(self) -> bool:
        """Whether the daemon is there."""
        return self._seq() is not None

    def _seq(self) -> int | None:
        try:
            with Control(self.control, timeout_s=0.5) as control:
                return control.ping().seq
        except ControlError:
            return None

    def settle(self) -> bool:
        """No more kills: hear a few more events, then silence, until both subscribers have everything."""
        wait_until(self.answers, READY_S)
        time.sleep(2.0)
        self.player.be_silent()
        time.sleep(2 * ROUND_S / SPEED + 1.0)

        def complete() -> bool:
            head = self._seq()
            return head is not None and all(
                lines and lines[-1].get("seq") == head for lines in (read(self.log), read(self.printing.out))
            )

        return wait_until(complete, SETTLE_S)

    def judge(self) -> tuple[list[str], str]:
        """What is wrong, and the figures."""
        truth = [identity(event) for event in journalled(self.control)[0]]
        exact, printed = read(self.log), read(self.printing.out)
        told = [identity(line) for line in exact if line["type"] == "event"]
        seen = [identity(line) for line in printed if line["type"] == "event"]
        missed = sum(line["type"] == "missed" for line in (*exact, *printed))
        again = sum(one == other for one, other in pairwise(seen))
        once = [one for one, other in zip(seen, [None, *seen], strict=False) if one != other]
        lost = len(set(truth) - set(told)) + len(set(truth) - set(seen))
        doubled = sum((Counter(told) - Counter(set(told))).values())
        unheard = self.witness.heard - set(truth)
        faults = [
            f"{count} {what}"
            for count, what in (
                (lost, "events lost"),
                (doubled, "events doubled"),
                (missed, "told as missed"),
                (len(unheard), "events published that are not in the journal"),
                (max(0, again - self.printing.kills), "lines more printed again than there were kills"),
                (int(told != truth), "wrong order in the consumer's log"),
                (int(once != truth), "wrong order in what was printed"),
                (
                    int([event[1] for event in truth] != list(range(1, len(truth) + 1))),
                    "holes in the numbers",
                ),
                (self._unknown(exact), "events that the tones do not account for"),
            )
            if count
        ]
        runs = len({event[2] for event in truth})
        line = (
            f"{self.daemon.kills + self.exact.kills + self.printing.kills} kills -9 "
            f"(daemon {self.daemon.kills}, subscriber {self.exact.kills}, "
            f"streamer subscribe {self.printing.kills}) over {len(truth)} known events in {runs} runs: "
            f"{lost} lost, {doubled} doubled, order {'kept' if told == truth else 'broken'}; "
            f"{again} lines of streamer subscribe came again after a kill; "
            f"{len(self.witness.heard)} heard by a bare socket"
        )
        return faults, line

    def _unknown(self, events: list[Told]) -> int:
        """Events that are not what was played: each run begins with the first tone and leaves none out."""
        wrong, place = 0, Counter[str]()
        for event in events:
            if event["type"] == "event":
                number = place[event["run"]]
                place[event["run"]] += 1
                label, phase, onset_s = KNOWN[number % len(KNOWN)]
                due_s = number // len(KNOWN) * ROUND_S + onset_s
                right = (event["label"], event["phase"]) == (label, phase)
                wrong += not (right and abs(event["onset_s"] - due_s) <= TOLERANCE_S)
        return wrong

    def end(self) -> None:
        """Stop all."""
        for process in (self.exact, self.printing, self.daemon):
            if process.process is not None:
                process.kill()
        self.witness.close()

"""Nonsense for everything that reads what others send: requests, remote microphones, the client's books.

Each input is handed to the real code; what may happen is an error reply, a refusal or nothing. An exception
that gets out, an input that takes long, memory that grows, or a daemon that no longer answers is a failure.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from streamer.client import Control, ControlError
from streamer.delivery.requests import RequestError, decode_request
from tests.torture.fuzz_books import Books
from tests.torture.fuzz_inputs import REQUESTS, Senders
from tests.torture.mutate import Mutator
from tests.torture.part import Outcome, Process, own_rss_mb, quiet, wait_until

NAME = "fuzz"
HELP = "nonsense for control, ingest and the client's parser"

SHARES = {"client": 0.45, "ingest": 0.3, "requests": 0.2, "control socket": 0.05}
WARM = 0.2
"""The share of inputs after which memory is measured first: caches and pools are filled by then."""
GROWTH_MAX_MB = 16.0
INPUT_MAX_S = 1.0
"""Processor time for one input."""
CONNECTION_INPUTS = 80
"""Then another connection is made: a client that asks too much is refused before its request is read."""
START_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument(
        "--inputs", type=int, default=1_000_000, metavar="N", help="inputs in all (1,000,000)"
    )


def run(options: argparse.Namespace) -> Outcome:
    """Feed everything."""
    with quiet():
        return _run(options)


def _run(options: argparse.Namespace) -> Outcome:
    faults: list[str] = []
    told: list[str] = []
    for number, (name, share) in enumerate(SHARES.items()):
        count = max(1, round(options.inputs * share))
        rng = random.Random(options.seed * 10 + number)
        if name == "control socket":
            fault, grown_mb, rate_hz = _storm(count, rng)
        else:
            fault, grown_mb, rate_hz = _feed(count, TARGETS[name](rng))
        if grown_mb > GROWTH_MAX_MB:
            fault = fault or f"memory grew by {grown_mb:.1f} MB"
        if fault:
            faults.append(f"{name}: {fault}")
        told.append(f"{name} {count} ({rate_hz:.0f} a second, memory {grown_mb:+.1f} MB)")
    return Outcome(
        not faults, "; ".join([*faults, f"{options.inputs} inputs: {', '.join(told)}; seed {options.seed}"])
    )


def _requests(rng: random.Random) -> Callable[[], None]:
    mutate = Mutator(rng)

    def feed() -> None:
        try:
            decode_request(mutate(rng.choice(REQUESTS)))
        except RequestError:
            return

    return feed


TARGETS: dict[str, Callable[[random.Random], Callable[[], None]]] = {
    "client": lambda rng: Books(rng).feed,
    "ingest": lambda rng: Senders(rng).feed,
    "requests": _requests,
}


def _feed(count: int, feed: Callable[[], None]) -> tuple[str, float, float]:
    """The first fault, growth of memory in MB, inputs a second."""
    began_s, warm_mb = time.monotonic(), 0.0
    for number in range(count):
        if number == int(count * WARM):
            warm_mb = own_rss_mb()
        input_s = time.thread_time()
        try:
            feed()
        except Exception as error:
            return f"input {number}: {type(error).__name__}: {error}", 0.0, 0.0
        input_s = time.thread_time() - input_s
        if input_s > INPUT_MAX_S:
            return f"input {number} took {input_s:.1f} s", 0.0, 0.0
    return "", own_rss_mb() - warm_mb, count / (time.monotonic() - began_s)


def _storm(count: int, rng: random.Random) -> tuple[str, float, float]:
    """The same through the socket of a daemon, which answers honest requests all the while."""
    with tempfile.TemporaryDirectory(prefix="tf-") as name:
        folder = Path(name)
        folder.chmod(0o700)
        address = f"ipc://{folder}/control.sock"
        daemon = Process(["tests.torture.event_source", str(folder), "20"], folder, "source")
        try:
            daemon.begin()
            if not wait_until(lambda: _answers(address), START_S):
                return f"the daemon does not start: {daemon.complaints()}", 0.0, 0.0
            return _throw(count, Mutator(rng), address, daemon)
        finally:
            daemon.kill()


def _throw(count: int, mutate: Mutator, address: str, daemon: Process) -> tuple[str, float, float]:
    began_s, warm_mb, thrown = time.monotonic(), 0.0, 0
    with zmq.Context() as context:
        while thrown < count:
            if thrown >= count * WARM and not warm_mb:
                warm_mb = daemon.rss_mb()
            with context.socket(zmq.DEALER) as socket:
                socket.setsockopt(zmq.LINGER, 1_000)
                socket.setsockopt(zmq.SNDTIMEO, 10_000)
                socket.connect(address)
                for _ in range(min(CONNECTION_INPUTS, count - thrown)):
                    socket.send_multipart(mutate.parts([mutate.rng.choice(REQUESTS)]) or [b""])
                    thrown += 1
                socket.poll(1_000)  # at least one is answered, or the connection was closed
            if not _answers(address):
                return f"the daemon no longer answers after {thrown} inputs: {daemon.complaints()}", 0.0, 0.0
    if "Traceback" in daemon.complaints():
        return daemon.complaints(), 0.0, 0.0
    return "", daemon.rss_mb() - warm_mb, count / (time.monotonic() - began_s)


def _answers(address: str) -> bool:
    try:
        with Control(address, timeout_s=10.0) as control:
            return bool(control.ping().run)
    except ControlError:
        return False

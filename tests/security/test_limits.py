"""Token buckets and messages that are told once: against plain models of them, with a clock of our own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from streamer.security.limits import Limiter, Once


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    limiter = Limiter(10, 5, clock=clock)
    assert [limiter.take("a") for _ in range(7)] == [True] * 5 + [False] * 2
    assert limiter.take("b"), "another peer has a bucket of its own"
    clock.now_s += 0.25
    assert [limiter.take("a") for _ in range(4)] == [True, True, False, False]
    clock.now_s += 1e6
    assert [limiter.take("a") for _ in range(6)] == [True] * 5 + [False]


def test_nobody_ever_gets_more_than_his_share(rng: np.random.Generator) -> None:
    clock = Clock()
    limiter = Limiter(3, 7, clock=clock)
    granted: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for _ in range(3000):
        clock.now_s += float(rng.exponential(0.05))
        peer = int(rng.integers(3))
        if limiter.take(peer):
            granted[peer].append(clock.now_s)
    for times in granted.values():
        for first in range(0, len(times), 17):
            for last in range(first, len(times), 13):
                assert last - first + 1 <= 7 + 3 * (times[last] - times[first]) + 1e-6


def test_the_table_has_a_bound_and_new_names_gain_nothing() -> None:
    clock = Clock()
    limiter = Limiter(1, 2, peers_max=10, clock=clock)
    granted = sum(limiter.take(number) for number in range(10_000))
    assert granted == 10 + 2, "each of ten once, and all others together as much as one"
    assert len(limiter) == 11
    clock.now_s += 3  # the buckets are full again: who comes now takes the place of who was forgotten
    assert [limiter.take(f"new {number}") for number in range(10)] == [True] * 10
    assert len(limiter) <= 11


def test_once_a_period_with_the_count_of_the_rest() -> None:
    clock = Clock()
    once = Once(60, clock=clock)
    assert [once.due("a"), once.due("a"), once.due("b"), once.due("a")] == [0, None, 0, None]
    clock.now_s += 61
    assert (once.due("a"), once.due("a"), once.due("b")) == (2, None, 0)


def test_a_flood_of_subjects_is_not_told() -> None:
    clock = Clock()
    once = Once(60, subjects_max=20, clock=clock)
    assert sum(once.due(number) is not None for number in range(10_000)) == 20
    assert len(once) == 20
    clock.now_s += 61
    assert sum(once.due(number) is not None for number in range(10_000, 20_000)) == 20
    assert len(once) == 20


def test_more_files_within_what_the_system_lets() -> None:
    code = (
        "import resource; from streamer.security.limits import allow_files\n"
        "limit = resource.RLIMIT_NOFILE; resource.setrlimit(limit, (200, 1000))\n"
        "allow_files(100); print(resource.getrlimit(limit))\n"
        "allow_files(9999); print(resource.getrlimit(limit))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == ["(300, 1000)", "(1000, 1000)"]

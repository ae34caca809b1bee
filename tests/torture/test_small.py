"""The parts of `make torture` at a small size, so that they work when they are needed."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from tests.support.daemon import ROOT
from tests.torture import cuts, fuzz


def options(seed: int, **more: object) -> argparse.Namespace:
    return argparse.Namespace(seed=seed, **more)


def test_nonsense(request: pytest.FixtureRequest) -> None:
    outcome = fuzz.run(options(request.config.option.seed, inputs=3_000))
    print(outcome.told)  # with the seed; pytest shows it where the test fails
    assert outcome.ok, outcome.told


def test_what_gets_out_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: bytes) -> None:
        if b"limit" in text:
            raise KeyError("limit")

    monkeypatch.setattr(fuzz, "decode_request", broken)
    monkeypatch.setattr(fuzz, "SHARES", {"requests": 1.0})
    outcome = fuzz.run(options(1, inputs=1_000))
    assert not outcome.ok
    assert "requests: input " in outcome.told
    assert "KeyError: 'limit'" in outcome.told


def test_cuts(request: pytest.FixtureRequest) -> None:
    outcome = cuts.run(options(request.config.option.seed, cut_step=7_001))
    assert outcome.ok, outcome.told


def test_a_part_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", "dance"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "no such part: dance; there are kills, senders, stalled, network, disk, cuts, fuzz" in done.stderr

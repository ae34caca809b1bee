"""What all tests share: one seed for everything random, the tiny bundle, a scene of tones."""

from __future__ import annotations

import logging
import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streamer.inference.model import Model, open_model
from tests.support.tiny_bundle import make_tiny_bundle
from tests.support.tones import ToneScene, make_tone_scene


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed", type=int, help="seed of every random test; default: STREAMER_SEED, else another each run"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One number rules the order of the tests (pytest-randomly), hypothesis and our own `rng`."""
    seed = config.getoption("--seed")
    if seed is None:
        seed = int(os.environ.get("STREAMER_SEED") or random.SystemRandom().randrange(2**32))
    config.option.seed = seed
    for option in ("randomly_seed", "hypothesis_seed"):
        if getattr(config.option, option, None) in {None, "default"}:
            setattr(config.option, option, seed)


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed of this run: {config.option.seed} (repeat it with --seed {config.option.seed})"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers from the run's seed and the test's name: the same whichever tests run beside it."""
    seed = request.config.option.seed
    print(f"--seed {seed}")  # pytest shows it where the test fails
    return np.random.default_rng([seed, zlib.crc32(request.node.nodeid.encode())])


@pytest.fixture(scope="session", autouse=True)
def state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test touches the journal of whoever runs it, and those of two processes do not meet."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A command that ran in this process has set the log up: pytest would catch every line twice."""
    logger = logging.getLogger("streamer")
    yield
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the hand-made bundle of tone detectors; not to be written to."""
    return make_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_model(tiny_bundle: Path) -> Model:
    """The tiny bundle, opened with onnxruntime."""
    return open_model(tiny_bundle)


@pytest.fixture(scope="session")
def tone_scene() -> ToneScene:
    """Six seconds at 16 kHz with tones that the tiny bundle knows."""
    return make_tone_scene()

"""`streamer bench`: what it tells, whatever the machine's figures are."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from streamer.cli.run import DEMO
from streamer.errors import EXIT_INTERRUPTED
from streamer.inference.model import Model
from streamer.measuring import MOST_STREAMS, Batch, Measuring
from streamer.tuned import TunedModel
from tests.support.daemon import COMMAND, ROOT, clean_environment, run_command

TIMEOUT_S = 60.0


def measuring(model: Model) -> Measuring:
    rules = model.bundle.manifest.labels
    return Measuring([TunedModel(model, rules)], hop_ms=80, sound=DEMO, progress=lambda text: None)


def test_what_it_tells_programs(models: Path) -> None:
    done = run_command("bench", "--json", "--model", "tiny", "--seconds", "1.5", models=models)
    assert done.returncode == 0, done.stderr
    assert "measuring: one stream, in real time" in done.stderr
    told = json.loads(done.stdout)
    assert (told["model"], told["labels"], told["hop_ms"], told["block_ms"]) == ("tiny", 3, 80, 80)
    for calls in (told["unpaced"], told["paced"]):
        assert 0 < calls["p50_ms"] <= calls["p99_ms"]
        assert 0 <= calls["features_ms"] <= calls["cpu_ms"]
    assert told["paced"]["cpu_percent"] < told["unpaced"]["cpu_percent"]
    assert told["memory_mb"] > 10
    tried = {batch["streams"]: batch["busy_percent"] for batch in told["batches"]}
    assert told["streams_fit"] is None or tried[told["streams_fit"]] <= 80


def test_what_it_tells_people(models: Path) -> None:
    done = run_command(
        "bench", "--model", "tiny", "--variant", "onnx", "--seconds", "1", "--hop-ms", "40", models=models
    )
    assert done.returncode == 0, done.stderr
    for said in ("model tiny (onnx), 3 labels, a call for 40 ms", "times real time", "% of a core", " MB"):
        assert said in done.stdout


@pytest.mark.parametrize(
    ("option", "status", "said"),
    [
        (("--seconds", "0"), 2, "seconds above 0"),
        (("--model", "nothing-like-it"), 5, "nothing-like-it"),
        (("--hop-ms", "5"), 3, "engine.hop_ms"),
    ],
)
def test_wrong_options(models: Path, option: tuple[str, str], status: int, said: str) -> None:
    done = run_command("bench", *option, models=models)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_known_is_told_when_it_is_interrupted(models: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "bench", "--json", "--model", "tiny", "--seconds", "30"],
        env=clean_environment(models),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:  # up to the second measurement, which would take twelve seconds
                if b"in real time" in line:
                    break
            process.send_signal(signal.SIGINT)
            out, rest = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert (process.returncode, b"Traceback" in rest) == (EXIT_INTERRUPTED, False)
    told = json.loads(out)
    assert told["unpaced"]["times_real_time"] > 0
    assert (told["paced"], told["batches"], told["streams_fit"]) == (None, [], None)


def test_the_search_for_as_many_as_fit(
    tiny_model: Model, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """With a machine that is made up: it ends, within a sixteenth of the truth, and never tries twice."""
    for capacity in (0, 1, 2, 3, *rng.integers(4, 10 * MOST_STREAMS, 20)):
        found = measuring(tiny_model)
        while count := found._next_count():
            assert count not in {batch.streams for batch in found.report.batches}
            found.report.batches.append(Batch(count, 50.0 if count <= capacity else 90.0, 50.0))
            assert len(found.report.batches) < 40
        most = found.report.most.streams if found.report.most else 0
        assert most <= capacity
        assert most >= min(capacity - max(1, capacity // 15), MOST_STREAMS)

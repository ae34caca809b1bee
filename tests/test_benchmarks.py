"""`make bench` in miniature: its parts measure, and its report tells what they measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import alignment, files, growth, latency, paced, peer, report, start, streams
from benchmarks.contestants import PLAIN, replay_command
from benchmarks.daemon import Message
from benchmarks.part import Bench, in_turns, percentile
from benchmarks.processes import Ended, Running, cpu_s, family, memory, run_to_end
from benchmarks.sound import Sound
from streamer.audio import SAMPLE_RATE_HZ
from streamer.cli.run import DEMO
from tests.support.daemon import ROOT
from tests.support.virtual_microphone import available

MACHINE: dict[str, Any] = {
    "time_utc": "2026-01-31 12:00",
    "processor": "abacus",
    "cores": 2,
    "memory_gb": 4.0,
    "kernel": "Linux",
    "python": "3.11",
    "load_before": [0.1, 0.1, 0.1],
    "streamer": "0 (abc)",
    "labels": 29,
    "features": "numpy",
    "packages": {"numpy": "2"},
    "peers": {"pymicro-wakeword": "2.5"},
}
RESULTS: dict[str, Any] = {
    "machine": MACHINE,
    "sound": "noise",
    "quick": False,
    "skipped": {"pocketsphinx": "no wheel for this machine"},
    "parts": {
        "paced": {
            "rows": {
                "streamer, file": {"core_percent": [1.0, 3.0, 2.0], "alone_mb": [50.0], "rss_mb": [60.0]},
                "pymicro-wakeword, fed": {"core_percent": [1.0], "alone_mb": [30.0], "rss_mb": [30.0]},
            }
        },
        "streams": {
            "rows": {
                "senders, 4": {
                    "core_percent": [8.0],
                    "alone_mb": [50.0],
                    "lag_p99_ms": [5.0],
                    "lost_s": [0.0],
                },
                "senders, 104": {
                    "core_percent": [20.0],
                    "alone_mb": [52.0],
                    "lag_p99_ms": [50.0],
                    "lost_s": [0.0],
                },
                "senders at 160 ms, 200": {"core_percent": [20.0], "alone_mb": [52.0], "lag_p99_ms": [5.0]},
                "senders, 1000": {
                    "core_percent": [90.0],
                    "alone_mb": [700.0],
                    "lag_p99_ms": [500.0],
                    "lost_s": [0.0],
                },
                "files, 4": {"core_percent": [8.0], "alone_mb": [50.0], "lag_p99_ms": [5.0], "lost_s": [0.0]},
            }
        },
        "growth": {
            "rows": {
                "hop, 80 ms": {"core_percent": [1.0]},
                "hop, 40 ms": {"core_percent": [2.0]},
                "labels, 1": {"core_percent": [1.0], "alone_mb": [50.0]},
                "labels, 29 (default)": {"core_percent": [1.5], "alone_mb": [51.0]},
            },
            "block_ms": {"80": 90, "40": 30},
        },
    },
}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The least there is."""
    return Bench(sound=Sound(None, 60.0, tmp_path), folder=tmp_path, rounds=1, scale=0.01)


def figures(found: dict[str, Any], row: str) -> dict[str, float]:
    return {name: values[0] for name, values in found["rows"][row].items()}


@pytest.fixture
def no_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in (paced, latency, growth):
        monkeypatch.setattr(part, "available", lambda: "not today")


# -- parts -----------------------------------------------------------------------------------------


def test_files(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands are run; what they cost is given, since files this short cost what chance will have."""
    costs_s = iter([0.5, 0.75] * 9)

    def ended(*arguments: Any, **more: Any) -> Any:
        return replace(run_to_end(*arguments, **more), cpu_s=next(costs_s))

    monkeypatch.setattr(files, "run_to_end", ended)
    found = figures(files.run(bench), "streamer")
    assert found["times_real_time"] == (found["sound_s"] - files.SHORT_S) / 0.25
    assert found["times_real_time_with_start"] == found["sound_s"] / 0.75
    assert found["start_cpu_s"] == 0.5


def test_files_that_cost_nothing_are_no_figure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "run_to_end", lambda *_, **more: Ended(0.5, 0.5, b""))
    with pytest.raises(RuntimeError, match="no more than a short one"):
        files._measure(bench, lambda path: ["true"], 60.0, 0)()


def test_start(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "TURNS", 1)
    found = start.run(bench)
    assert list(found["rows"]) == [
        "streamer --help",
        "streamer replay, first event",
        "streamer run, first scores",
    ]
    assert figures(found, "streamer run, first scores")["of_it_sound_ms"] == pytest.approx(97.5)


@pytest.mark.usefixtures("no_microphone")
def test_a_live_stream(bench: Bench) -> None:
    found = figures(paced.run(bench), "streamer, file")
    assert 0 < found["core_percent"] < 100
    assert 0 < found["pss_mb"] <= found["rss_mb"] + 0.1
    assert bench.skipped == {"virtual microphone": "not today"}


@pytest.mark.usefixtures("no_microphone")
def test_latency_of_a_pipe(bench: Bench) -> None:
    found = figures(latency.run(bench), "pipe")
    assert 0 < found["scores_p50_ms"] <= found["scores_p99_ms"] <= found["scores_max_ms"]
    assert found["scores_count"] > 30


@pytest.mark.slow
@pytest.mark.virtmic
@pytest.mark.skipif(available() is not None, reason=str(available()))
@pytest.mark.parametrize("part", [paced, latency])
def test_a_microphone(bench: Bench, part: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced, "PLAYING_S", 0.3)
    monkeypatch.setattr(paced, "RATES_HZ", (48_000,))
    rows = part.run(bench)["rows"]
    assert any("microphone" in row for row in rows)
    for row, values in rows.items():
        if row.startswith("streamer, microphone"):
            assert values["processes"][0] >= 2


@pytest.mark.slow
@pytest.mark.usefixtures("no_microphone")
def test_growth(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    monkeypatch.setattr(growth, "LABELS", (2,))
    monkeypatch.setattr(growth, "SUBSCRIBERS", (0, 3))
    rows = growth.run(bench)["rows"]
    assert list(rows) == ["labels, 2", "labels, 29 (default)", "subscribers, 0", "subscribers, 3"]


@pytest.mark.slow
def test_streams(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "COUNTS", (3,))
    monkeypatch.setattr(streams, "MORE", (4,))
    found = streams.run(bench)
    for row, count in (("files, 3", 3), ("senders, 3", 3), ("files at 160 ms, 4", 4)):
        told = figures(found, row)
        assert (told["streams"], told["lost_s"]) == (count, 0)
    assert figures(found, "senders, 3")["unacknowledged_s"] == 0
    assert figures(found, "senders, 3")["scores_count"] > 30


def test_what_fails_is_told_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> dict[str, float]:
        raise RuntimeError("the dog ate it")

    rows = in_turns("part", 3, {"broken": broken, "whole": lambda: {"x": 1.0}})
    assert rows == {"broken": {}, "whole": {"x": [1.0, 1.0, 1.0]}}
    assert capsys.readouterr().err.count("the dog ate it") == 1


def test_a_part_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "dance"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "no such part: dance; there are files, paced, start, latency, growth, streams" in done.stderr


# -- what they are made of ---------------------------------------------------------------------------


def test_processor_time_and_memory_of_a_family() -> None:
    program = (
        "import subprocess, sys\n"
        "inner = 'x = bytearray(50_000_000); print(sum(range(3_000_000)), flush=True); input()'\n"
        "subprocess.run([sys.executable, '-c', inner])\n"
    )
    with Running([sys.executable, "-c", program], os.environ, stdin=subprocess.PIPE) as running:
        running.line()
        pids = family(running.process.pid)
        assert len(pids) == 2
        assert cpu_s(pids) > cpu_s(pids[:1]) > 0
        both, outer = memory(pids), memory(pids[:1])
        assert both.rss_mb > both.alone_mb > outer.alone_mb + 47
        assert both.pss_mb <= both.alone_mb
        assert running.process.stdin is not None
        running.process.stdin.close()
        running.process.wait(10)


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="status 3: the dog ate it"):
        run_to_end(
            [sys.executable, "-c", "import sys; sys.stderr.write('the dog ate it'); sys.exit(3)"], os.environ
        )


def test_where_a_recording_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of a scene from a place on find themselves at that place."""
    monkeypatch.setattr(alignment, "STEPS", (240,))
    sound = Sound(DEMO, 14.0, tmp_path)
    begun = 2 * SAMPLE_RATE_HZ + 160 + 240  # on the grid that is looked at
    late = Sound(None, 0.1, tmp_path)
    late.samples = sound.samples[begun:]
    path = Sound.file(late, 9.0, SAMPLE_RATE_HZ)
    out = tmp_path / "scores.npz"
    run_to_end([*replay_command(path), "--scores", str(out)], PLAIN)
    with np.load(out) as scores:
        record = {"rows": len(scores["scores"]), "row_s": float(scores["frame_s"]), "first_s": 0.0075}
        frames = [Message(0.0, "frame.x", record, scores["scores"].astype("<f2").tobytes())]
    assert alignment.find_start(sound.file(14.0), frames, tmp_path) == begun


def test_sound_of_a_pack(tmp_path: Path) -> None:
    """Only its speech, in one order, again and again until it is long enough."""
    import soundfile

    for name, value in (("a", 0.25), ("b", 0.5), ("dog", 0.75)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(8_000, value, np.float32), 8_000)
    (tmp_path / "manifest.csv").write_text("path,kind\na.wav,speech\nb.wav,speech\ndog.wav,event\n")
    sound = Sound(tmp_path, 3.5, tmp_path)
    middles = [round(float(value), 2) for value in sound.samples[8_000::16_000]]
    assert len(sound.samples) == 3.5 * SAMPLE_RATE_HZ
    assert sorted(middles[:2]) == [0.25, 0.5]
    assert middles[2] == middles[0]


def test_a_peer_is_fed_the_whole_file(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[int] = []

    def feed(sound: bytes) -> int:
        heard.append(len(sound))
        return 2

    peer.play_file(feed, str(bench.sound.file(4.0)))
    assert heard == [2 * peer.FILE_CHUNK_SAMPLES] * 3
    assert capsys.readouterr().out == "6\n"


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile(range(1000), 0.99) == 990
    assert percentile([5.0], 0.99) == 5.0


# -- the report --------------------------------------------------------------------------------------


def test_the_report(tmp_path: Path) -> None:
    page = report.write(RESULTS, tmp_path).read_text("utf-8")
    assert "| streamer, a file | 2.00 % (1.00 - 3.00) | 2.00 |" in page
    most = "104 from remote senders; 4 from files; 200 from remote senders with a hop of 160 ms"
    assert f"| streams in real time | {most} |" in page
    assert "| 1,000 senders | 90.0 % | 0.0900 % |" in page
    assert "20 kB for each further stream of senders (from 4 to 104)" in page, "only of those that keep up"
    assert "- pocketsphinx: no wheel for this machine" in page
    assert "## Start" not in page  # was not measured
    assert json.loads((tmp_path / "performance/results.json").read_text()) == RESULTS
    drawn = sorted(path.stem for path in (tmp_path / "performance").glob("*.svg"))
    assert drawn == ["hop", "labels", "live", "streams"]
    for name in drawn:
        assert f"](performance/{name}.svg)" in page
        text = (tmp_path / f"performance/{name}.svg").read_text("utf-8")
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert len(text) < 20_000
    assert max(len(line) for line in page.splitlines() if line[:1] not in "|!") <= 120


def test_the_report_of_hardly_anything(tmp_path: Path) -> None:
    page = report.write({"machine": MACHINE, "sound": "noise", "quick": True}, tmp_path).read_text("utf-8")
    assert "A quick look" in page
    assert "abacus" in page


def test_no_results(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.report", str(tmp_path / "none.json"), "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "make bench" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []

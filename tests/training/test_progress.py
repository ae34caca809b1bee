"""What the person who trains sees: a line a round in a pipe, a bar at a terminal, a clean end on Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from training.train.log import read
from training.train.progress import Progress

ENTRY: dict[str, Any] = {"round": 3, "loss": 0.5, "sound_hours": 4.0, "minutes": 0.5}
ENDS_S = 90.0


def shown_in(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal of so many rows and columns shows of two rounds."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, size)
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress(10, 2) as progress:
            progress.show({**ENTRY, "held_out_loss": 0.25})
            time.sleep(0.2)  # a bar is drawn ten times a second at most
            progress.show({**ENTRY, "round": 4})
            progress.say("saved")
    return everything(ours)


@pytest.mark.parametrize("size", [(40, 120), (0, 0)])
def test_a_bar_tells_where_it_is_and_how_it_goes(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = shown_in(size, monkeypatch)
    assert "train:  40%|" in shown
    assert "4/10 [" in shown
    assert "loss 0.5000, held out 0.2500, 8.0 h/min]" in shown or size == (0, 0)
    assert re.search(r"\rsaved|\nsaved", shown)
    assert "round 4/10" not in shown


def test_in_a_pipe_every_round_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10) as progress:
        progress.show({**ENTRY, "held_out_loss": 0.25})
        progress.say("saved")
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "round 3/10  loss 0.5000  4.0 h of sound  0.5 min  8.0 h/min  held out: loss 0.2500",
        "saved",
    ]
    assert told.err == ""


def test_at_a_terminal_a_bar_tells_it_and_ctrl_c_ends_it(toy_cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the trainer needs the `train` extra")
    small = ["--preset", "tiny", "--scene-s", "4", "--rounds", "100000", "--judge-every", "1"]
    command = [sys.executable, "-m", "training", "train", "--cache", str(toy_cache), *small]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 150))
    training = subprocess.Popen(
        [*command, "--run", str(tmp_path / "run")],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    os.close(theirs)
    shown, until = "", time.monotonic() + ENDS_S
    try:
        while not re.search(r"[2-9]/100000 .*held out 0\.", shown) and time.monotonic() < until:
            shown += os.read(ours, 65536).decode()
        training.send_signal(signal.SIGINT)
        rest = everything(ours)
        assert training.wait(ENDS_S) == 130, shown + rest
    finally:
        training.kill()
        os.close(ours)
    assert re.search(
        r"train: +0%.*\| [2-9]/100000 \[\S+<.*round.*, loss \d\.\d+, held out \d\.\d+, .*h/min\]", shown
    )
    assert "round 1/100000" not in shown
    assert "Traceback" not in shown + rest
    done = len(read(tmp_path / "run"))
    assert f"saved after round {done}" in rest
    assert f"train --resume --run {tmp_path / 'run'} --cache {toy_cache}" in re.sub(r"\s+", " ", rest)


def everything(terminal: int) -> str:
    """What comes until the other end is closed."""
    parts = []
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how a terminal tells its end
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)

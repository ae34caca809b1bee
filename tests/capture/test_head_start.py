"""Recorders that are started before their microphones: taken once, by whom they are for, or killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from streamer.capture import head_start
from streamer.capture.microphone import Microphone
from streamer.capture.recorder_process import PROGRAM, recorder_order
from streamer.errors import DeviceError
from tests.support.daemon import ROOT

NOWHERE = "a microphone that is not there"
IMPORTS = """
import sys
sys.path += {path!r}
from streamer.capture import devices, recorder, recorder_wire, ring_writer
if {named}:
    recorder._name_library()
    import sounddevice
wanted = ("numpy", "msgspec", "zmq", "dataclasses", "inspect", "subprocess", "tempfile", "shutil", "asyncio")
print([name for name in wanted if name in sys.modules])
"""


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    yield
    head_start.end()


def order_for(device: str, ring_s: float = 10.0) -> dict[str, Any]:
    return recorder_order(device, None, None, ring_s, 20.0)


def has_ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_is_taken_once_by_whom_it_is_for() -> None:
    head_start.begin(order_for(NOWHERE))
    assert head_start.take(order_for("another")) is None
    process = head_start.take(order_for(NOWHERE))
    assert process is not None
    assert head_start.take(order_for(NOWHERE)) is None
    process.kill()


def test_those_that_nobody_wants_are_killed() -> None:
    head_start.begin(order_for(NOWHERE))
    (_, _, process), *_ = head_start._begun
    number = process._process.pid
    assert not has_ended(number)
    head_start.end()
    assert has_ended(number)
    assert head_start.take(order_for(NOWHERE)) is None


def test_after_a_start_that_took_long_another_one_is_started() -> None:
    """Otherwise what had no room in its ring would be told as lost."""
    head_start.begin(order_for(NOWHERE, ring_s=0.0))
    (_, _, process), *_ = head_start._begun
    assert head_start.take(order_for(NOWHERE, ring_s=0.0)) is None
    assert has_ended(process._process.pid)


def test_a_refusal_is_told_where_the_microphone_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the recorder that was started early: no other one is."""
    head_start.begin(order_for(NOWHERE))
    monkeypatch.setattr("streamer.capture.recording.RecorderProcess", None)
    with pytest.raises(DeviceError) as early:
        Microphone(NOWHERE).open()
    monkeypatch.undo()
    with pytest.raises(DeviceError) as usual:
        Microphone(NOWHERE).open()
    assert str(early.value) == str(usual.value)


@pytest.mark.parametrize("named", [False, True])
def test_a_recorder_imports_little(named: bool) -> None:
    """It is started again and again while a microphone is away, and stays in memory while one is there."""
    code = IMPORTS.format(path=[str(ROOT), *sys.path], named=named)
    done = subprocess.run([*PROGRAM[:2], "-c", code], capture_output=True, text=True, timeout=20, check=False)
    if named and "PortAudio library not found" in done.stderr:
        pytest.skip("PortAudio is not installed (package libportaudio2)")
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr

"""Clips: the right samples under the right name, private, bounded, and never in the way."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.audio import F32
from streamer.clips import shelf as shelf_module
from streamer.clips.cutter import WAITING_MAX, Clip, Cutter
from streamer.clips.names import clip_name
from streamer.clips.shelf import ClipShelf
from streamer.errors import ConfigError

RATE = 16_000


class Memory:
    """The last samples of a stream whose samples are their own numbers."""

    def __init__(self, first_sample: int, end_sample: int) -> None:
        self.first_sample, self.end_sample = first_sample, end_sample

    def since(self, first_sample: int) -> F32:
        assert self.first_sample <= first_sample <= self.end_sample
        return np.arange(first_sample, self.end_sample, dtype=np.float32)


def bounds(clips: list[Clip]) -> list[tuple[str, int, int]]:
    return [(clip.name, int(clip.samples[0]), int(clip.samples[-1]) + 1) for clip in clips]


def test_a_clip_comes_when_its_last_sample_has_come() -> None:
    cutter = Cutter(before_samples=100, after_samples=50)
    assert cutter.want("a", 1000, 1200)
    assert cutter.cut(Memory(0, 1249)) == []
    assert bounds(cutter.cut(Memory(0, 1300))) == [("a", 900, 1250)]
    assert cutter.cut(Memory(0, 2000)) == []


def test_what_is_forgotten_or_never_came_is_left_out() -> None:
    cutter = Cutter(100, 50)
    cutter.want("early", 30, 60)
    cutter.want("late", 1000, 1200)
    cutter.want("gone", 1000, 1210)
    assert bounds(cutter.cut(Memory(0, 200))) == [("early", 0, 110)]
    assert bounds(cutter.cut(Memory(950, 1220), at_end=True)) == [("late", 950, 1220), ("gone", 950, 1220)]
    cutter.want("long ago", 10, 20)
    assert cutter.cut(Memory(5000, 6000)) == []


def test_few_wait() -> None:
    cutter = Cutter(0, 10**9)
    assert all(cutter.want(str(number), 0, 0) for number in range(WAITING_MAX))
    assert not cutter.want("one more", 0, 0)


def test_names_sort_by_time_and_lead_nowhere_else() -> None:
    name = clip_name("2026-11-21T18:42:12.345Z", "../kitchen", "dog bark", 7)
    assert name == "2026-11-21/184212345-___kitchen-dog_bark-7.flac"


def wait_until(done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_files_are_whole_private_and_hold_the_sound(tmp_path: Path) -> None:
    sound = np.sin(np.arange(RATE) / 10).astype(np.float32) / 2
    with ClipShelf(tmp_path / "clips", max_mb=1, max_age_days=1) as shelf:
        shelf.put(Clip("2026-11-21/a.flac", sound))
        shelf.put(Clip("2026-11-21/b.flac", np.array([np.nan, np.inf, -2.0, 0.5], np.float32)))
    found, rate_hz = soundfile.read(tmp_path / "clips/2026-11-21/a.flac", dtype="float32")
    assert rate_hz == RATE
    assert np.abs(found - sound).max() <= 1 / 32768
    odd, _ = soundfile.read(tmp_path / "clips/2026-11-21/b.flac", dtype="float32")
    assert odd == pytest.approx([0, 1, -1, 0.5], abs=1e-4)
    paths = [tmp_path / "clips", *(tmp_path / "clips").rglob("*")]
    assert sorted({oct(path.stat().st_mode & 0o777) for path in paths}) == ["0o600", "0o700"]
    assert len(paths) == 4, "nothing else is left behind"


def test_the_oldest_go_when_there_are_too_many_and_when_they_are_old(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, RATE).astype(np.float32)  # 28 kB as FLAC
    with ClipShelf(tmp_path, max_mb=0.1, max_age_days=1) as shelf:
        for number in range(8):
            shelf.put(Clip(f"2026-11-{20 + number // 4}/{number}.flac", noise))
        wait_until(lambda: shelf.written == 8)
    kept = sorted(path.name for path in tmp_path.rglob("*.flac"))
    assert kept == ["5.flac", "6.flac", "7.flac"]
    assert not (tmp_path / "2026-11-20").exists(), "a day without clips has no folder"
    two_days_ago = time.time() - 2 * 86_400
    os.utime(tmp_path / "2026-11-21/6.flac", (two_days_ago, two_days_ago))
    with ClipShelf(tmp_path, max_mb=0.1, max_age_days=1):
        wait_until(lambda: not (tmp_path / "2026-11-21/6.flac").exists())
    assert sorted(path.name for path in tmp_path.rglob("*.flac")) == ["5.flac", "7.flac"]


def test_a_disk_that_hangs_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shelf_module, "QUEUE_MAX", 2)
    monkeypatch.setattr(logging.getLogger("streamer"), "propagate", True)
    hangs, clip = threading.Event(), Clip("2026-11-21/a.flac", np.zeros(10, np.float32))
    monkeypatch.setattr(ClipShelf, "_write", lambda *_: hangs.wait())
    with ClipShelf(tmp_path, max_mb=1, max_age_days=1) as shelf:
        for _ in range(10):
            shelf.put(clip)
        assert shelf.lost >= 7
        hangs.set()
    assert sum("too slow" in record.getMessage() for record in caplog.records) == 1, "told once"


def test_a_disk_that_refuses_is_told_once_and_when_it_is_well_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("streamer"), "propagate", True)
    caplog.set_level(logging.INFO)
    (tmp_path / "2026-11-21").write_text("in the way")
    clip = Clip("2026-11-21/a.flac", np.zeros(10, np.float32))
    with ClipShelf(tmp_path, max_mb=1, max_age_days=1) as shelf:
        shelf.put(clip)
        shelf.put(clip)
        wait_until(lambda: shelf.lost == 2)
        (tmp_path / "2026-11-21").unlink()
        shelf.put(clip)
        wait_until(lambda: shelf.written == 1)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "a clip was not kept" in told[0]
    assert told[1] == "clips are kept again"


def test_a_directory_that_others_may_read_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match=r"others may look into .*; chmod 700"), ClipShelf(tmp_path, 1, 1):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"clips\.directory"), ClipShelf(tmp_path / "file", 1, 1):
        pass

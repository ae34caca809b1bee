"""The directory of clips: FLAC files, private, written by a thread of their own, bounded in age and size."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import stat
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from streamer.audio import SAMPLE_RATE_HZ
from streamer.clips.cutter import Clip
from streamer.errors import ConfigError

log = logging.getLogger("streamer")

QUEUE_MAX = 64
"""Clips that wait for the disk."""
FORGET_S = 600.0
"""How often old clips are looked for when none is written."""
CLOSE_TIMEOUT_S = 5.0
REMEDY = "choose another with clips.directory, or keep none: clips.enabled = false"


class ClipShelf:
    """Takes clips from the main thread, which never waits for the disk."""

    def __init__(self, directory: Path, max_mb: float, max_age_days: float) -> None:
        self.directory = directory
        self.written = 0
        self.lost = 0
        """Clips that were not kept: the disk was too slow, full, or refused."""
        self._max_bytes, self._max_age_s = max_mb * 1e6, max_age_days * 86_400
        self._queue: queue.Queue[Clip | None] = queue.Queue(QUEUE_MAX)
        self._kept: deque[tuple[float, int, Path]] = deque()  # (written, bytes, file), oldest first
        self._bytes = 0
        self._failing = ""
        self._thread = threading.Thread(target=self._work, name="clips", daemon=True)

    def __enter__(self) -> Self:
        self._take_directory()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_TIMEOUT_S)
        self._thread.join(CLOSE_TIMEOUT_S)

    def put(self, clip: Clip) -> None:
        """Keep it, soon."""
        try:
            self._queue.put_nowait(clip)
        except queue.Full:
            self._lose("the disk is too slow")

    def _take_directory(self) -> None:
        """Make it, see that nobody else may look into it, and count what is there."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.directory.stat()
        except OSError as error:
            raise ConfigError([f"clips.directory: {self.directory}: {error.strerror}"], REMEDY) from None
        if found.st_uid != os.geteuid():
            fault = f"clips.directory: {self.directory} belongs to another user (uid {found.st_uid})"
            raise ConfigError([fault], REMEDY)
        if stat.S_IMODE(found.st_mode) & 0o077:
            fault = f"clips.directory: others may look into {self.directory}"
            raise ConfigError([fault], f"chmod 700 {self.directory}")
        for path in self.directory.glob("*/*.flac"):
            with contextlib.suppress(OSError):
                entry = path.stat()
                self._kept.append((entry.st_mtime, entry.st_size, path))
        self._kept = deque(sorted(self._kept))
        self._bytes = sum(size for _, size, _ in self._kept)

    # -- on the thread of its own --------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            self._forget()
            try:
                clip = self._queue.get(timeout=FORGET_S)
            except queue.Empty:
                continue
            if clip is None:
                return
            try:
                self._write(clip)
            except (OSError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
                self._lose(getattr(error, "strerror", None) or str(error))

    def _write(self, clip: Clip) -> None:
        """Whole or not at all; nobody else may read it."""
        import soundfile

        path = self.directory / clip.name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        samples = np.clip(np.nan_to_num(clip.samples), -1.0, 1.0)
        try:
            with open(
                os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb"
            ) as file:
                soundfile.write(file, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
            size = fresh.stat().st_size
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        self._kept.append((time.time(), size, path))
        self._bytes += size
        self.written += 1
        if self._failing:
            log.info("clips are kept again")
            self._failing = ""

    def _forget(self) -> None:
        """Remove what is too old, or too much; the newest one stays."""
        oldest_s = time.time() - self._max_age_s
        while self._kept and (
            self._kept[0][0] < oldest_s or (self._bytes > self._max_bytes and len(self._kept) > 1)
        ):
            _, size, path = self._kept.popleft()
            self._bytes -= size
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                path.parent.rmdir()  # only where the day has no more of them

    def _lose(self, why: str) -> None:
        self.lost += 1
        if why != self._failing:
            log.warning("a clip was not kept in %s: %s", self.directory, why)
            self._failing = why

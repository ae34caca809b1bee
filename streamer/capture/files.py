"""Sound from a file, paced like a microphone or as fast as possible."""

from __future__ import annotations

import importlib
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from streamer.audio import F32, Chunk
from streamer.capture.source import EndOfSound, mix_to_mono
from streamer.errors import SoundError

UNKNOWN_LENGTH = 2**40
"""Samples; libsndfile reports something beyond this for a header that leaves the length open."""
SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
# How libsndfile's log words a header that promises more bytes than the file has (WAV, AIFF, AU, W64) ...
BYTES_MISSING = re.compile(r"^ *(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
# ... or more samples (RF64).
SAMPLES_MISSING = re.compile(r"frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
STREAMED_BYTES = 0x7FFF_0000
"""A data size from here on means "unknown": written by programs that could not seek back to the header."""
LARGEST_OGG_PAGE_BYTES = 65_307


class SoundFileSource:
    """Anything that libsndfile reads, any rate, mean of the channels; only one block is ever in memory."""

    lost_samples = 0
    overruns = 0

    def __init__(
        self,
        path: str | Path,
        realtime: bool,
        block_s: float = 0.1,
        *,
        longest_s: float = 0.25,
        loop: bool = False,
        clock_s: Callable[[], float] = time.monotonic,
        utc_clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self.live = realtime
        self.loop = loop
        self.rate_hz = 0
        self.channels = 0
        self.total_samples: int | None = None  # as the header has it, for a progress display; None: unknown
        self.warning: str | None = None  # set when the file ends early
        self._block_s = block_s
        self._longest_s = max(block_s, longest_s)  # where more is wanted in one piece
        self._clock_s = clock_s
        self._utc_clock_s = utc_clock_s
        self._file: Any = None
        self._block: F32 | None = None  # read, but not yet due
        self._wanted = 0  # paced sound up to this sample is to be had in one piece
        self._first_sample = 0  # index of the block's first sample, counted through all rounds of a loop
        self._round_samples = 0  # read from the file since its beginning
        self._missing_samples = 0  # known from the header alone
        self._damaged = False  # a read failed: more may be decoded after it, but nobody knows at which index
        self._start_s = self._start_utc_s = 0.0

    @property
    def description(self) -> str:
        """For people: which file, its rate and channels."""
        if not self.rate_hz:
            return f'file "{self.path}"'
        plural = "" if self.channels == 1 else "s"
        return f'file "{self.path}" ({self.rate_hz} Hz, {self.channels} channel{plural})'

    def open(self) -> None:
        """Open the file and read its first block; raises SoundError."""
        self.close()
        self._first_sample, self._wanted, self.warning = 0, 0, None
        self._begin_round()
        self._start_s, self._start_utc_s = self._clock_s(), self._utc_clock_s()

    def _begin_round(self) -> None:
        """Open afresh, rather than seek: a damaged file may not seek."""
        self.close()
        self._file = _open_file(self.path)
        self.rate_hz, self.channels = self._file.samplerate, self._file.channels
        frames = self._file.frames
        self.total_samples = frames if frames < UNKNOWN_LENGTH else None
        self._missing_samples = _missing_by_header(self._file)
        self._round_samples, self._damaged = 0, False
        self._block = self._next_block(self._block_frames)
        if self._block is None:
            self.close()
            raise SoundError(f"{self.path} holds no sound", "give a file with at least one sample")

    def want(self, sample: int) -> None:
        """Paced sound up to this sample, counted as in chunks, is wanted next, as soon as it is there."""
        self._wanted = sample
        if self.live and self._block is not None:  # read before anybody knew
            missing = self._block_frames - len(self._block)
            more = self._next_block(missing) if missing > 0 else None
            if more is not None:
                self._block = np.concatenate((self._block, more))

    def read(self) -> Chunk | None:
        """The next block, None while it is not due; raises EndOfSound after the last."""
        block = self._fetch()
        if block is None:
            raise EndOfSound
        end_s = (self._first_sample + len(block)) / self.rate_hz
        left_s = self._start_s + end_s - self._clock_s() if self.live else 0.0
        if left_s > 0:
            return None
        # In real time by the clock of now, which may have been set.
        heard_utc_s = self._utc_clock_s() + left_s if self.live else self._start_utc_s + end_s
        chunk = Chunk(block, self._first_sample, heard_utc_s)
        self._first_sample += len(block)
        self._block = None
        return chunk

    def _fetch(self) -> F32 | None:
        """The next block, read from the file if need be; None after the last."""
        if self._block is None and self._file is not None:
            self._block = self._next_block(self._block_frames)
            if self._block is None:
                self._end_round()
        return self._block

    def next_due_s(self) -> float:
        """Seconds until the last sample of the next block would have been captured; 0.0 when not paced."""
        block = self._fetch() if self.live else None
        if block is None:
            return 0.0
        end_s = (self._first_sample + len(block)) / self.rate_hz
        return max(0.0, self._start_s + end_s - self._clock_s())

    def fileno(self) -> None:
        """None: there is nothing to wait for but time."""
        return

    def close(self) -> None:
        """Close the file; read() then raises EndOfSound."""
        self._block = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next_block(self, count: int) -> F32 | None:
        if self._damaged:
            return None
        frames = np.empty((count, self.channels), np.float32)
        frames.fill(np.nan)
        try:
            got = self._file.buffer_read_into(frames.data, "float32")  # half the price of `read`
        except RuntimeError:  # soundfile.LibsndfileError; what was decoded before it is in `frames`
            self._damaged = True
            got = count - int(np.argmin(np.isnan(frames[::-1, 0]))) if np.isfinite(frames[:, 0]).any() else 0
        if not got:
            return None
        self._round_samples += got
        if self.channels == 1:
            return frames[:got, 0]
        return mix_to_mono(frames[:got], np.empty(got, np.float32))

    @property
    def _block_frames(self) -> int:
        """Of the next block."""
        usual = max(1, round(self._block_s * self.rate_hz))
        wanted = self._wanted - self._first_sample if self.live else 0
        return min(wanted, round(self._longest_s * self.rate_hz)) if wanted > 0 else usual

    def _end_round(self) -> None:
        self.warning = self._shortfall() or self.warning
        if self.loop:
            self._begin_round()
        else:
            self.close()

    def _shortfall(self) -> str | None:
        promised = (self.total_samples or 0) + self._missing_samples
        missing = promised - self._round_samples
        if missing > 0:
            return f"{self.path} is cut short or damaged: {missing} of {promised} samples are missing"
        if self._file.format == "OGG" and not _ogg_is_finished(self.path):
            return f"{self.path} is cut short: it has no end mark, so how much is missing is unknown"
        return None


def _open_file(path: Path) -> Any:
    _check_path(path)
    soundfile = _load_soundfile()
    try:
        file = soundfile.SoundFile(str(path))
    except (RuntimeError, TypeError) as error:  # TypeError: headerless .raw
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        remedy = "give a WAV, FLAC, Ogg, MP3 or AIFF file"
        raise SoundError(f"{path} is not a sound file that can be read ({reason})", remedy) from error
    # soundfile seeks to where it is after every read of a file that can seek, and that spoils the next block
    # of an MP3 or Opus file (the decoder's overlap is lost). We only ever go forward.
    file.seekable = lambda: False
    return file


def _check_path(path: Path) -> None:
    """Faults in the system's own words: libsndfile says "System error", and hangs on a named pipe."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
    except OSError as error:
        raise SoundError(f"cannot read {path}: {error.strerror}", "check the path") from error
    if stat.S_ISDIR(mode):
        raise SoundError(f"{path} is a directory", "give the files in it")
    if not stat.S_ISREG(mode):
        raise SoundError(f"{path} is not a regular file", "for a pipe use `streamer run --source stdin`")
    if not path.stat().st_size:
        raise SoundError(f"{path} is empty", "give a file with sound in it")


def _load_soundfile() -> Any:
    try:
        return importlib.import_module("soundfile")
    except ImportError as error:
        raise SoundError("the Python package soundfile is missing", "pip install soundfile") from error
    except OSError as error:
        raise SoundError("the libsndfile library is missing", "sudo apt-get install libsndfile1") from error


def _missing_by_header(file: Any) -> int:
    """Samples that the header promises beyond `file.frames`, which libsndfile cuts to what is there."""
    log = str(file.extra_info)
    if found := SAMPLES_MISSING.search(log):
        return max(0, int(found[2]) - int(found[1]))
    width_bytes = SAMPLE_BYTES.get(str(file.subtype))
    found = BYTES_MISSING.search(log)
    if width_bytes is None or found is None or int(found[1]) >= STREAMED_BYTES:
        return 0
    missing_bytes = int(found[1]) - int(found[2])
    return max(0, -(-missing_bytes // (width_bytes * int(file.channels))))


def _ogg_is_finished(path: Path) -> bool:
    """The last page has the end-of-stream flag."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LARGEST_OGG_PAGE_BYTES))
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)

"""Raw PCM from a pipe: what `arecord -t raw`, `ffmpeg` or `sox` write to our standard input."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Callable

import numpy as np

from streamer.audio import F32, Chunk
from streamer.capture.source import EndOfSound, mix_to_mono
from streamer.errors import SoundError

# numpy's type and the value of full scale
FORMATS = {"s16le": ("<i2", 2**15), "s32le": ("<i4", 2**31), "f32le": ("<f4", 1)}
READ_BYTES = 65_536
"""What a Linux pipe holds: one read empties it."""
EXAMPLE = "arecord -t raw -f S16_LE -r 16000 -c 1 | streamer run --source stdin"


class PcmPipeSource:
    """Interleaved PCM from a descriptor, mean of the channels; a slow reader makes the writer wait."""

    live = False
    lost_samples = 0
    overruns = 0

    def __init__(
        self,
        fd: int,
        rate_hz: int,
        channels: int = 1,
        format: str = "s16le",
        *,
        utc_clock_s: Callable[[], float] = time.time,
    ) -> None:
        if format not in FORMATS:
            raise SoundError(f'unknown PCM format "{format}"', f"use one of {', '.join(FORMATS)}")
        if rate_hz < 1 or channels < 1:
            raise SoundError(f"{rate_hz} Hz with {channels} channels cannot be", "both must be at least 1")
        self.rate_hz = rate_hz
        self.channels = channels
        self.format = format
        self.warning: str | None = None  # set when the sound ends inside a sample, or never began
        self.dangling_bytes = 0  # of that last, incomplete sample
        self._fd = fd
        self._utc_clock_s = utc_clock_s
        self._partial = b""  # the beginning of a frame whose rest has not come yet
        self._next_sample = 0
        self._open = self._pollable = False

    @property
    def description(self) -> str:
        """For people: what is read and as what."""
        plural = "" if self.channels == 1 else "s"
        return f"{self._name} ({self.format}, {self.rate_hz} Hz, {self.channels} channel{plural})"

    @property
    def _name(self) -> str:
        return "standard input" if self._fd == 0 else f"descriptor {self._fd}"

    def open(self) -> None:
        """Check that sound can come from there; raises SoundError. The descriptor stays the caller's."""
        try:
            mode = os.fstat(self._fd).st_mode
        except OSError as error:
            raise SoundError(f"{self._name} is closed", EXAMPLE) from error
        if os.isatty(self._fd):
            raise SoundError(f"{self._name} is a terminal, not sound", EXAMPLE)
        if stat.S_ISDIR(mode):
            raise SoundError(f"{self._name} is a directory, not sound", EXAMPLE)
        self._pollable = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)  # epoll refuses files and /dev/null
        self._partial, self._next_sample, self.warning, self.dangling_bytes = b"", 0, None, 0
        self._open = True

    def read(self) -> Chunk | None:
        """What has come, None when nothing has; raises EndOfSound when the writer has closed its end."""
        if not self._open:
            raise EndOfSound
        if not self._is_readable():
            return None
        data = self._read_bytes()
        utc_s = self._utc_clock_s()
        if data is None:
            return None
        if not data:
            self._note_end()
            raise EndOfSound
        if not self._next_sample:
            self._refuse_wav(data)
        samples = self._to_mono(self._partial + data)
        if not len(samples):
            return None
        chunk = Chunk(samples, self._next_sample, utc_s)
        self._next_sample = chunk.end_sample
        return chunk

    def _is_readable(self) -> bool:
        # Instead of O_NONBLOCK, which other processes that share this descriptor (a shell) would inherit.
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        return bool(poller.poll(0))

    def _read_bytes(self) -> bytes | None:
        try:
            return os.read(self._fd, READ_BYTES)
        except BlockingIOError:  # another reader was quicker
            return None
        except OSError as error:
            raise SoundError(f"cannot read {self._name}: {error.strerror}", EXAMPLE) from error

    def _to_mono(self, data: bytes) -> F32:
        type_name, full_scale = FORMATS[self.format]
        frame_bytes = np.dtype(type_name).itemsize * self.channels
        whole = len(data) - len(data) % frame_bytes
        self._partial = data[whole:]
        frames: F32 = np.frombuffer(data[:whole], type_name).astype(np.float32)
        if full_scale != 1:
            frames /= np.float32(full_scale)
        frames = frames.reshape(-1, self.channels)
        return mix_to_mono(frames, np.empty(len(frames), np.float32))

    def _refuse_wav(self, data: bytes) -> None:
        if data[:4] == b"RIFF" and data[8:12] == b"WAVE":  # arecord writes this unless told otherwise
            self._open = False
            raise SoundError(f"{self._name} is a WAV file, not raw PCM", EXAMPLE)

    def _note_end(self) -> None:
        self._open = False
        self.dangling_bytes, self._partial = len(self._partial), b""
        if self.dangling_bytes:
            self.warning = f"{self._name} ended inside a sample: {self.dangling_bytes} bytes are left over"
        elif not self._next_sample:
            self.warning = f"{self._name} ended without any sound"

    def fileno(self) -> int | None:
        """The descriptor itself; None for a file, which is always ready and which epoll refuses."""
        return self._fd if self._open and self._pollable else None

    def next_due_s(self) -> float:
        """0.0: only waiting on fileno() can tell, and a file is always ready."""
        return 0.0

    def close(self) -> None:
        """Stop reading; the descriptor is left as it was, for whoever opened it."""
        self._open = False

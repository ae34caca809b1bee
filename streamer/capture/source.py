"""What every source of sound offers, whether a device, a file or a pipe is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from streamer.audio import F32, Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray


class EndOfSound(Exception):
    """A finite source has given all its sound."""


class Source(Protocol):
    """Mono sound at the source's own rate, taken in chunks without ever blocking."""

    @property
    def rate_hz(self) -> int:
        """Samples a second; valid after open()."""

    @property
    def description(self) -> str:
        """For people: 'microphone "USB Audio" (48000 Hz, 2 channels)'."""

    @property
    def live(self) -> bool:
        """True: paced by a clock that does not wait for us."""

    @property
    def lost_samples(self) -> int:
        """Samples known to be lost since open()."""

    @property
    def overruns(self) -> int:
        """Times that sound was lost since open()."""

    def open(self) -> None:
        """Begin; raises StreamerError."""

    def read(self) -> Chunk | None:
        """Next sound, or None when there is none yet; raises EndOfSound at the end of a finite source."""

    def fileno(self) -> int | None:
        """A descriptor that is readable when read() would give something; None: wait next_due_s() instead."""

    def next_due_s(self) -> float:
        """Seconds until read() may give something; without a descriptor. May raise as read() does."""

    def close(self) -> None:
        """Let go of everything; may be called twice, never hangs."""


def mix_to_mono(frames: NDArray[Any], out: F32) -> F32:
    """Mean over the channels of (n,) or (n, channels) float32 into `out` (n,), which is returned.

    Column by column, because a reduction may sum in an order that depends on n, and the mean of a frame must
    not depend on how sound was cut into blocks.
    """
    if frames.ndim == 1:
        out[:] = frames
        return out
    channels = frames.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):  # Inf and NaN pass through; the pipeline counts them
        out[:] = frames[:, 0]
        for channel in range(1, channels):
            np.add(out, frames[:, channel], out=out)
        if channels > 1:
            np.divide(out, np.float32(channels), out=out)
    return out

"""Sound as bytes on the wire: 16-bit PCM as it is, or the same without loss in FLAC, each block by itself.

Opus is not offered: through libsndfile each block would be an Ogg file of its own. That costs thirty times
the processor time of FLAC, more bytes than FLAC in a quiet room, and the codec begins anew with each block.
"""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.errors import SoundError

I16 = np.ndarray[tuple[Any, ...], np.dtype[np.int16]]
FULL_SCALE = 2**15
FLAC_MARK = b"fLaC"
FLAC_EFFORT = 0.5
"""libsndfile's compression level, 0 to 1: more costs processor time and saves next to nothing."""


class PayloadError(ValueError):
    """Bytes that are not the sound which their header promises."""


def quantise(samples: F32) -> I16:
    """Float samples to 16 bits, the nearest step, clipped: done once, at the sender."""
    steps = np.clip(np.rint(samples * np.float32(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1)
    quantised: I16 = steps.astype(np.int16)
    return quantised


def to_float(samples: I16) -> F32:
    """The way back, which is exact."""
    return np.multiply(samples, np.float32(1 / FULL_SCALE), dtype=np.float32)


def encode_block(samples: I16, codec: str) -> bytes:
    """A block as bytes that can be read without any other block."""
    if codec == "pcm16":
        return samples.astype("<i2").tobytes()
    with io.BytesIO() as file:
        load_soundfile().write(
            file, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16", compression_level=FLAC_EFFORT
        )
        return file.getvalue()


def decode_block(payload: bytes, codec: str, samples: int) -> I16:
    """The block's samples; PayloadError where the bytes do not hold exactly so many."""
    if codec == "pcm16":
        if len(payload) != 2 * samples:
            raise PayloadError(f"{len(payload)} bytes for {samples} samples of pcm16")
        return np.frombuffer(payload, "<i2").astype(np.int16, copy=False)
    return _decode_flac(payload, samples)


def _decode_flac(payload: bytes, samples: int) -> I16:
    # libsndfile would read any of its many formats: only FLAC is let in, and no more of it than is announced.
    if not payload.startswith(FLAC_MARK):
        raise PayloadError("the block is no FLAC")
    soundfile = load_soundfile()
    try:
        with soundfile.SoundFile(io.BytesIO(payload)) as file:
            shape = (file.format, file.channels, file.samplerate, file.frames)
            if shape != ("FLAC", 1, SAMPLE_RATE_HZ, samples):
                raise PayloadError(f"a block of {shape}, expected one channel with {samples} samples")
            block: I16 = file.read(samples, dtype="int16")
    except (RuntimeError, TypeError) as error:  # soundfile.LibsndfileError is a RuntimeError
        raise PayloadError(f"a FLAC block that cannot be read: {error}") from None
    if len(block) != samples:
        raise PayloadError(f"a FLAC block with {len(block)} of {samples} samples")
    return block


def load_soundfile() -> Any:
    """The soundfile module, imported at first use: PCM never needs it."""
    try:
        return importlib.import_module("soundfile")
    except ImportError as error:
        raise SoundError("the Python package soundfile is missing", "pip install soundfile") from error
    except OSError as error:
        raise SoundError("the libsndfile library is missing", "sudo apt-get install libsndfile1") from error

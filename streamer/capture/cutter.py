"""Sound from a source, cut into blocks of 16-bit samples at 16 kHz for sending; losses come out as gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ, Chunk
from streamer.capture.codecs import I16, quantise
from streamer.capture.resample import Resampler

BLOCK_SAMPLES = 80 * SAMPLE_RATE_HZ // 1000
LOUDEST = 32.0
"""Samples beyond this (full scale is 1) are no sound, as in the daemon's own pipeline."""


@dataclass(frozen=True, slots=True)
class Block:
    """Sound, or its loss, with its place on the sender's 16 kHz clock."""

    first_sample: int
    end_sample: int
    samples: I16 | None
    """None: lost."""
    captured_s: float
    """When the last sample was captured, on the caller's clock."""


class Cutter:
    """Resamples, quantises once, and cuts; any chunking of the same sound gives the same blocks."""

    def __init__(self, rate_hz: int, block_samples: int = BLOCK_SAMPLES) -> None:
        self.bad_samples = 0
        """NaN, infinite or absurdly large, replaced by silence."""
        self._rate_hz = rate_hz
        self._block_samples = block_samples
        self._resampler = Resampler(rate_hz, SAMPLE_RATE_HZ)
        self._source_sample = 0  # at the source's rate: where the next chunk should begin
        self._next_sample = 0  # at 16 kHz: where the next block begins
        self._pending = np.empty(0, np.int16)

    def process(self, chunk: Chunk, captured_s: float) -> list[Block]:
        """Take sound whose last sample was captured then; give the blocks that are full."""
        blocks = []
        if chunk.first_sample > self._source_sample:
            blocks += self._break(chunk.first_sample, captured_s - len(chunk.samples) / self._rate_hz)
        self._source_sample = chunk.end_sample
        self._append(self._resampler.process(self._clean(chunk.samples)))
        return blocks + self._cut(self._block_samples, captured_s)

    def flush(self, captured_s: float) -> list[Block]:
        """What is held back, when no more sound comes; its last sample was captured then."""
        self._append(self._resampler.flush())
        return [*self._cut(self._block_samples, captured_s), *self._cut(1, captured_s)]

    def _break(self, first_sample: int, captured_s: float) -> list[Block]:
        """Sound is missing up to this sample of the source: everything before it goes out, then the gap."""
        self._append(self._resampler.flush())
        resumes = round(first_sample * SAMPLE_RATE_HZ / self._rate_hz)
        # A loss too short for a sample at 16 kHz is a loss all the same: the last sample before it gives way.
        self._pending = self._pending[: max(0, resumes - 1 - self._next_sample)]
        blocks = self.flush(captured_s)
        self._resampler.reset()
        begin, self._next_sample = self._next_sample, max(resumes, self._next_sample + 1)
        return [*blocks, Block(begin, self._next_sample, None, captured_s)]

    def _append(self, samples: F32) -> None:
        self._pending = np.concatenate((self._pending, quantise(samples)))

    def _cut(self, length: int, captured_s: float) -> list[Block]:
        blocks = []
        heard_sample = self._source_sample * SAMPLE_RATE_HZ / self._rate_hz
        while len(self._pending) >= length:
            samples = self._pending[: self._block_samples]
            end_sample = self._next_sample + len(samples)
            age_s = max(0.0, (heard_sample - end_sample) / SAMPLE_RATE_HZ)
            blocks.append(Block(self._next_sample, end_sample, samples, captured_s - age_s))
            self._next_sample = end_sample
            self._pending = self._pending[len(samples) :]
        return blocks

    def _clean(self, samples: F32) -> F32:
        good = np.abs(samples) <= LOUDEST  # false for NaN as well
        if good.all():
            return samples
        self.bad_samples += int(len(samples) - good.sum())
        return np.where(good, samples, np.float32(0.0))

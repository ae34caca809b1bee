"""The pure middle: chunks of sound in, scores and detections out. No threads, clocks, devices or sockets.

    chunk -> [gap?] -> clean -> resample -> features -> block of rows -> classifier -> decoder

A `StreamPipeline` owns all that one stream remembers. The classifier is shared: `advance` runs it once for
every stream that has a block of rows ready.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ, Chunk, check_samples
from streamer.capture.resample import Resampler
from streamer.decoding.decoder import Decoder, Detection
from streamer.decoding.rules import LabelRule
from streamer.features.extractor import Extractor
from streamer.features.settings import HOP_SAMPLES, WINDOW_SAMPLES, FeatureSettings
from streamer.inference.classifier import Classifier, State, split_state, stack_states

ROW_START_SAMPLES = (WINDOW_SAMPLES - HOP_SAMPLES) // 2
"""A row stands for the hop in the middle of its window, so the first one begins this late."""

LOUDEST = 32.0
"""Samples beyond this (full scale is 1) are no sound; without a bound they would overflow the spectrum."""


@dataclass(frozen=True, slots=True)
class ScoreBlock:
    """Scores of consecutive rows."""

    first_row: int
    """Rows since the stream began."""
    first_sample: int
    """Where the first row begins on the stream's 16 kHz clock."""
    scores: F32
    """(T, L)"""


@dataclass(slots=True)
class Output:
    """What a stream has to tell."""

    detections: list[Detection] = field(default_factory=list)
    scores: list[ScoreBlock] = field(default_factory=list)


@dataclass(slots=True)
class Meter:
    """What went through, counted since the stream began; level and peak since they were last taken."""

    heard_samples: int = 0
    """At the source's rate, as are the other counts."""
    lost_samples: int = 0
    gaps: int = 0
    bad_samples: int = 0
    """NaN, Inf or absurdly large, replaced by silence."""
    clipped_samples: int = 0
    """At or beyond full scale."""
    square_sum: float = 0.0
    square_count: int = 0
    peak: float = 0.0

    def take_levels(self) -> tuple[float | None, float | None]:
        """Level and peak in dB of full scale since the last call; None where nothing was heard."""
        if not self.square_count:
            return None, None
        level = (self.square_sum / self.square_count) ** 0.5
        peak, self.square_sum, self.square_count, self.peak = self.peak, 0.0, 0, 0.0
        return _dbfs(level), _dbfs(peak)


def _dbfs(amplitude: float) -> float:
    return round(float(20 * np.log10(max(amplitude, 1e-6))), 1)


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows for one call of the classifier."""

    features: F32
    """(T, F)"""
    first_row: int
    first_sample: int


@dataclass(frozen=True, slots=True)
class _Break:
    """The sound does not go on from here: what is open ends, and the state starts afresh."""

    end_sample: int
    reason: str


class StreamPipeline:
    """One stream's way from chunks to detections, with everything that it remembers."""

    def __init__(
        self,
        classifier: Classifier,
        features: FeatureSettings,
        rules: Sequence[LabelRule],
        rate_hz: int,
        hop_ms: int,
    ) -> None:
        self._classifier = classifier
        self._rate_hz = rate_hz
        self._stride = classifier.stride
        self._block_frames = block_frames(hop_ms, classifier.stride)
        self._resampler = Resampler(rate_hz, SAMPLE_RATE_HZ)
        self._extractor = Extractor(features)
        self.row_samples = HOP_SAMPLES * classifier.stride
        lookahead_samples = self._extractor.latency_samples - ROW_START_SAMPLES
        self._decoder = Decoder(rules, self.row_samples, lookahead_samples)
        self.reset()

    @property
    def latency_samples(self) -> int:
        """Sound at 16 kHz that may have been taken in and not yet have shown in the output."""
        resampling = self._resampler.latency_samples * SAMPLE_RATE_HZ // self._rate_hz
        return resampling + self._extractor.latency_samples + self._block_frames * HOP_SAMPLES

    def reset(self) -> None:
        """Begin a new stream."""
        self.meter = Meter()
        self._next_sample = 0  # at the source's rate: where the next chunk should begin
        self._queue: deque[_Block | _Break] = deque()
        self._output = Output()
        self._rows = 0
        self._decoder.reset()
        self.state: State = self._classifier.initial_state()
        """The recurrent state before the next block."""
        self._begin_segment(0)

    def _begin_segment(self, first_sample: int) -> None:
        """Sound begins or resumes at this sample of the source."""
        self._resampler.reset()
        self._extractor.reset()
        self._pending = np.empty((0, self._extractor.size), np.float32)
        start = round(first_sample * SAMPLE_RATE_HZ / self._rate_hz)
        self._row_sample = start + ROW_START_SAMPLES  # where the next queued row begins

    def retune(self, rules: Sequence[LabelRule]) -> None:
        """Go on with other rules for the same labels."""
        self._decoder.retune(rules)

    def feed(self, chunk: Chunk) -> None:
        """Take sound in, up to the blocks that wait for the classifier."""
        check_samples(chunk.samples)
        missing = chunk.first_sample - self._next_sample
        if missing < 0:
            raise ValueError(f"sound goes back by {-missing} samples: a stream's clock only goes on")
        if missing > 0:
            self._tell_gap(missing, chunk.first_sample)
        self._next_sample = chunk.end_sample
        self._queue_rows(self._extractor.process(self._resampler.process(self._clean(chunk.samples))))

    def skip(self, chunk: Chunk) -> None:
        """Pass over sound that is not to be listened to: what is fed next begins a segment, and is no gap."""
        self._next_sample = chunk.end_sample
        self._begin_segment(chunk.end_sample)

    def _tell_gap(self, missing: int, first_sample: int) -> None:
        self.meter.gaps += 1
        self.meter.lost_samples += missing
        self._end_segment("gap")
        self._begin_segment(first_sample)

    def end(self, reason: str = "stop") -> None:
        """The stream stops here: everything held back goes into the queue."""
        self._end_segment(reason)
        self._begin_segment(self._next_sample)

    def _end_segment(self, reason: str) -> None:
        self._queue_rows(self._extractor.process(self._resampler.flush()))
        self._queue_rows(self._extractor.flush())
        whole = len(self._pending) // self._stride * self._stride
        if whole:
            self._queue_block(whole)
        self._queue.append(_Break(self._row_sample, reason))

    def _queue_rows(self, rows: F32) -> None:
        self._pending = np.concatenate((self._pending, rows)) if len(self._pending) else rows
        # Blocks lie on a fixed grid of rows, so the pieces in which sound arrives cannot change a score.
        while len(self._pending) >= self._block_frames:
            self._queue_block(self._block_frames)

    def _queue_block(self, frames: int) -> None:
        self._queue.append(_Block(self._pending[:frames], self._rows, self._row_sample))
        self._pending = self._pending[frames:]
        self._rows += frames // self._stride
        self._row_sample += frames * HOP_SAMPLES

    def _clean(self, samples: F32) -> F32:
        """Replace what is no number, and keep the books."""
        meter = self.meter
        meter.heard_samples += len(samples)
        if len(samples) == 0:
            return samples
        peak = float(np.abs(samples).max())
        if not peak <= LOUDEST:  # false for NaN as well
            samples, peak = self._without_bad(samples)
        meter.peak = max(meter.peak, peak)
        if peak >= 1.0:
            meter.clipped_samples += int((np.abs(samples) >= 1.0).sum())
        meter.square_sum += float(np.dot(samples, samples))
        meter.square_count += len(samples)
        return samples

    def _without_bad(self, samples: F32) -> tuple[F32, float]:
        good = np.abs(samples) <= LOUDEST
        self.meter.bad_samples += int(len(samples) - good.sum())
        cleaned = np.where(good, samples, np.float32(0.0))
        return cleaned, float(np.abs(cleaned).max())

    @property
    def next_block(self) -> _Block | None:
        """The block to classify next; breaks before it are dealt with."""
        while self._queue:
            head = self._queue[0]
            if isinstance(head, _Block):
                return head
            self._queue.popleft()
            self._output.detections += self._decoder.flush(head.end_sample, head.reason)
            self.state = self._classifier.initial_state()
        return None

    def accept(self, scores: F32, state: State) -> None:
        """The classifier's answer to the next block: (T, L) scores and the state after it."""
        block = self._queue.popleft()
        assert isinstance(block, _Block)
        self.state = state
        self._output.scores.append(ScoreBlock(block.first_row, block.first_sample, scores))
        self._output.detections += self._decoder.process(scores, block.first_sample)

    def take_output(self) -> Output:
        """What has come out since the last call."""
        output, self._output = self._output, Output()
        return output


def block_frames(hop_ms: int, stride: int) -> int:
    """Feature rows in one call: a hop's worth, in whole strides."""
    frames = max(1, round(hop_ms * SAMPLE_RATE_HZ / 1000 / HOP_SAMPLES))
    return max(1, round(frames / stride)) * stride


def advance(classifier: Classifier, streams: Iterable[StreamPipeline]) -> None:
    """Classify all blocks that are ready, streams with blocks of one length together in one call."""
    waiting = list(streams)
    while waiting:
        by_length: defaultdict[int, list[tuple[StreamPipeline, F32]]] = defaultdict(list)
        for stream in waiting:
            block = stream.next_block
            if block is not None:
                by_length[len(block.features)].append((stream, block.features))
        waiting = [stream for group in by_length.values() for stream, _ in group]
        for group in by_length.values():
            _classify(classifier, [stream for stream, _ in group], [features for _, features in group])


def _classify(classifier: Classifier, streams: list[StreamPipeline], features: list[F32]) -> None:
    scores, state = classifier.step(np.stack(features), stack_states([stream.state for stream in streams]))
    for stream, own_scores, own_state in zip(streams, scores, split_state(state, len(streams)), strict=True):
        stream.accept(own_scores, own_state)

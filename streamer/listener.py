"""One model on one stream: rows of features in, scores and detections out. Pure code on arrays.

A `Listener` owns all that its model remembers of the stream; `together.py` runs the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.decoding.decoder import Decoder, Detection
from streamer.decoding.rules import LabelRule
from streamer.features.extractor import latency_samples
from streamer.features.settings import HOP_SAMPLES, WINDOW_SAMPLES, FeatureSettings
from streamer.inference.classifier import Classifier, State

ROW_START_SAMPLES = (WINDOW_SAMPLES - HOP_SAMPLES) // 2
"""A row stands for the hop in the middle of its window, so the first one begins this late."""


class ScoreBlock(NamedTuple):
    """Scores of consecutive rows."""

    first_row: int
    """Rows since the stream began."""
    first_sample: int
    """Where the first row begins on the stream's 16 kHz clock."""
    scores: F32
    """(T, L)"""


@dataclass(slots=True)
class Output:
    """What a model has to tell of a stream."""

    detections: list[Detection] = field(default_factory=list)
    scores: list[ScoreBlock] = field(default_factory=list)


class Block(NamedTuple):
    """Rows for one call of the classifier."""

    features: F32
    """(T, F)"""
    first_row: int
    first_sample: int
    decided: bool
    """Somebody else has listened to it."""


@dataclass(frozen=True, slots=True)
class _Break:
    """The sound does not go on from here: what is open ends, and the state starts afresh."""

    end_sample: int
    reason: str


class Listener:
    """What one model remembers of one stream."""

    def __init__(
        self, classifier: Classifier, features: FeatureSettings, rules: Sequence[LabelRule], hop_ms: int
    ) -> None:
        self.features = features
        """What its rows must be."""
        self.row_samples = HOP_SAMPLES * classifier.stride
        self.classifier = classifier
        self._stride = classifier.stride
        self.block_frames = block_frames(hop_ms, classifier.stride)
        """Rows that are classified in one call."""
        self._no_rows = np.empty((0, features.size), np.float32)
        self.decoder = Decoder(rules, self.row_samples, latency_samples(features) - ROW_START_SAMPLES)
        """What decides on its scores."""
        self.forget()

    @property
    def held_samples(self) -> int:
        """Sound that may have come and not yet have been listened to."""
        return latency_samples(self.features) + self.block_frames * HOP_SAMPLES

    def forget(self) -> None:
        """Begin a new stream."""
        self._queue: deque[Block | _Break] = deque()
        self._output = Output()
        self._rows = 0
        self.decoder.reset()
        self.state: State = self.classifier.initial_state()
        """The recurrent state before the next block."""
        self.begin(0)

    def begin(self, first_sample: int) -> None:
        """Sound begins or resumes at this sample of the 16 kHz clock."""
        self._decided_frames = 0  # that follow, and that another listener has decided on
        self._pending = self._no_rows
        self.row_sample = first_sample + ROW_START_SAMPLES
        """Where the next queued row begins."""

    def retune(self, rules: Sequence[LabelRule]) -> None:
        """Go on with other rules for the same labels."""
        self.decoder.retune(rules)

    @property
    def missing_frames(self) -> int:
        """Rows until the next block is complete."""
        return (self._decided_frames or self.block_frames) - len(self._pending)

    def take(self, rows: F32) -> None:
        """Rows that follow those before them."""
        self._pending = np.concatenate((self._pending, rows)) if len(self._pending) else rows
        if self._decided_frames and len(self._pending) >= self._decided_frames:
            self._queue_block(self._decided_frames, decided=True)
            self._decided_frames = 0
        # Blocks lie on a fixed grid of rows, so the pieces in which sound arrives cannot change a score.
        while len(self._pending) >= self.block_frames and not self._decided_frames:
            self._queue_block(self.block_frames)

    def break_off(self, reason: str) -> None:
        """The sound does not go on: what is held back is still listened to, then everything ends."""
        whole = len(self._pending) // self._stride * self._stride
        if whole:
            self._queue_block(whole)
        self._queue.append(_Break(self.row_sample, reason))

    def _queue_block(self, frames: int, *, decided: bool = False) -> None:
        self._queue.append(Block(self._pending[:frames], self._rows, self.row_sample, decided))
        self._pending = self._pending[frames:] if len(self._pending) > frames else self._no_rows
        self._rows += 0 if decided else frames // self._stride
        self.row_sample += frames * HOP_SAMPLES

    @property
    def next_block(self) -> Block | None:
        """The block to classify next; breaks before it are dealt with."""
        while self._queue:
            head = self._queue[0]
            if isinstance(head, Block):
                return head
            self._queue.popleft()
            self._output.detections += self.decoder.flush(head.end_sample, head.reason)
            self.state = self.classifier.initial_state()
        return None

    def accept(self, scores: F32, detections: list[Detection]) -> None:
        """What model and decoder make of the next block: (T, L) scores."""
        block = self._queue.popleft()
        assert isinstance(block, Block)
        if block.decided:
            self.decoder.forget_open()
            return
        self._output.scores.append(ScoreBlock(block.first_row, block.first_sample, scores))
        self._output.detections += detections

    @property
    def is_even(self) -> bool:
        """No row waits, and no break."""
        return not (self._queue or len(self._pending) or self._decided_frames)

    @property
    def is_calm(self) -> bool:
        """Nor would low scores change anything."""
        return self.is_even and self.decoder.is_calm

    def passed(self, scores: F32, state: State) -> None:
        """Somebody has listened in our place: (T, L) scores, all of them low, and the state after them."""
        self._rows += len(scores)
        self.row_sample += len(scores) * self.row_samples
        self.state = state
        self.decoder.passed(scores)

    def heard(self, scores: F32, detections: list[Detection]) -> None:
        """Somebody has made rows of a block, run the model on it, and asked our decoder."""
        self._output.scores.append(ScoreBlock(self._rows, self.row_sample, scores))
        if detections:
            self._output.detections += detections
        self._rows += len(scores)
        self.row_sample += self.block_frames * HOP_SAMPLES

    def take_output(self) -> Output:
        """What has come out since the last call."""
        output, self._output = self._output, Output()
        return output

    # -- one listener after another, in the middle of the sound ----------------------------------------

    @property
    def _decided_sample(self) -> int:
        """Up to here somebody has decided."""
        return self.row_sample + self._decided_frames * HOP_SAMPLES

    def first_sample_for(self, row_samples: int, earliest_sample: int) -> int:
        """Where sound must begin, not before that sample, for rows of this length to meet ours: one of them
        begins exactly where ours end that are decided."""
        assert not self._queue, "what waits for the classifier comes first"
        window_sample = self._decided_sample - ROW_START_SAMPLES
        return window_sample - (window_sample - earliest_sample) // row_samples * row_samples

    def take_over(self, former: Listener, first_sample: int, rows: F32) -> None:
        """Go on where another one stops, given the rows of sound from `first_sample` on.

        The rows that it has decided on warm up state and decoder here: what they alone would tell is not
        told. The others are listened to as if they had just come.
        """
        self.forget()
        self.begin(first_sample)
        self._rows = former._rows
        decided = (former._decided_sample - self.row_sample) // HOP_SAMPLES
        here = min(decided, len(rows) // self._stride * self._stride)
        for at in range(0, here, self.block_frames):
            piece = rows[at : min(at + self.block_frames, here)]
            scores, self.state = self.classifier.step(piece[np.newaxis], self.state)
            self.decoder.process(scores[0], self.row_sample + at * HOP_SAMPLES)
        self.decoder.forget_open()
        self.decoder.stay_quiet_after(former.decoder)
        self.row_sample += here * HOP_SAMPLES
        self._decided_frames = decided - here  # features that look further ahead are not here yet
        self.take(rows[here:])

    def stop(self, reason: str) -> None:
        """Another one goes on from here: what is open ends, what is undecided is left to it."""
        self._output.detections += self.decoder.flush(self._decided_sample, reason)


def block_frames(hop_ms: int, stride: int) -> int:
    """Feature rows in one call: a hop's worth, in whole strides."""
    frames = max(1, round(hop_ms * SAMPLE_RATE_HZ / 1000 / HOP_SAMPLES))
    return max(1, round(frames / stride)) * stride

"""The pure middle: chunks of sound in, scores and detections out. No threads, clocks, devices or sockets.

chunk -> [gap?] -> clean -> resample -> features -> block of rows -> classifier -> decoder
`--- each stream, intake.py ---'        `-- listener.py --'
                                        `------ all streams at once, together.py ------'
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer.audio import Chunk
from streamer.decoding.rules import LabelRule
from streamer.features.settings import FeatureSettings
from streamer.inference.classifier import Classifier
from streamer.intake import Intake, Meter
from streamer.listener import ROW_START_SAMPLES, Listener, Output, ScoreBlock, block_frames
from streamer.together import advance, hear, listen

__all__ = [
    "Intake",
    "Listener",
    "Meter",
    "Output",
    "ROW_START_SAMPLES",
    "ScoreBlock",
    "StreamPipeline",
    "advance",
    "block_frames",
    "hear",
    "listen",
]


class StreamPipeline(Listener):
    """A stream with one model, the whole way in one object."""

    def __init__(
        self,
        classifier: Classifier,
        features: FeatureSettings,
        rules: Sequence[LabelRule],
        rate_hz: int,
        hop_ms: int,
    ) -> None:
        super().__init__(classifier, features, rules, hop_ms)
        self._intake = Intake(rate_hz, [self])
        self.skip = self._intake.skip
        self.end = self._intake.end
        self.reset = self._intake.reset

    def feed(self, chunk: Chunk) -> None:
        """Take sound in, up to the blocks that wait for the classifier."""
        self._intake.feed(chunk)
        listen([self._intake])

    @property
    def meter(self) -> Meter:
        """What went through."""
        return self._intake.meter

    @property
    def latency_samples(self) -> int:
        """Sound at 16 kHz that may have been taken in and not yet have shown in the output."""
        return self._intake.latency_samples

"""A test stream through the daemon's own pipeline: scores once, then events at any thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ, Chunk
from streamer.decoding.decoder import Decoder, Detection
from streamer.decoding.rules import LabelRule
from streamer.inference.bundle import Bundle
from streamer.inference.model import open_classifier
from streamer.pipeline import StreamPipeline, advance
from training.evaluate.streams import LongStream

HOP_MS = 80
"""The daemon's usual step."""
CHUNK_SAMPLES = 60 * SAMPLE_RATE_HZ
ROWS_AT_ONCE = 200


@dataclass(slots=True)
class Played:
    """A stream as a model heard it."""

    stream: LongStream
    labels: list[str]
    scores: F32
    """(T, L)"""
    first_sample: int
    row_samples: int
    lookahead_samples: int

    def detections(self, rules: Sequence[LabelRule]) -> list[Detection]:
        """Events at these rules, by the daemon's decoder."""
        decoder = Decoder(rules, self.row_samples, self.lookahead_samples)
        found = []
        # In pieces, because the decoder walks a label's rows only in pieces where something is heard.
        for row in range(0, len(self.scores), ROWS_AT_ONCE):
            piece = self.scores[row : row + ROWS_AT_ONCE]
            found += decoder.process(piece, self.first_sample + row * self.row_samples)
        return [*found, *decoder.flush(len(self.stream.samples))]


def play(bundle: Bundle, stream: LongStream, variant: str = "onnx") -> Played:
    """All of the stream with the state carried from its beginning to its end."""
    classifier = open_classifier(bundle, variant)
    manifest = bundle.manifest
    pipeline = StreamPipeline(classifier, manifest.features, manifest.labels, SAMPLE_RATE_HZ, HOP_MS)
    blocks = []
    for first in range(0, len(stream.samples), CHUNK_SAMPLES):
        pipeline.feed(Chunk(stream.samples[first : first + CHUNK_SAMPLES], first, 0.0))
        advance(classifier, [pipeline])
        blocks += pipeline.take_output().scores
    pipeline.end()
    advance(classifier, [pipeline])
    blocks += pipeline.take_output().scores
    scores = np.concatenate([block.scores for block in blocks])
    lookahead = 400 - 160 - blocks[0].first_sample
    return Played(stream, bundle.label_names, scores, blocks[0].first_sample, pipeline.row_samples, lookahead)

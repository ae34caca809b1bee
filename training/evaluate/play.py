"""A test stream through the daemon's own pipeline: scores once, then events at any thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ, Chunk
from streamer.decoding.decoder import Decoder, Detection
from streamer.decoding.rules import LabelRule
from streamer.inference.bundle import Bundle
from streamer.inference.classifier import Classifier
from streamer.inference.model import open_classifier
from streamer.pipeline import ScoreBlock, StreamPipeline, advance
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


def play(bundle: Bundle, stream: LongStream, variant: str = "onnx", before: Iterable[F32] = ()) -> Played:
    """All of the stream with the state carried from its beginning, or what is heard before, to its end."""
    classifier = open_classifier(bundle, variant)
    manifest = bundle.manifest
    pipeline = StreamPipeline(classifier, manifest.features, manifest.labels, SAMPLE_RATE_HZ, HOP_MS)
    at, rows_before = 0, 0
    for samples in before:
        rows_before += sum(len(block.scores) for block in _hear(classifier, pipeline, samples, at))
        at += len(samples)
    if at % pipeline.row_samples:
        raise ValueError(f"{at} samples before are no whole number of rows")
    blocks = []
    for first in range(0, len(stream.samples), CHUNK_SAMPLES):
        blocks += _hear(classifier, pipeline, stream.samples[first : first + CHUNK_SAMPLES], at + first)
    pipeline.end()
    advance(classifier, [pipeline])
    blocks += pipeline.take_output().scores
    late = at // pipeline.row_samples - rows_before  # rows of what came before, told after its end
    scores = np.concatenate([block.scores for block in blocks])[late:]
    first_sample = blocks[0].first_sample + late * pipeline.row_samples - at
    lookahead = 400 - 160 - first_sample
    return Played(stream, bundle.label_names, scores, first_sample, pipeline.row_samples, lookahead)


def _hear(classifier: Classifier, pipeline: StreamPipeline, samples: F32, first: int) -> list[ScoreBlock]:
    pipeline.feed(Chunk(samples, first, 0.0))
    advance(classifier, [pipeline])
    return pipeline.take_output().scores

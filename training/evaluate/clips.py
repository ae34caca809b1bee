"""Clip mode: the same clips with a fresh state for each, to be held against the stream."""

from __future__ import annotations

import numpy as np

from streamer.audio import SAMPLE_RATE_HZ, Chunk
from streamer.inference.bundle import Bundle
from streamer.inference.model import open_classifier
from streamer.pipeline import StreamPipeline, advance
from training.evaluate.metrics import AFTER_CLIP_S
from training.evaluate.play import HOP_MS, Played
from training.evaluate.streams import LongStream

SIDE_BY_SIDE = 64
"""Clips classified in one call; more would only take memory."""


def play_clips(bundle: Bundle, stream: LongStream, like: Played, variant: str = "onnx") -> Played:
    """Scores on the rows of `like`: a clip's own from a fresh state, zero between clips."""
    classifier = open_classifier(bundle, variant)
    manifest, row = bundle.manifest, like.row_samples
    scores = np.zeros_like(like.scores)
    for at in range(0, len(stream.truths), SIDE_BY_SIDE):
        group = stream.truths[at : at + SIDE_BY_SIDE]
        # On the grid of rows, so that its rows are rows of the stream.
        firsts = [int(truth.start_s * SAMPLE_RATE_HZ) // row for truth in group]
        pipelines = [
            StreamPipeline(classifier, manifest.features, manifest.labels, SAMPLE_RATE_HZ, HOP_MS)
            for _ in group
        ]
        for pipeline, first, truth in zip(pipelines, firsts, group, strict=True):
            end = int((truth.end_s + AFTER_CLIP_S) * SAMPLE_RATE_HZ)
            pipeline.feed(Chunk(stream.samples[first * row : end], 0, 0.0))
            pipeline.end()
        advance(classifier, pipelines)
        for pipeline, first in zip(pipelines, firsts, strict=True):
            for block in pipeline.take_output().scores:
                into = scores[first + block.first_row :][: len(block.scores)]
                into[:] = block.scores[: len(into)]
    return Played(stream, like.labels, scores, like.first_sample, row, like.lookahead_samples)

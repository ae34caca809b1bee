"""`streamer replay`: files through the daemon's own pipeline, as fast as they go."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from streamer.cli.settings import add_config_options, flag_settings
from streamer.errors import EXIT_OK, SoundError, StreamerError

if TYPE_CHECKING:
    from streamer.capture.source import Source
    from streamer.config import Config
    from streamer.decoding.decoder import Detection
    from streamer.inference.model import Model
    from streamer.pipeline import ScoreBlock, StreamPipeline

NAME = "replay"
HELP = "Run sound files through the daemon's pipeline as fast as possible; one JSON event a line."
EXAMPLE = """  streamer replay kitchen.wav
  streamer replay *.flac --threshold dog_bark=0.4
  streamer replay day.wav --scores scores.npz
  sox in.mp3 -t raw -r 16000 -e signed -b 16 -c 1 - | streamer replay -"""

STDIN = "-"
BLOCK_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of replay."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="sound files; - reads raw PCM from standard input"
    )
    add_config_options(parser)
    parser.add_argument(
        "--rate",
        type=int,
        dest="rate_hz",
        default=16_000,
        metavar="HZ",
        help="of -: samples a second (default: 16000)",
    )
    parser.add_argument("--channels", type=int, default=1, metavar="N", help="of -: channels (default: 1)")
    parser.add_argument(
        "--format", choices=("s16le", "s32le", "f32le"), default="s16le", help="of -: what a sample is"
    )
    parser.add_argument(
        "--scores",
        metavar="OUT.npz",
        help="write the frame scores of one FILE: labels, frame_s, times_s[T], scores[T, L]",
    )


def run(options: argparse.Namespace) -> int:
    """Replay every file; a file that cannot be read is told, and the others go on."""
    from streamer.config import load_config
    from streamer.inference.model import open_model

    if options.scores and len(options.files) > 1:
        raise StreamerError("--scores takes one FILE", "run replay once for each")
    config = load_config(options.config, flags=flag_settings(options))
    model = open_model(config.model.bundle, config.model.variant)
    status = EXIT_OK
    for name in options.files:
        try:
            blocks, row_s = _replay(name, options, config, model)
        except SoundError as error:
            if options.debug:
                raise
            print(f"streamer: {error}", file=sys.stderr)
            status = error.status
            continue
        if options.scores:
            _write_scores(options.scores, model, blocks, row_s)
    return status


def _replay(
    name: str, options: argparse.Namespace, config: Config, model: Model
) -> tuple[list[ScoreBlock], float]:
    """Print a file's events as they come; returns its scores where they are wanted."""
    from streamer.capture.source import EndOfSound
    from streamer.config import tuned_rules
    from streamer.pipeline import StreamPipeline, advance

    source = _source(name, options)
    source.open()
    rules = tuned_rules(model.bundle.manifest.labels, config.labels)
    features = model.bundle.manifest.features
    pipeline = StreamPipeline(model.classifier, features, rules, source.rate_hz, config.engine.hop_ms)
    kept: list[ScoreBlock] = []
    ended = False
    try:
        while not ended:
            try:
                chunk = _next_chunk(source)
            except EndOfSound:
                ended = True
                pipeline.end()
            else:
                pipeline.feed(chunk)
            advance(model.classifier, [pipeline])
            _print_output(name, pipeline, kept if options.scores else None)
    finally:
        source.close()
    if not pipeline.meter.heard_samples:
        raise SoundError(f"{source.description} ended without any sound", "see that its writer runs")
    if warning := getattr(source, "warning", None):
        print(f"streamer: {warning}", file=sys.stderr)
    return kept, pipeline.row_samples / 16_000


def _source(name: str, options: argparse.Namespace) -> Source:
    from streamer.capture.files import SoundFileSource
    from streamer.capture.pipe import PcmPipeSource

    if name == STDIN:
        return PcmPipeSource(0, options.rate_hz, options.channels, options.format)
    return SoundFileSource(name, realtime=False, block_s=BLOCK_S)


def _next_chunk(source: Source) -> Any:
    import select

    while True:
        chunk = source.read()
        if chunk is not None:
            return chunk
        descriptor = source.fileno()
        if descriptor is not None:
            select.select([descriptor], [], [])


def _print_output(name: str, pipeline: StreamPipeline, kept: list[ScoreBlock] | None) -> None:
    output = pipeline.take_output()
    for detection in output.detections:
        print(json.dumps(event_fields(name, detection)), flush=True)
    if kept is not None:
        kept.extend(output.scores)


def event_fields(name: str, detection: Detection) -> dict[str, Any]:
    """A detection as the line that replay prints; times in seconds since the file began."""
    from streamer.live_stream import seconds

    offset = detection.offset_sample
    return {
        "stream": name,
        "kind": detection.kind,
        "label": detection.label,
        "phase": detection.phase,
        "onset_s": seconds(detection.onset_sample),
        "offset_s": None if offset is None else seconds(offset),
        "detected_s": seconds(detection.detected_sample),
        "score": detection.score,
        "reason": detection.reason,
    }


def _write_scores(path: str, model: Model, blocks: list[ScoreBlock], row_s: float) -> None:
    import numpy as np

    from streamer.live_stream import seconds

    scores = [block.scores for block in blocks] or [np.empty((0, len(model.labels)), np.float32)]
    times = [seconds(block.first_sample) + row_s * np.arange(len(block.scores)) for block in blocks]
    try:
        with open(path, "wb") as file:
            np.savez(
                file,
                labels=np.array(model.labels),
                frame_s=np.float64(row_s),
                times_s=np.concatenate(times) if times else np.empty(0),
                scores=np.concatenate(scores),
            )
    except OSError as error:
        raise StreamerError(f"{path}: {error.strerror or error}") from error

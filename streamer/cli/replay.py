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
    from streamer.ears import Ears
    from streamer.pipeline import Intake, Output, ScoreBlock
    from streamer.tuned import TunedModel

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
    from streamer.tuned import open_tuned

    if options.scores and len(options.files) > 1:
        raise StreamerError("--scores takes one FILE", "run replay once for each")
    config = load_config(options.config, flags=flag_settings(options))
    if options.scores and len(config.model.names) > 1:
        raise StreamerError("--scores takes one model", "name it with --model BUNDLE")
    models = open_tuned(config.model, config.labels)
    status = EXIT_OK
    for name in options.files:
        try:
            blocks, row_s = _replay(name, options, config, models)
        except SoundError as error:
            if options.debug:
                raise
            print(f"streamer: {error}", file=sys.stderr)
            status = error.status
            continue
        if options.scores:
            _write_scores(options.scores, models[0].model.labels, blocks, row_s)
    return status


def _replay(
    name: str, options: argparse.Namespace, config: Config, models: list[TunedModel]
) -> tuple[list[ScoreBlock], float]:
    """Print a file's events as they come; returns its scores (of the first model) where they are wanted."""
    from streamer.capture.source import EndOfSound
    from streamer.ears import Ears

    source = _source(name, options)
    source.open()
    ears = Ears(models, config.engine.hop_ms)
    intake = ears.open(source.rate_hz)
    kept: list[ScoreBlock] = []
    ended = False
    try:
        while not ended:
            try:
                chunk = _next_chunk(source)
            except EndOfSound:
                ended = True
                intake.end()
            else:
                intake.feed(chunk)
            outputs = _listen(intake, ears, models)
            _print_events(name, outputs)
            if options.scores:
                kept += outputs[0][1].scores
    finally:
        source.close()
    if not intake.meter.heard_samples:
        raise SoundError(f"{source.description} ended without any sound", "see that its writer runs")
    if warning := getattr(source, "warning", None):
        print(f"streamer: {warning}", file=sys.stderr)
    return kept, ears.listeners[0].row_samples / 16_000


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


def _listen(intake: Intake, ears: Ears, models: list[TunedModel]) -> list[tuple[str, Output]]:
    """What each model has to tell, with its name."""
    from streamer.pipeline import advance, hear, listen

    if hear([intake]):
        listen([intake])
        for tuned, listener in zip(models, ears.listeners, strict=True):
            advance(tuned.model.classifier, [listener])
    return [(ear.model.name, output) for ear, output in ears.take_outputs()]


def _print_events(name: str, outputs: list[tuple[str, Output]]) -> None:
    found = [(detection, model) for model, output in outputs for detection in output.detections]
    for detection, model in sorted(found, key=lambda item: item[0].detected_sample):
        print(json.dumps(event_fields(name, detection, model)), flush=True)


def event_fields(name: str, detection: Detection, model: str) -> dict[str, Any]:
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
        "model": model,
    }


def _write_scores(path: str, labels: list[str], blocks: list[ScoreBlock], row_s: float) -> None:
    import numpy as np

    from streamer.live_stream import seconds

    scores = [block.scores for block in blocks] or [np.empty((0, len(labels)), np.float32)]
    times = [seconds(block.first_sample) + row_s * np.arange(len(block.scores)) for block in blocks]
    try:
        with open(path, "wb") as file:
            np.savez(
                file,
                labels=np.array(labels),
                frame_s=np.float64(row_s),
                times_s=np.concatenate(times) if times else np.empty(0),
                scores=np.concatenate(scores),
            )
    except OSError as error:
        raise StreamerError(f"{path}: {error.strerror or error}") from error

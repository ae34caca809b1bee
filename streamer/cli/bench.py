"""`streamer bench`: what listening costs on this machine."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from streamer.cli.settings import add_config_options, flag_settings, positive_seconds
from streamer.errors import EXIT_INTERRUPTED, EXIT_OK

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.measuring import Calls, Progress, Report
    from streamer.tuned import TunedModel

NAME = "bench"
HELP = "Measure what listening costs on this machine: one stream, one in real time, as many as fit."
EXAMPLE = """  streamer bench                                half a minute; Ctrl-C tells what is known so far
  streamer bench --hop-ms 20 --model ~/my-model
  streamer bench --variant onnx-int8 --seconds 10 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of bench."""
    add_config_options(parser)
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=25.0,
        metavar="N",
        help="how long to measure (default: 25); less is less exact",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(options: argparse.Namespace) -> int:
    """Measure and tell; what was measured before Ctrl-C is told as well."""
    from streamer.cli.run import DEMO
    from streamer.config import load_config
    from streamer.measuring import Measuring
    from streamer.tuned import open_tuned

    config = load_config(options.config, flags=flag_settings(options))
    models = open_tuned(config.model, config.labels)
    progress, done = _progress()
    measuring = Measuring(models, config.engine.hop_ms, DEMO, progress)
    status = EXIT_OK
    try:
        measuring.run(options.seconds)
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    finally:
        done()
    if options.json:
        import json

        print(json.dumps(_fields(config, models, measuring.report)))
    else:
        print("\n".join(_lines(models, measuring.report)))
    return status


def _progress() -> tuple[Progress, Any]:
    """How to say what is being measured, and how to stop saying it."""
    if not sys.stderr.isatty():
        return (lambda text: print(f"measuring: {text}", file=sys.stderr, flush=True)), lambda: None
    from streamer.cli.terminal import StatusLine

    line = StatusLine(sys.stderr)
    return (lambda text: line.show(f"measuring: {text}")), line.close


def _variants(models: list[TunedModel]) -> str:
    """What runs them, as it was chosen."""
    return "+".join(dict.fromkeys(tuned.model.variant for tuned in models))


def _lines(models: list[TunedModel], report: Report) -> list[str]:
    """For people."""
    from streamer.tuned import joined_name, label_count

    lines = [
        f"model {joined_name(models)} ({_variants(models)}), {label_count(models)} labels, "
        f"a call for {report.block_ms} ms of sound"
    ]
    if fast := report.unpaced:
        lines.append(
            f"{'one stream, as fast as it goes':<32}{fast.times_real_time:.0f} times real time{_a_call(fast)}"
        )
    if live := report.paced:
        lines.append(f"{'one stream, in real time':<32}{live.cpu_percent:.2f} % of a core{_a_call(live)}")
    if report.batches:
        lines.append(f"{'streams at once':<32}{_of_many(report)}")
    if report.memory_mb:
        more = f", {report.stream_kb:.0f} kB for each further stream" if report.stream_kb else ""
        lines.append(f"{'memory':<32}{report.memory_mb:.0f} MB{more}")
    lines.append("Listening alone: capturing sound and telling events come on top.")
    return lines


def _a_call(calls: Calls) -> str:
    stages = f"{1000 * calls.cpu_ms:.0f} us, {1000 * calls.features_ms:.0f} of them for features"
    return f"; a call costs {stages}, and takes {calls.p50_ms:.2f} ms (p99 {calls.p99_ms:.2f} ms)"


def _of_many(report: Report) -> str:
    most, too_many = report.most, report.too_many
    told = []
    if most:
        cost = f"{most.busy_percent:.0f} % of the time, {most.core_percent:.0f} % of a core"
        told.append(f"{most.streams:,} fit ({cost})")
    if too_many:
        told.append(f"{too_many.streams:,} do not ({too_many.busy_percent:.0f} % of the time)")
    elif most:
        told.append("more were not tried: give it more --seconds")
    return ", ".join(told)


def _fields(config: Config, models: list[TunedModel], report: Report) -> dict[str, Any]:
    """For programs; what was not measured is null or empty."""
    import dataclasses

    from streamer import __version__
    from streamer.tuned import joined_name, label_count

    most = report.most
    return {
        "version": __version__,
        "model": joined_name(models),
        "variant": _variants(models),
        "labels": label_count(models),
        "hop_ms": config.engine.hop_ms,
        **dataclasses.asdict(report),
        "streams_fit": most.streams if most else None,
    }

"""Options that stand for settings, shared by the commands that listen."""

from __future__ import annotations

import argparse
import math
from typing import Any

from streamer.errors import ConfigError


def whole_from_1(text: str) -> int:
    """An option's value: 1, 2, 3 ..."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, legal values: a whole number from 1")
    return number


def positive_seconds(text: str) -> float:
    """An option's value: a length of time."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:  # false for NaN as well
        raise argparse.ArgumentTypeError(f"{text!r}, legal values: seconds above 0")
    return number


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Where settings come from, and the model."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="settings as TOML (default: the user's or /etc/streamer/streamer.toml)",
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="BUNDLE",
        help="name or folder of a model bundle (default: default); can be repeated: several side by side",
    )
    parser.add_argument(
        "--variant",
        choices=("auto", "kernel", "onnx", "onnx-int8", "torch"),
        help="how to run it (default: auto, the compiled kernel where it can, else onnx)",
    )
    parser.add_argument(
        "--hop-ms", type=int, metavar="MS", help="sound for one call of the model (default: 80)"
    )
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="LABEL=SCORE",
        help="another threshold for a label; can be repeated",
    )


def add_stream_options(parser: argparse.ArgumentParser, name_default: str = "default") -> None:
    """What to listen to."""
    parser.add_argument(
        "--source",
        choices=("microphone", "file", "stdin"),
        help="where sound comes from (default: microphone)",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="microphone: number, name or part of a name, see `streamer devices`"
    )
    parser.add_argument(
        "--rate", type=int, dest="rate_hz", metavar="HZ", help="microphone or stdin: samples a second"
    )
    parser.add_argument(
        "--channels", type=int, metavar="N", help="microphone or stdin: channels, mixed to one"
    )
    parser.add_argument(
        "--format", choices=("s16le", "s32le", "f32le"), help="stdin: what a sample is (default: s16le)"
    )
    parser.add_argument(
        "--file", dest="path", metavar="FILE", help="play a sound file as if it were a microphone"
    )
    parser.add_argument(
        "--fast", dest="pace", action="store_const", const="fast", help="file: as fast as possible"
    )
    parser.add_argument("--loop", action="store_const", const=True, help="file: begin again at its end")
    parser.add_argument(
        "--stream", dest="name", metavar="NAME", help=f"the stream's name in topics (default: {name_default})"
    )


def flag_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, in the shape of the config file."""
    settings: dict[str, Any] = {}
    stream = _given(
        options, "source", "device", "rate_hz", "channels", "format", "path", "pace", "loop", "name"
    )
    if "path" in stream and stream.setdefault("source", "file") != "file":
        raise ConfigError([f"--file and --source {stream['source']} contradict each other: give one of them"])
    if stream:
        settings["stream"] = [stream]
    if getattr(options, "remote_only", False):
        if stream:
            raise ConfigError(
                [f"--remote-only and options of a stream ({', '.join(stream)}) contradict each other"]
            )
        settings["stream"] = []
    for section, names in {
        "model": {"variant": "variant"},
        "engine": {"hop_ms": "hop_ms"},
        "publish": {"publish": "endpoints", "heartbeat": "heartbeat_s"},
        "journal": {"journal": "path", "keep_journal": "enabled"},
        "control": {"control": "endpoints"},
        "ingest": {"ingest": "endpoints"},
        "runtime": {"runtime_dir": "directory"},
        "log": {"log_level": "level"},
    }.items():
        found = {names[option]: value for option, value in _given(options, *names).items()}
        if found:
            settings[section] = found
    if bundles := getattr(options, "model", None):
        chosen = {"bundle": bundles[0]} if len(bundles) == 1 else {"bundles": bundles}
        settings.setdefault("model", {}).update(chosen)
    if getattr(options, "threshold", None):
        settings["labels"] = _thresholds(options.threshold)
    return settings


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def _thresholds(texts: list[str]) -> dict[str, dict[str, float]]:
    labels: dict[str, dict[str, float]] = {}
    faults: list[str] = []
    for text in texts:
        label, equals, number = text.partition("=")
        try:
            labels[label] = {"threshold": float(number)}
        except ValueError:
            equals = ""
        if not label or not equals:
            faults.append(f"--threshold {text}: expected LABEL=SCORE, such as computer=0.7")
    if faults:
        raise ConfigError(faults)
    return labels

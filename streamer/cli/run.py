"""`streamer run`: the daemon."""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.cli.settings import add_config_options, add_stream_options, flag_settings, positive_seconds
from streamer.errors import EXIT_OK, DeviceError

if TYPE_CHECKING:
    from streamer.config import Config

HELP = "Listen and publish until told to stop (Ctrl-C, SIGTERM); SIGHUP reads the config again."
EXAMPLE = """  streamer run                                  the default microphone
  streamer run --device USB --threshold computer=0.8
  streamer run --demo                           a bundled scene, no microphone needed
  arecord -q -t raw -f S16_LE -r 16000 | streamer run --source stdin --rate 16000"""

DEMO = Path(__file__).resolve().parent.parent / "assets" / "demo.ogg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the daemon."""
    add_config_options(parser)
    add_stream_options(parser)
    parser.add_argument(
        "--demo", action="store_true", help="listen to the bundled demo scene, again and again"
    )
    parser.add_argument("--or-demo", action="store_true", help="the demo scene where there is no microphone")
    parser.add_argument(
        "--publish", action="append", metavar="ENDPOINT", help="ZeroMQ address to bind; can be repeated"
    )
    parser.add_argument(
        "--heartbeat", type=float, metavar="S", help="seconds between health messages (default: 2)"
    )
    parser.add_argument(
        "--control",
        action="append",
        metavar="ENDPOINT",
        help="ZeroMQ address to answer requests at; can be repeated",
    )
    parser.add_argument(
        "--ingest",
        action="append",
        metavar="ENDPOINT",
        help="ZeroMQ address to take sound at from `streamer send`; can be repeated",
    )
    parser.add_argument(
        "--remote-only", action="store_true", help="with --ingest: no streams but those that are sent"
    )
    parser.add_argument(
        "--journal", metavar="PATH", help="where events are kept (default: journal.db in the state directory)"
    )
    parser.add_argument(
        "--no-journal",
        dest="keep_journal",
        action="store_const",
        const=False,
        help="keep no events: what nobody receives is lost",
    )
    parser.add_argument("--runtime-dir", metavar="DIR", help="where sockets and the lock are")
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="default: info, warning with --live",
    )
    parser.add_argument(
        "--live",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="show a live line (default: at a terminal)",
    )
    parser.add_argument(
        "--for", type=positive_seconds, dest="for_s", metavar="S", help="stop after so many seconds"
    )


def run(options: argparse.Namespace) -> int:
    """Start the service; returns when it has stopped."""
    _hold_signals()
    _tell_of_crashes()
    live = sys.stdout.isatty() if options.live is None else options.live
    if options.or_demo and not options.demo:
        options.demo = _lacks_microphone(_load(options, live))
    config = _load(options, live)
    _start_recorders(config)
    from streamer.logs import set_up_logging
    from streamer.service import Service

    line = _status_line() if live else None
    set_up_logging(config.log.level, line)
    try:
        Service(config, load=lambda: _load(options, live), display=_display(line), for_s=options.for_s).run()
    finally:
        if line:
            line.close()
    return EXIT_OK


def _hold_signals() -> None:
    """A reload or a dump asked for while we are still starting must not end us, as it does by default."""
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def _tell_of_crashes() -> None:
    """PortAudio aborts on some ALSA configurations, while its messages are kept off the terminal."""
    if not faulthandler.is_enabled():
        faulthandler.enable(os.dup(2))


def _load(options: argparse.Namespace, live: bool) -> Config:
    """The settings in force, now or after a reload."""
    import msgspec

    from streamer.config import LogConfig, StreamConfig, load_config

    config = load_config(options.config, flags=flag_settings(options))
    if options.demo:
        demo = StreamConfig(name="demo", source="file", path=str(DEMO), loop=True)
        config = msgspec.structs.replace(config, streams=[demo])
    if live and options.log_level is None and config.log.level == "info":
        # At a terminal the live line tells the news; a log beside it would say everything twice.
        config = msgspec.structs.replace(config, log=LogConfig(level="warning"))
    return config


def _start_recorders(config: Config) -> None:
    """Before the imports that take long: microphones open meanwhile."""
    from streamer.capture import head_start
    from streamer.capture.recorder_process import recorder_order

    engine = config.engine
    for stream in config.streams:
        if stream.source == "microphone":
            head_start.begin(
                recorder_order(stream.device, stream.rate_hz, stream.channels, engine.ring_s, engine.wake_ms)
            )


def _lacks_microphone(config: Config) -> bool:
    """True where a microphone is wanted and none can be had; says so."""
    from streamer.live_stream import try_source

    try:
        for stream in config.streams:
            if stream.source == "microphone":
                try_source(stream, config.engine)
    except DeviceError as error:
        print(f"streamer: {error.message}: listening to the bundled demo scene instead", file=sys.stderr)
        return True
    return False


def _status_line() -> Any:
    from streamer.cli.terminal import StatusLine

    return StatusLine(sys.stdout)


def _display(line: Any) -> Any:
    if line is None:
        return None
    from streamer.cli.live import LiveDisplay

    return LiveDisplay(line)

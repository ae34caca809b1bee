"""`streamer send`: this machine's microphone for a daemon on another one."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from streamer.cli.remote import add_keys_option, keys_for
from streamer.cli.settings import add_stream_options, flag_settings, positive_seconds
from streamer.errors import EXIT_OK

if TYPE_CHECKING:
    from streamer.capture.sender import Sender
    from streamer.config import Config

HELP = "Capture sound and send it to a daemon on another machine until told to stop (Ctrl-C, SIGTERM)."
EXAMPLE = """  streamer send --to tcp://lab.local:7792
  streamer send --to tcp://lab.local:7792 --device USB --stream workbench --codec flac
  streamer send --to tcp://127.0.0.1:7792 --file scene.wav
  arecord -q -t raw -f S16_LE -r 16000 | streamer send --to tcp://lab.local:7792 --source stdin"""

LONGEST_BUFFER_S = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of send."""
    parser.add_argument(
        "--to", required=True, metavar="ENDPOINT", help="a daemon's ingest address, such as tcp://HOST:7792"
    )
    add_stream_options(parser, name_default="this machine's name")
    parser.add_argument(
        "--codec",
        choices=("pcm16", "flac"),
        default="pcm16",
        help="flac: the same sound in fewer bytes (default: pcm16)",
    )
    parser.add_argument(
        "--buffer-s",
        type=_buffer_seconds,
        default=30.0,
        metavar="S",
        help="sound that is kept while the daemon is away; older sound is lost, and told (default: 30)",
    )
    add_keys_option(parser)


def run(options: argparse.Namespace) -> int:
    """Send until the sound ends or a signal comes; then say goodbye."""
    from streamer.capture.sender import Sender
    from streamer.client.sockets import find_credentials
    from streamer.delivery.endpoints import INGEST, check_connect_endpoint
    from streamer.live_stream import open_source

    endpoint = check_connect_endpoint(options.to, INGEST)
    config = _settings(options)
    sender = Sender(
        open_source(config.streams[0], config.engine),
        endpoint,
        config.streams[0].name,
        codec=options.codec,
        buffer_s=options.buffer_s,
        credentials=find_credentials(endpoint, keys_for(options, options.to, INGEST)),
        tell=lambda text: print(f"streamer: {text}", file=sys.stderr, flush=True),
    )
    _stop_on_signals(sender)
    sender.run()
    return EXIT_OK


def _settings(options: argparse.Namespace) -> Config:
    """The options, checked as the daemon's settings are; a config file on this machine is the daemon's."""
    from streamer.config import load_config

    flags: dict[str, Any] = flag_settings(options)
    stream = {"name": legal_name(socket.gethostname()), **flags.get("stream", [{}])[0]}
    return load_config(os.devnull, environment={}, flags={"stream": [stream]})


def legal_name(text: str) -> str:
    """A machine's name as a stream's: without its domain, and what may not stand in a name replaced."""
    legal = re.sub(r"[^A-Za-z0-9_-]+", "-", text.partition(".")[0]).lstrip("-_")
    return legal[:64] or "remote"


def _buffer_seconds(text: str) -> float:
    seconds = positive_seconds(text)
    if not 1.0 <= seconds <= LONGEST_BUFFER_S:
        raise argparse.ArgumentTypeError(f"{text!r}, legal values: from 1 to {LONGEST_BUFFER_S:g} seconds")
    return seconds


def _stop_on_signals(sender: Sender) -> None:
    """The first one ends it in order, the second at once."""
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            raise KeyboardInterrupt
        stopping = True
        sender.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

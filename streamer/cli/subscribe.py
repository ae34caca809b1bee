"""`streamer subscribe`: print what a daemon tells."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from streamer.cli.settings import positive_seconds, whole_from_1
from streamer.errors import EXIT_FAILURE, EXIT_OK

if TYPE_CHECKING:
    from streamer.delivery.messages import Record

NAME = "subscribe"
HELP = "Print the events of a running daemon as they come."
EXAMPLE = """  streamer subscribe
  streamer subscribe --topic keyword.computer. --json --count 1
  streamer subscribe --topic health. --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of subscribe."""
    parser.add_argument(
        "--connect",
        metavar="ENDPOINT",
        help="the daemon's address (default: its local socket, else tcp://127.0.0.1:7790)",
    )
    parser.add_argument(
        "--topic",
        action="append",
        metavar="PREFIX",
        help="only topics that begin so; can be repeated (default: keyword. sound.)",
    )
    parser.add_argument("--frames", action="store_true", help="frame scores, too")
    parser.add_argument("--json", action="store_true", help="one JSON message a line")
    parser.add_argument("--count", type=whole_from_1, metavar="N", help="stop after N messages")
    parser.add_argument(
        "--timeout",
        type=positive_seconds,
        metavar="S",
        help="give up (exit status 1) after S seconds without one",
    )


def run(options: argparse.Namespace) -> int:
    """Print until Ctrl-C, --count or --timeout."""
    from streamer.client import Subscriber

    topics = tuple(options.topic) if options.topic else ("keyword.", "sound.")
    with Subscriber(options.connect, topics=topics, frames=options.frames) as subscriber:
        _say_where(subscriber.endpoint)
        printed = 0
        while options.count is None or printed < options.count:
            record = subscriber.receive(options.timeout)
            if record is None:
                print(
                    f"streamer: nothing came within {options.timeout:g} s from {subscriber.endpoint}",
                    file=sys.stderr,
                )
                return EXIT_FAILURE
            print(_json(record) if options.json else _text(record), flush=True)
            printed += 1
    return EXIT_OK


def _say_where(endpoint: str) -> None:
    if sys.stderr.isatty():
        print(f"listening on {endpoint}, Ctrl-C ends", file=sys.stderr)


def _json(record: Record) -> str:
    from streamer.delivery.messages import Frames, to_json

    text = to_json(record).decode()
    if isinstance(record, Frames):
        import msgspec

        fields = msgspec.json.decode(text)
        fields["scores"] = [[round(float(score), 4) for score in row] for row in record.scores()]
        return msgspec.json.encode(fields).decode()
    return text


def _text(record: Record) -> str:
    from streamer.cli.live import event_line
    from streamer.delivery.messages import Event, Health

    if isinstance(record, Event):
        return event_line(record)
    if isinstance(record, Health):
        level = "-" if record.level_dbfs is None else f"{record.level_dbfs:.0f} dBFS"
        told = f"{record.state}, {level}, {record.lost_samples} samples lost"
        return f"{record.time_utc[11:23]}  health  {told}  [{record.stream}]"
    best = record.scores().max(axis=0)
    column = int(best.argmax())
    told = f"{record.rows} rows, most {record.labels[column]} {best[column]:.2f}"
    return f"{record.first_s:12.2f}  frames  {told}  [{record.stream}]"

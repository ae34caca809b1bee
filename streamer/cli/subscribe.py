"""`streamer subscribe`: print what a daemon tells, from now on or from a place in the past."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from streamer.cli.remote import add_keys_option, keys_for, since
from streamer.cli.settings import positive_seconds, whole_from_1
from streamer.errors import EXIT_FAILURE, EXIT_OK

if TYPE_CHECKING:
    from streamer.client import Missed, Record, Subscriber

HELP = "Print the events of a running daemon as they come, and those it has kept."
EXAMPLE = """  streamer subscribe
  streamer subscribe --topic keyword.computer. --json --count 1
  streamer subscribe --since 2h --for 1         what was heard in the last two hours
  streamer subscribe --json --place ~/heard.place >> heard.jsonl
  streamer subscribe --topic health. --json"""

LOOK_S = 1.0
"""How often to see whether the daemon is still there, for whoever watches."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of subscribe."""
    parser.add_argument(
        "--connect",
        metavar="ENDPOINT",
        help="the daemon's address (default: its local socket, else tcp://127.0.0.1:7790)",
    )
    parser.add_argument(
        "--control",
        metavar="ENDPOINT",
        help="where to ask for past events (default: control.sock beside it; for TCP the next port)",
    )
    add_keys_option(parser)
    parser.add_argument(
        "--topic",
        action="append",
        metavar="PREFIX",
        help="only topics that begin so; can be repeated (default: keyword. sound.)",
    )
    parser.add_argument(
        "--since",
        type=since,
        metavar="WHEN",
        help="begin in the past: all, after event number N, at a time (12:00, 2026-01-31T12:00), "
        "or some time ago (90s, 15m, 2h, 3d)",
    )
    parser.add_argument(
        "--place",
        metavar="FILE",
        help="remember there what was printed, and go on after it the next time",
    )
    parser.add_argument("--frames", action="store_true", help="frame scores, too")
    parser.add_argument("--json", action="store_true", help="one JSON message a line")
    parser.add_argument("--count", type=whole_from_1, metavar="N", help="stop after N messages")
    parser.add_argument(
        "--for", type=positive_seconds, dest="for_s", metavar="S", help="stop after S seconds"
    )
    parser.add_argument(
        "--timeout",
        type=positive_seconds,
        metavar="S",
        help="give up (exit status 1) after S seconds without one",
    )


def run(options: argparse.Namespace) -> int:
    """Print until Ctrl-C, --count, --for or --timeout."""
    from streamer.client import Missed, Subscriber
    from streamer.delivery.endpoints import PUBLISH

    topics = tuple(options.topic) if options.topic else ("keyword.", "sound.")
    with Subscriber(
        options.connect,
        topics=topics,
        frames=options.frames,
        since=options.since,
        place=options.place,
        control=options.control,
        credentials=keys_for(options, options.connect, PUBLISH),
    ) as subscriber:
        watch = _Watch(subscriber)
        ends_s = time.monotonic() + options.for_s if options.for_s else None
        printed = 0
        while options.count is None or printed < options.count:
            record = watch.receive(options.timeout, ends_s)
            if record is None:
                return EXIT_OK if ends_s and time.monotonic() >= ends_s else _give_up(options, subscriber)
            print(_json(record) if options.json else _text(record), flush=True)
            printed += not isinstance(record, Missed)
        subscriber.ack()
    return EXIT_OK


def _give_up(options: argparse.Namespace, subscriber: Subscriber) -> int:
    trouble = subscriber.trouble
    why = f": {trouble.message}; {trouble.remedy}" if trouble else ""
    print(
        f"streamer: nothing came within {options.timeout:g} s from {subscriber.endpoint}{why}",
        file=sys.stderr,
    )
    return EXIT_FAILURE


class _Watch:
    """Receives and, where a person looks on, tells whether the daemon is there."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._tells = sys.stderr.isatty()
        self._was_alive = False
        self._say(f"listening on {subscriber.endpoint}, Ctrl-C ends")

    def receive(self, timeout_s: float | None, ends_s: float | None) -> Record | None:
        """The next record; None after so long without one, or at that moment."""
        gives_up_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            moments = [moment for moment in (gives_up_s, ends_s) if moment is not None]
            if self._tells:
                moments.append(time.monotonic() + LOOK_S)
            wait_s = max(0.0, min(moments) - time.monotonic()) if moments else None
            record = self._subscriber.receive(wait_s)
            self._look()
            now_s = time.monotonic()
            if record is not None or any(now_s >= moment for moment in (gives_up_s, ends_s) if moment):
                return record

    def _look(self) -> None:
        alive = self._subscriber.alive
        if self._was_alive and not alive:
            self._say("the daemon is gone; what it hears when it is back will be printed")
        elif alive and not self._was_alive and self._subscriber.health:
            self._say("the daemon is there")
        self._was_alive = alive

    def _say(self, text: str) -> None:
        if self._tells:
            print(text, file=sys.stderr)


def _json(record: Record) -> str:
    import msgspec

    from streamer.client import Missed
    from streamer.delivery.messages import Frames, to_json

    if isinstance(record, Missed):
        return msgspec.json.encode(record).decode()
    text = to_json(record).decode()
    if isinstance(record, Frames):
        fields = msgspec.json.decode(text)
        fields["scores"] = [[round(float(score), 4) for score in row] for row in record.scores()]
        return msgspec.json.encode(fields).decode()
    return text


def _text(record: Record) -> str:
    from streamer.cli.live import event_line
    from streamer.client import Missed
    from streamer.delivery.messages import Event, Health

    if isinstance(record, Event):
        return event_line(record)
    if isinstance(record, Missed):
        return missed_line(record)
    if isinstance(record, Health):
        level = "-" if record.level_dbfs is None else f"{record.level_dbfs:.0f} dBFS"
        told = f"{record.state}, {level}, {record.lost_samples} samples lost"
        return f"{record.time_utc[11:23]}  health  {told}  [{record.stream}]"
    best = record.scores().max(axis=0)
    column = int(best.argmax())
    told = f"{record.rows} rows, most {record.labels[column]} {best[column]:.2f}"
    return f"{record.first_s:12.2f}  frames  {told}  [{record.stream}]"


def missed_line(missed: Missed) -> str:
    """What is missing, for people."""
    if missed.count is None:
        beginning = "" if missed.first is None else f" from number {missed.first} on"
        return f"--:--:--.---  missed  an unknown number of events{beginning}: {missed.reason}"
    numbers = f"number {missed.first}" if missed.count == 1 else f"numbers {missed.first} to {missed.last}"
    plural = "" if missed.count == 1 else "s"
    return f"--:--:--.---  missed  {missed.count} event{plural}, {numbers}: {missed.reason}"

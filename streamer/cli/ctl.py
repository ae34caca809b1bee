"""`streamer ctl`: ask a running daemon how it is, and tell it what to do."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamer.cli.remote import add_keys_option, keys_for
from streamer.cli.settings import positive_seconds
from streamer.errors import EXIT_OK

if TYPE_CHECKING:
    from streamer.client import Control
    from streamer.delivery.requests import LabelInfo, StatusReply, StreamInfo

HELP = "Ask a running daemon how it is, and tell it what to do."
EXAMPLE = """  streamer ctl status
  streamer ctl mute --stream kitchen
  streamer ctl threshold computer 0.8
  streamer ctl threshold computer config
  streamer ctl streams --json
  streamer ctl ping --endpoint tcp://lab.local:7791"""

TIMEOUT_S = 5.0
RELOAD_TIMEOUT_S = 30.0
"""Another model has to be read and checked."""
CONFIG = "config"
"""Instead of a threshold: the one that the config has."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One action each, all with the same options."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    for name, (help_text, *_) in ACTIONS.items():
        action = actions.add_parser(name, help=help_text, description=help_text)
        if name == "threshold":
            action.add_argument("label", metavar="LABEL", help="see `streamer ctl labels`")
            action.add_argument(
                "value", metavar="VALUE", type=_share, help=f"above 0 and below 1, or {CONFIG}: as it was set"
            )
        if name in ("mute", "unmute", "threshold"):
            action.add_argument("--stream", metavar="NAME", help="this stream only (default: all)")
        action.add_argument("--json", action="store_true", help="the answer as JSON")
        action.add_argument(
            "--endpoint",
            metavar="ENDPOINT",
            help="where the daemon takes requests (default: its local socket, else tcp://127.0.0.1:7791)",
        )
        action.add_argument(
            "--timeout",
            type=positive_seconds,
            default=RELOAD_TIMEOUT_S if name == "reload" else TIMEOUT_S,
            metavar="S",
            help="wait so long at most (default: %(default)g)",
        )
        add_keys_option(action)
        # where nothing is said, the outer --debug holds
        action.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="on a fault, print the traceback"
        )


def run(options: argparse.Namespace) -> int:
    """Ask and print the answer."""
    import msgspec

    from streamer.client import Control
    from streamer.delivery.endpoints import CONTROL

    keys = keys_for(options, options.endpoint, CONTROL)
    _, ask, tell = ACTIONS[options.action]
    with Control(options.endpoint, timeout_s=options.timeout, credentials=keys) as control:
        answer = ask(control, options)
    # what has nothing to say is an empty object all the same
    print(msgspec.json.encode({} if answer is None else answer).decode() if options.json else tell(answer))
    return EXIT_OK


def _share(text: str) -> float | None:
    if text == CONFIG:
        return None
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, legal values: a number above 0 and below 1, or {CONFIG}")
    return share


# -- the actions: what is asked, and what is printed ---------------------------------------------------


def _ping(control: Control, _: argparse.Namespace) -> dict[str, Any]:
    import msgspec

    began_s = time.monotonic()
    reply = control.ping()
    return {**msgspec.structs.asdict(reply), "milliseconds": round(1_000 * (time.monotonic() - began_s), 2)}


def _tell_ping(answer: dict[str, Any]) -> str:
    kept = f"journal {answer['journal']}" if answer["journal"] else "no journal"
    return (
        f"streamer {answer['version']} answers in {answer['milliseconds']:g} ms: "
        f"run {answer['run']}, {kept}, last event number {answer['seq']}"
    )


def _tell_status(status: StatusReply) -> str:
    journal = status.journal
    lines = [f"daemon   streamer {status.version}, run {status.run}, {_uptime(status)}"]
    lines += [
        f"stream   {health.stream}: {health.state}{_detail(health.detail)}, "
        f"{'-' if health.level_dbfs is None else f'{health.level_dbfs:.0f} dBFS'}, "
        f"{health.lost_samples} samples lost, model {health.model}, {health.source}"
        for health in status.streams
    ]
    if journal.journal_state == "off":
        lines.append("journal  none: what nobody receives is lost")
    else:
        lines.append(
            f"journal  {journal.journal_state}{_detail(journal.journal_detail)}, "
            f"events {journal.oldest_seq} to {journal.seq}, {journal.journal_pending} not written yet, "
            f"{journal.size_bytes / 1e6:.1f} MB in {journal.path}"
        )
    lines += [
        f"events   on {', '.join(status.publishing_on)}; "
        f"{status.sent} messages sent, {status.overflows} queues overflowed",
        f"requests on {', '.join(status.control_on)}",
        f"wanted   {', '.join(prefix or '(everything)' for prefix in status.subscriptions) or 'nothing'}",
    ]
    return "\n".join(lines)


def _uptime(status: StatusReply) -> str:
    seconds = max((health.uptime_s for health in status.streams), default=0.0)
    hours, minutes = divmod(int(seconds / 60), 60)
    return (
        f"up {hours} h {minutes} min" if hours else f"up {minutes} min" if minutes else f"up {seconds:.0f} s"
    )


def _detail(text: str) -> str:
    return f" ({text})" if text else ""


def _tell_streams(streams: list[StreamInfo]) -> str:
    rows = [f"{one.stream:<16} {one.state:<10} {one.source}{_detail(one.detail)}" for one in streams]
    return "\n".join(rows) or "no streams"


def _tell_labels(labels: list[LabelInfo]) -> str:
    rows = [
        f"{one.stream:<16} {one.label:<20} {one.kind:<8} {one.threshold:.2f}  "
        f"{'' if one.enabled else 'off':<6} {one.model}"
        for one in labels
    ]
    return "\n".join(["stream           label                kind     threshold    model", *rows])


def _tell_threshold(answer: Any) -> str:
    return f"{answer.label}: {answer.threshold:g} in {', '.join(answer.streams)}"


def _tell_reload(sections: list[str]) -> str:
    later = f"; changes in {', '.join(sections)} need a restart" if sections else ""
    return f"the config was read again{later}"


Ask = Callable[["Control", argparse.Namespace], Any]

ACTIONS: dict[str, tuple[str, Ask, Callable[[Any], str]]] = {
    "status": ("How streams, journal and sockets are.", lambda control, _: control.status(), _tell_status),
    "streams": ("The streams.", lambda control, _: control.streams(), _tell_streams),
    "labels": (
        "The labels of each stream, and their thresholds.",
        lambda control, _: control.labels(),
        _tell_labels,
    ),
    "mute": (
        "Stop listening.",
        lambda control, options: control.mute(options.stream),
        lambda streams: f"muted: {', '.join(streams)}",
    ),
    "unmute": (
        "Listen again.",
        lambda control, options: control.unmute(options.stream),
        lambda streams: f"listening: {', '.join(streams)}",
    ),
    "threshold": (
        "Another threshold for a label, until the daemon ends or reads its config again.",
        lambda control, options: control.threshold(options.label, options.value, options.stream),
        _tell_threshold,
    ),
    "reload": (
        "Read config and models again, as SIGHUP does, and wait until they are in force.",
        lambda control, _: control.reload(),
        _tell_reload,
    ),
    "shutdown": (
        "End the daemon, as SIGTERM does.",
        lambda control, _: control.shutdown(),
        lambda _: "the daemon is stopping",
    ),
    "ping": ("Is anybody there?", _ping, _tell_ping),
}

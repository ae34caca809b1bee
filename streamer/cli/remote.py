"""Options of the commands that talk to a running daemon, and how they read their values."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from streamer.delivery.endpoints import Use

Since = Literal["new", "all"] | int | datetime

_AGO = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d)?", re.ASCII)


def add_keys_option(parser: argparse.ArgumentParser) -> None:
    """Where the keys are that a daemon on another machine wants."""
    parser.add_argument(
        "--keys",
        metavar="DIR",
        help="directory of keys, for a daemon on another machine (default: as the settings say, see "
        "`streamer keys list`)",
    )


def keys_for(options: argparse.Namespace, endpoint: str | None, use: Use) -> str | None:
    """The directory of keys for an address: as the option says, else where `streamer keys` puts them.

    The settings are read for addresses that want keys only: a fault in them is in nobody's way here.
    """
    from streamer.config import load_config
    from streamer.delivery.endpoints import check_connect_endpoint

    given: str | None = options.keys
    if given is not None or endpoint is None or check_connect_endpoint(endpoint, use).is_local:
        return given
    return load_config().security.keys


def since(text: str) -> Since:
    """An option's value: where in the past to begin."""
    if text in ("new", "all"):
        return text  # type: ignore[return-value]
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return _moment(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r}, legal values: all, new, a number of an event, "
            "a time (2026-01-31T12:00 or 12:00) or a time ago (90s, 15m, 2h, 3d)"
        ) from None


def _moment(text: str) -> datetime:
    """A moment with its time zone; without one in the text it is the local one."""
    now = datetime.now().astimezone()
    if ago := _AGO.fullmatch(text):
        return now - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
    if _CLOCK.fullmatch(text):
        hour, _, rest = text.partition(":")
        today = datetime.fromisoformat(f"{now.date()}T{hour:0>2}:{rest}").astimezone()
        return today if today <= now else today - timedelta(days=1)
    return datetime.fromisoformat(text).astimezone()

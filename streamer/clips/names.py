"""What the file of a clip is called: by day, then by moment, stream, label and number."""

from __future__ import annotations

import re


def clip_name(time_utc: str, stream: str, label: str, seq: int) -> str:
    """Relative to the directory of clips; sorted by name, they are sorted by time."""
    day, clock = time_utc.split("T", 1)
    moment = re.sub(r"[^0-9]", "", clock)
    return f"{day}/{moment}-{_plain(stream)}-{_plain(label)}-{seq}.flac"


def _plain(name: str) -> str:
    """No part of a name can lead out of the directory."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)

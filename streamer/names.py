"""Names of labels and streams: they become parts of topics, so no dots and no blanks."""

from __future__ import annotations

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"
"""`\\Z` and not `$`, which would let a line break at the end through."""

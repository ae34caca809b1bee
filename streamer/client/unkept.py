"""Numbers of a daemon that keeps no journal: they count within a run, and a hole is a loss at once."""

from __future__ import annotations

from streamer.client.records import Missed

NO_JOURNAL = "the daemon keeps no journal"


class Unkept:
    """Follows the numbers of one run after the other."""

    def __init__(self, run: str, seq: int) -> None:
        # of the first run we may have come late, so count from here
        self._run, self._seq = run, seq

    def hole_before(self, run: str, seq: int) -> Missed | None:
        """What is missing before this number."""
        if run != self._run:
            self._run, self._seq = run, 0  # a later one began while we listened
        if seq - 1 <= self._seq:
            return None
        gone = Missed(journal=run, first=self._seq + 1, last=seq - 1, reason=NO_JOURNAL)
        self._seq = seq - 1
        return gone

    def is_next(self, seq: int) -> bool:
        """Whether this number follows; it is then noted."""
        follows = seq == self._seq + 1
        self._seq += follows
        return follows

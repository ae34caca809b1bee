"""How long events may wait for those before them, while the daemon lives and does not give them."""

from __future__ import annotations

PATIENCE_S, UNREACHED_PATIENCE_S = 30.0, 5.0
"""The shorter time while no question could even be sent: perhaps there is no control socket."""
JOIN_PATIENCE_S, UNREACHED_JOIN_PATIENCE_S = 2.0, 0.5
"""The same for whoever begins with what is new: nothing was promised to it of the time before."""
IMPATIENCE_S = 1.0
"""The same once the daemon did not answer: until it does."""

NO_ANSWER = "the daemon does not answer on its control socket"


class Patience:
    """Notes since when something is owed."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """The daemon has answered."""
        self.reason = NO_ANSWER
        """Why what is owed does not come."""
        self._owing_since_s: float | None = None
        self._deaf = False

    def rest(self) -> None:
        """Nothing is owed, or the daemon is another one."""
        self._owing_since_s = None

    def owe(self, now_s: float) -> None:
        """Something is owed, from now on or already."""
        if self._owing_since_s is None:
            self._owing_since_s = now_s

    def ends_s(self, *, joins: bool, reached: bool) -> float | None:
        """The moment at which it has been owed for too long; None: nothing is."""
        return None if self._owing_since_s is None else self._owing_since_s + self._patience_s(joins, reached)

    def lose(self) -> None:
        """It has been too long."""
        self._deaf, self._owing_since_s = True, None

    def _patience_s(self, joins: bool, reached: bool) -> float:
        if joins:
            return JOIN_PATIENCE_S if reached else UNREACHED_JOIN_PATIENCE_S
        if self._deaf:
            return IMPATIENCE_S
        return PATIENCE_S if reached else UNREACHED_PATIENCE_S

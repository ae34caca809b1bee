"""How long events are kept: what is too old or too much is forgotten, oldest first, in small steps."""

from __future__ import annotations

import time

from streamer.delivery.store import Store

STEP_EVENTS = 200


class Retention:
    """The two bounds of a journal."""

    def __init__(self, max_age_days: float, max_mb: float) -> None:
        self._max_age_ms = max_age_days * 86_400_000
        self._max_bytes = max_mb * 1_000_000

    def step(self, store: Store) -> bool:
        """Forget a few events if that is due; whether there may be more to forget."""
        oldest = store.entries(store.pruned_through + 1, STEP_EVENTS)
        due = 0
        if store.used_bytes() > self._max_bytes:
            due = len(oldest)
        else:
            ends_ms = time.time() * 1_000 - self._max_age_ms
            while due < len(oldest) and oldest[due].time_ms < ends_ms:
                due += 1
        if due:
            store.prune(oldest[due - 1].seq)
        return due == STEP_EVENTS

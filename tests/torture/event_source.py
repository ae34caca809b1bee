"""A daemon without ears: the real journal, sockets and delivery thread, and events at a steady rate.

    python -m tests.torture.event_source RUNTIME-DIR EVENTS-A-SECOND

`detected_s` of each event is the moment at which it was handed to the delivery thread, on the clock that all
processes of the machine share (time.monotonic), so that a subscriber can say how long it was on its way.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from streamer.delivery.journal import Journal
from streamer.delivery.messages import Event, new_run, utc_text
from streamer.delivery.outlet import Outlet
from tests.client.model import a_health

HEARTBEAT_S = 0.5


def main(folder: str, rate_hz: str) -> None:
    """Publish until killed."""
    runtime, run = Path(folder), new_run()
    outlet = Outlet(
        run,
        Journal(runtime / "state" / "journal.db"),
        publish=[f"ipc://{runtime}/events.sock"],
        control=[f"ipc://{runtime}/control.sock"],
        clients_max=1_000,
    )
    outlet.start()
    seq, period_s = outlet.head_seq, 1 / float(rate_hz)
    due_s = beat_s = time.monotonic()
    while True:
        now_s = time.monotonic()
        if now_s >= beat_s:
            beat_s = now_s + HEARTBEAT_S
            outlet.put(a_health(run=run, seq=seq, heartbeat_s=HEARTBEAT_S, time_utc=utc_text(time.time())))
        seq += 1
        outlet.put(an_event_now(run, outlet.journal_name, seq))
        outlet.flush()
        due_s = max(due_s + period_s, now_s - 1)
        time.sleep(max(0.0, due_s - time.monotonic()))


def an_event_now(run: str, journal: str, seq: int) -> Event:
    """An event that is heard at this moment."""
    return Event(
        run=run,
        journal=journal,
        seq=seq,
        stream="kitchen",
        kind="keyword",
        label="hello",
        phase="hit",
        onset_s=0.0,
        offset_s=0.1,
        detected_s=time.monotonic(),
        score=0.9,
        time_utc=utc_text(time.time()),
        model="none",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

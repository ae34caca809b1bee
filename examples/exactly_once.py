"""Note each event exactly once, whatever is killed and restarted: python exactly_once.py [ENDPOINT [COUNT]]

What was done and how far we have come are written in one transaction, so that neither can be there without
the other. The notes are kept in heard.db, in the current directory.
"""

import sqlite3
import sys

from streamer.client import Event, Missed, Place, Subscriber

endpoint = sys.argv[1] if len(sys.argv) > 1 else None  # None: the daemon of this machine
count = int(sys.argv[2]) if len(sys.argv) > 2 else 0

notes = sqlite3.connect("heard.db")
notes.execute("CREATE TABLE IF NOT EXISTS heard (label TEXT, stream TEXT, time_utc TEXT)")
notes.execute("CREATE TABLE IF NOT EXISTS place (journal TEXT, seq INTEGER)")
row = notes.execute("SELECT journal, seq FROM place").fetchone()

with Subscriber(endpoint, topics="keyword.", since=Place(*row) if row else "all") as subscriber:
    noted = 0
    while noted < count or not count:
        record = subscriber.receive()
        if isinstance(record, Missed):
            print("missed", record.first, record.last, record.reason, flush=True)
        elif isinstance(record, Event):
            with notes:  # both or neither
                values = (record.label, record.stream, record.time_utc)
                notes.execute("INSERT INTO heard VALUES (?, ?, ?)", values)
                notes.execute("DELETE FROM place")
                notes.execute("INSERT INTO place VALUES (?, ?)", (record.journal, record.seq))
            print("noted", record.label, record.seq, flush=True)
            noted += 1
notes.close()

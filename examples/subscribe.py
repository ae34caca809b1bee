"""Print what the daemon hears: python subscribe.py [ENDPOINT [COUNT]]"""

import sys
from itertools import islice

from streamer.client import Subscriber

endpoint = sys.argv[1] if len(sys.argv) > 1 else None  # None: the daemon of this machine
count = int(sys.argv[2]) if len(sys.argv) > 2 else None

with Subscriber(endpoint) as subscriber:
    for event in islice(subscriber.events(), count):
        print(
            event.stream,
            event.kind,
            event.label,
            event.phase,
            f"{event.onset_s:.2f} s",
            event.score,
            flush=True,
        )

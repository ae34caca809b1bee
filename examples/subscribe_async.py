"""Print what the daemon hears, and how it is, with asyncio: python subscribe_async.py [ENDPOINT [COUNT]]"""

import asyncio
import sys

from streamer.client import Event, Health
from streamer.client.aio import AsyncSubscriber


async def main(endpoint: str | None = None, count: str = "0") -> None:
    """Print records until `count` events have come (0: for ever); endpoint None: this machine's daemon."""
    heard = 0
    async with AsyncSubscriber(endpoint) as subscriber:
        async for record in subscriber:
            if isinstance(record, Health):
                print(record.stream, record.state, record.detail, flush=True)
            elif isinstance(record, Event):
                heard += 1
                print(record.stream, record.kind, record.label, record.phase, record.score, flush=True)
                if heard == int(count):
                    break


asyncio.run(main(*sys.argv[1:3]))

"""Many subscribers in one process, which note how long each event was on its way to each of them.

    python -m tests.torture.listeners ENDPOINT HOW-MANY FILE

After SIGTERM the file holds one JSON object: for each event its number and the moment it was sent, for each
subscriber the numbers it got and the delays in seconds.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

import msgspec

from streamer.client import Event
from streamer.client.aio import AsyncSubscriber

Heard = list[tuple[int, float, float]]
"""Number, moment at which it was sent, and delay."""


async def follow(endpoint: str, heard: Heard) -> None:
    """One subscriber."""
    async with AsyncSubscriber(endpoint, topics=("keyword.",)) as subscriber:
        async for record in subscriber:
            if isinstance(record, Event):
                sent_s = record.detected_s
                heard.append((record.seq, sent_s, time.monotonic() - sent_s))
            else:  # told as missed: no number is left out in silence
                heard.append((-1, 0.0, 0.0))


async def main(endpoint: str, count: str, path: str) -> None:
    """Follow until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    all_heard: list[Heard] = [[] for _ in range(int(count))]
    following = [asyncio.create_task(follow(endpoint, heard)) for heard in all_heard]
    print("following", flush=True)
    await stop.wait()
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    Path(path).write_bytes(msgspec.json.encode(all_heard))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

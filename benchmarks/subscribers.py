"""Many subscribers to everything in one process: python -m benchmarks.subscribers ENDPOINT COUNT

Each has a connection of its own, and throws away what it gets.
"""

from __future__ import annotations

import sys

import zmq


def main() -> None:
    """Connect, wait until each has got something, say so, go on."""
    endpoint, count = sys.argv[1], int(sys.argv[2])
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    poller = zmq.Poller()
    for _ in range(count):
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(endpoint)
        poller.register(socket, zmq.POLLIN)
    waiting = count
    heard: set[int] = set()
    while True:
        for socket, _ in poller.poll():
            socket.recv_multipart()
            heard.add(socket.fileno())
        if waiting and len(heard) == waiting:
            waiting = 0
            print("ready", flush=True)


if __name__ == "__main__":
    main()

"""Many remote microphones in one process, as cheap as can be: the machine has to carry them as well.

    python -m benchmarks.senders ENDPOINT STREAMS SECONDS SOUND.wav

Each has a connection, a name (n0000 ...) and a conversation of its own, and sends 80 ms every 80 ms; their
blocks are spread evenly over these 80 ms. Unlike `streamer send` they keep nothing to send it again: what is
not acknowledged is told. The first line is the monotonic clock when the capture of stream 0 began, the last
line the books.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
import wave

import zmq

from streamer.capture.cutter import BLOCK_SAMPLES
from streamer.capture.remote_messages import Ack, Audio, Bye, Hello, Welcome, decode_from_daemon, encode

BLOCK_S = BLOCK_SAMPLES / 16_000
HELLOS_A_SECOND = 500
WELCOME_S = 60.0
REST_S = 0.002
HEAR_BLOCKS = 4
"""Acknowledgements are looked at after so many blocks."""
LAST_WORDS_S = 3.0


class OneSender:
    """One of them."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, name: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 500)
        self.socket.connect(endpoint)
        self.session = secrets.token_hex(16)
        self.welcome = False
        self.sent_samples = self.kept_samples = 0
        self.worst_open_samples = 0
        """Most that was sent and not acknowledged."""
        self.refusals: list[str] = []
        hello = Hello(stream=name, session=self.session, codec="pcm16", first_sample=0, age_ms=0.0)
        self.socket.send(encode(hello))

    def send(self, payload: bytes, age_ms: float) -> None:
        """The next block."""
        message = Audio(
            session=self.session, first_sample=self.sent_samples, samples=BLOCK_SAMPLES, age_ms=age_ms
        )
        self.socket.send_multipart((encode(message), payload), zmq.NOBLOCK)
        self.sent_samples += BLOCK_SAMPLES

    def hear(self) -> None:
        """What the daemon says."""
        while self.socket.poll(0):
            answer = decode_from_daemon(self.socket.recv(zmq.NOBLOCK))
            if isinstance(answer, Welcome):
                self.welcome = True
                if answer.next_sample != self.sent_samples:
                    self.refusals.append(f"the daemon wants sample {answer.next_sample} again")
            elif isinstance(answer, Ack):
                self.kept_samples = answer.next_sample
            else:
                self.refusals.append(str(answer))
        self.worst_open_samples = max(self.worst_open_samples, self.sent_samples - self.kept_samples)


def main() -> None:
    """Say hello, send, say goodbye, tell."""
    endpoint, count, seconds, path = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    with wave.open(path, "rb") as file:
        sound = file.readframes(file.getnframes())
    size = 2 * BLOCK_SAMPLES
    payloads = [sound[at : at + size] for at in range(0, len(sound) - size + 1, size)]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, count + 100)
    senders = []
    for number in range(count):
        senders.append(OneSender(context, endpoint, f"n{number:04d}"))
        time.sleep(1 / HELLOS_A_SECOND)
    _wait_welcome(senders)
    begun_s = time.monotonic() + 0.2
    print(begun_s, flush=True)
    late_s = _send(senders, payloads, begun_s, seconds)
    deadline_s = time.monotonic() + LAST_WORDS_S
    while any(one.kept_samples < one.sent_samples for one in senders) and time.monotonic() < deadline_s:
        for sender in senders:
            sender.hear()
        time.sleep(0.05)
    for sender in senders:
        sender.socket.send(encode(Bye(session=sender.session, next_sample=sender.sent_samples)))
    late_s.sort()
    books = {
        "unacknowledged_samples": sum(one.sent_samples - one.kept_samples for one in senders),
        "worst_open_s": max(one.worst_open_samples for one in senders) / 16_000,
        "complaints": [one.refusals[0] for one in senders if one.refusals][:3],
        "sent_late_p99_ms": 1000 * late_s[int(0.99 * (len(late_s) - 1))],
        "sent_late_max_ms": 1000 * late_s[-1],
    }
    print(json.dumps(books), flush=True)
    context.destroy(linger=500)


def _wait_welcome(senders: list[OneSender]) -> None:
    deadline_s = time.monotonic() + WELCOME_S
    while not all(one.welcome for one in senders):
        for sender in senders:
            sender.hear()
            if sender.refusals:
                raise SystemExit(f"refused: {sender.refusals[0]}")
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{sum(not one.welcome for one in senders)} senders got no welcome")
        time.sleep(0.02)


def _send(senders: list[OneSender], payloads: list[bytes], begun_s: float, seconds: float) -> list[float]:
    """In real time; how late each block left."""
    count = len(senders)
    late_s = []
    for turn in range(int(seconds / BLOCK_S)):
        # Not all say the same at the same time: neighbours are half a minute apart in long sound.
        for number, sender in enumerate(senders):
            due_s = begun_s + (turn + 1 + number / count) * BLOCK_S
            if (early_s := due_s - time.monotonic()) > 0:
                time.sleep(max(early_s, REST_S))  # or waking up would cost most of all
            late = time.monotonic() - due_s
            late_s.append(late)
            sender.send(payloads[(turn + 377 * number) % len(payloads)], 1000 * late)
            if (turn + number) % HEAR_BLOCKS == 0:
                sender.hear()
    return late_s


if __name__ == "__main__":
    main()

"""Hundreds of senders in one process: each has a socket, a buffer and a conversation of its own."""

from __future__ import annotations

import time
from typing import Self

import zmq

from streamer.audio import F32
from streamer.capture.codecs import encode_block, quantise
from streamer.capture.cutter import BLOCK_SAMPLES
from streamer.capture.link import WINDOW_SAMPLES, Link
from streamer.capture.remote_messages import decode_from_daemon, encode
from streamer.capture.send_buffer import Entry, SendBuffer


class ManySenders:
    """Plays the same sound from each in real time; their blocks come at different moments."""

    def __init__(self, endpoint: str, samples: F32, count: int) -> None:
        quantised = quantise(samples)
        self._blocks = [
            quantised[first : first + BLOCK_SAMPLES] for first in range(0, len(quantised), BLOCK_SAMPLES)
        ]
        self._payloads = [encode_block(block, "pcm16") for block in self._blocks]
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 4 * count + 100)
        self._senders = []
        for number in range(count):
            socket = self._context.socket(zmq.DEALER)
            socket.setsockopt(zmq.IMMEDIATE, 1)
            socket.setsockopt(zmq.LINGER, 1_000)
            socket.connect(endpoint)
            buffer = SendBuffer(30 * 16_000, WINDOW_SAMPLES)
            link = Link(f"s{number}", "pcm16", "one of many", buffer, tell=lambda text: None)
            self._senders.append((socket, buffer, link))

    @property
    def lost_samples(self) -> int:
        """What had to be given up."""
        return sum(buffer.lost_samples for _, buffer, _ in self._senders)

    def run(self, patience_s: float) -> None:
        """Until everything has been acknowledged, then say goodbye."""
        block_s = BLOCK_SAMPLES / 16_000
        began_s = time.monotonic()
        offsets_s = [block_s * number / len(self._senders) for number in range(len(self._senders))]
        captured = [0] * len(self._senders)
        deadline_s = began_s + len(self._blocks) * block_s + patience_s
        while True:
            now_s = time.monotonic()
            for number, (socket, buffer, link) in enumerate(self._senders):
                due = int((now_s - began_s - offsets_s[number]) / block_s)
                while captured[number] < min(due, len(self._blocks)):
                    block = captured[number]
                    first = buffer.end_sample
                    end = first + len(self._blocks[block])
                    buffer.add(Entry(first, end, self._payloads[block], now_s))
                    captured[number] += 1
                self._converse(socket, link)
            if min(captured) == len(self._blocks) and not any(len(buffer) for _, buffer, _ in self._senders):
                break
            if now_s > deadline_s:
                waiting = sum(len(buffer) for _, buffer, _ in self._senders)
                raise AssertionError(f"{waiting} blocks were not acknowledged")
            time.sleep(0.005)
        for socket, _, link in self._senders:
            socket.send(encode(link.bye()))

    def _converse(self, socket: zmq.Socket[bytes], link: Link) -> None:
        while True:
            try:
                link.take(decode_from_daemon(socket.recv(zmq.NOBLOCK)))
            except zmq.Again:
                break
        while (found := link.next_message()) is not None:
            message, payload = found
            parts = [encode(message)] if payload is None else [encode(message), payload]
            try:
                socket.send_multipart(parts, zmq.NOBLOCK)
            except zmq.Again:
                link.cut()
                return
            link.sent(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for socket, _, _ in self._senders:
            socket.close()
        self._context.term()

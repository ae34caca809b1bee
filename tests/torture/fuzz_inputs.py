"""Good requests, and good conversations of remote microphones, to be spoilt."""

from __future__ import annotations

import random

import numpy as np

from streamer.capture.codecs import encode_block
from streamer.capture.reception import Limits, Reception
from streamer.capture.remote_messages import Alive, Audio, Bye, FromSender, Gap, Hello, encode
from streamer.delivery.requests import (
    Labels,
    Mute,
    Ping,
    Reload,
    Replay,
    Request,
    Shutdown,
    Status,
    Streams,
    Threshold,
    Unmute,
    encode_request,
)
from tests.torture.mutate import Mutator

_ALL: tuple[Request, ...] = (
    Ping(id="1"),
    Status(id="2"),
    Streams(id="3"),
    Labels(id="4"),
    Replay(id="5", since_seq=7, topics=["keyword.", "sound.dog-bark."], limit=10),
    Replay(id="6", since_utc="2026-01-31T12:00:00.000Z"),
    Mute(id="7", stream="kitchen"),
    Unmute(id="8"),
    Threshold(id="9", label="hello", value=0.5, stream="kitchen"),
    Threshold(id="10", label="hello", value=None),
    Reload(id="11"),
)
REQUESTS = [encode_request(request) for request in (*_ALL, Shutdown(id="12"))]

STREAMS_MAX = 8
SESSIONS = ["0123456789abcdef", "fedcba9876543210"]


class Senders:
    """A reception, and senders of which some talk sense."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._mutate = Mutator(rng)
        self._now_s = 0.0
        self._reception = Reception(
            Limits(max_streams=STREAMS_MAX, stream_timeout_s=60.0),
            reserved=["own"],
            clock_s=lambda: self._now_s,
            utc_clock_s=lambda: 1e9 + self._now_s,
        )
        sound = (np.sin(np.arange(1_280) / 10) * 9_000).astype(np.int16)
        self._sounds = [encode_block(sound, codec) for codec in ("pcm16", "flac")]
        self._places = dict.fromkeys(range(STREAMS_MAX + 4), 0)

    def feed(self) -> None:
        """One message; now and then the daemon reads and tidies up."""
        rng = self._rng
        self._now_s += rng.choice([0.0, 0.01, 0.08, 0.5])
        peer = rng.randrange(len(self._places))
        message = self._message(peer)
        header = encode(message)
        payload = rng.choice(self._sounds) if isinstance(message, Audio) else None
        if rng.random() < 0.6:
            header = self._mutate(header)
        if payload and rng.random() < 0.3:
            payload = self._mutate(payload)
        if rng.random() < 0.03:
            payload = None if payload else rng.randbytes(100)
        self._reception.handle(b"\0%d" % peer, header, payload, None, "localhost:0:0:1")
        if rng.random() < 0.1:
            self._tidy()

    def _message(self, peer: int) -> FromSender:
        rng, session = self._rng, SESSIONS[peer % 2]
        place = self._places[peer]
        kind = rng.choices(["audio", "hello", "gap", "alive", "bye"], [10, 4, 1, 1, 1])[0]
        if kind == "audio":
            self._places[peer] += 1_280
            place += rng.choice([0, 0, 0, -1_280, 1_280, 99_999])
            return Audio(session=session, first_sample=max(0, place), samples=1_280, age_ms=5.0)
        if kind == "hello":
            codec = "flac" if peer % 3 == 0 else "pcm16"
            return Hello(
                stream=f"mic-{peer}",
                session=session,
                codec=codec,
                first_sample=place,
                age_ms=0.0,
                source="mic",
            )
        if kind == "gap":
            return Gap(session=session, first_sample=place, samples=rng.randrange(1, 99_999), reason="lost")
        if kind == "alive":
            return Alive(session=session, next_sample=place)
        return Bye(session=session, next_sample=place)

    def _tidy(self) -> None:
        self._reception.expire()
        news = self._reception.take_news()
        for source in (*news.ready.values(), *(source for source, _ in news.ended)):
            while source.read() is not None:
                pass
        self._reception.take_acks()

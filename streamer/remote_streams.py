"""Streams that come and go with their senders: what the service has to know of them, and when to look."""

from __future__ import annotations

import select
import selectors
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from streamer import __version__
from streamer.capture.ingest import Ingest
from streamer.capture.reception import Limits
from streamer.capture.remote import RemoteSource
from streamer.config import INGEST_NAME, Config, StreamConfig
from streamer.decoding.rules import LabelRule
from streamer.delivery.messages import Health, utc_text
from streamer.inference.model import Model
from streamer.live_stream import LiveStream
from streamer.security.allowed import AllowList
from streamer.security.setup import Security


@dataclass(slots=True)
class Arrivals:
    """What a look at the senders has brought."""

    opened: list[LiveStream] = field(default_factory=list)
    ready: list[LiveStream] = field(default_factory=list)
    """There may be sound to read."""
    ended: list[tuple[LiveStream, str]] = field(default_factory=list)
    """With the reason, for people; their last sound is to be read yet."""


class RemoteStreams:
    """A LiveStream for each sender; looks at the sockets at most four times a hop, so that many senders whose
    blocks come at any moment cost one turn of the loop and not one each."""

    def __init__(
        self, config: Config, model: Model, rules: Sequence[LabelRule], security: Security | None
    ) -> None:
        self._engine = config.engine
        self._model = model
        self._rules = list(rules)
        self._rest_s = config.engine.hop_ms / 4000
        self._rested_s = 0.0  # when it is worth looking again
        self._streams: dict[RemoteSource, LiveStream] = {}
        self._selector: selectors.BaseSelector | None = None
        limits = Limits(
            max_streams=config.ingest.max_streams,
            stream_timeout_s=config.ingest.stream_timeout_s,
            stall_s=config.engine.stall_s,
            waiting_s=config.engine.ring_s,
        )
        own = [INGEST_NAME, *(stream.name for stream in config.streams)]
        self._ingest = Ingest(config.ingest.endpoints, limits, reserved=own, security=security)
        self.endpoints = self._ingest.endpoints
        """Addresses as they are bound."""
        self._bell = select.epoll()
        for descriptor in self._ingest.filenos():
            self._bell.register(descriptor, select.EPOLLIN)

    def wait_s(self, selector: selectors.BaseSelector) -> float:
        """How long the loop may sleep; the selector wakes it when a sender has said something."""
        left_s = self._rested_s - time.monotonic()
        if left_s > 0:
            self._listen_with(None)
            return left_s
        self._listen_with(selector)
        return 0.0 if self._ingest.waiting() else float("inf")

    def _listen_with(self, selector: selectors.BaseSelector | None) -> None:
        if selector is self._selector:
            return
        if self._selector is not None:
            self._selector.unregister(self._bell)
        if selector is not None:
            selector.register(self._bell, selectors.EVENT_READ)
        self._selector = selector

    def receive(self) -> Arrivals:
        """Take in what has come; nothing while it is too early."""
        now_s = time.monotonic()
        if now_s < self._rested_s:
            return Arrivals()
        self._ingest.receive()
        self._ingest.reception.expire()
        news = self._ingest.reception.take_news()
        if news.ready or news.opened:
            self._rested_s = now_s + self._rest_s
        arrivals = Arrivals(opened=[self._open(source) for source in news.opened])
        arrivals.ended = [(self._streams.pop(source), why) for source, why in news.ended]
        known = (self._streams.get(source) for source in news.ready.values())
        arrivals.ready = [stream for stream in known if stream is not None]
        return arrivals

    def _open(self, source: RemoteSource) -> LiveStream:
        settings = StreamConfig(name=source.name)
        stream = LiveStream(settings, self._engine, self._model, self._rules, source=source)
        stream.open()
        self._streams[source] = stream
        return stream

    def health(self, run: str, seq: int, uptime_s: float, heartbeat_s: float, *, final: bool) -> Health:
        """That sound from elsewhere is waited for, as a message; the streams speak for themselves."""
        count = len(self._streams)
        return Health(
            run=run,
            stream=INGEST_NAME,
            state="stopping" if final else "listening",
            detail=f"{count} remote stream{'' if count == 1 else 's'}",
            final=final,
            time_utc=utc_text(time.time()),
            uptime_s=round(uptime_s, 3),
            heartbeat_s=heartbeat_s,
            seq=seq,
            source=f"remote microphones on {', '.join(self.endpoints)}",
            listened_s=0.0,
            level_dbfs=None,
            peak_dbfs=None,
            overruns=0,
            lost_samples=0,
            gaps=0,
            bad_samples=0,
            clipped_samples=0,
            lag_s=None,
            last_sample_age_s=None,
            cpu_percent=None,
            version=__version__,
            model=self._model.name,
            label_count=len(self._model.labels),
        )

    def acknowledge(self, *, at_once: bool = False) -> None:
        """Tell the senders how far they have been listened to; to be called when that has been done."""
        self._ingest.acknowledge(at_once=at_once)

    def retune(self, rules: Sequence[LabelRule]) -> None:
        """Streams to come begin with these rules."""
        self._rules = list(rules)

    def replace_allowed(self, allowed: AllowList) -> None:
        """Another list of who may send."""
        self._ingest.replace_allowed(allowed)

    def close(self) -> None:
        """Close the sockets."""
        self._listen_with(None)
        self._bell.close()
        self._ingest.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

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
from streamer.capture.remote_messages import Ack
from streamer.clips.stream_clips import StreamClips
from streamer.config import INGEST_NAME, Config, StreamConfig
from streamer.decoding.rules import LabelRule
from streamer.delivery.messages import Health, utc_text
from streamer.live_stream import LiveStream
from streamer.security.allowed import AllowList
from streamer.security.setup import Security
from streamer.tuned import TunedModel, joined_name, label_count

EXPIRE_S = 0.25
"""How often senders that have fallen silent are looked for: a thousand of them take a while."""


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

    def __init__(self, config: Config, models: Sequence[TunedModel], security: Security | None) -> None:
        self._rested_s = 0.0  # when it is worth looking again
        self._expire_s = 0.0  # when to look for senders that have fallen silent
        self._streams: dict[RemoteSource, LiveStream] = {}
        self.muted = False
        """Streams to come begin muted."""
        self._thresholds: dict[str, float] = {}  # of streams to come, beside their rules
        self._acks: list[tuple[bytes, Ack]] = []  # that wait until event `_acks_seq` is in the journal
        self._acks_seq = 0
        self._take_settings(config, models)
        self._clips = config.clips
        self._selector: selectors.BaseSelector | None = None
        limits = Limits(
            max_streams=config.ingest.max_streams,
            stream_timeout_s=config.ingest.stream_timeout_s,
            stall_s=config.engine.stall_s,
            waiting_s=config.engine.ring_s,
        )
        self._ingest = Ingest(config.ingest.endpoints, limits, reserved=_reserved(config), security=security)
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
        if now_s >= self._expire_s:
            self._expire_s = now_s + EXPIRE_S
            self._ingest.reception.expire()
        news = self._ingest.reception.take_news()
        if news.ready or news.opened:
            self._rested_s = now_s + self._rest_s
        arrivals = Arrivals(opened=[self._open(source) for source in news.opened])
        arrivals.ended = [(self._streams.pop(source), why) for source, why in news.ended]
        known = (self._streams.get(source) for source in news.ready.values())
        arrivals.ready = [stream for stream in known if stream is not None]
        return arrivals

    def has_sound(self, stream: LiveStream) -> bool:
        """One of these streams has something to read."""
        return isinstance(stream.source, RemoteSource) and stream.source.has_more

    def _open(self, source: RemoteSource) -> LiveStream:
        settings = StreamConfig(name=source.name)
        clips = StreamClips(self._clips) if self._clips.enabled else None
        stream = LiveStream(
            settings, self._engine, self._models, source=source, history_s=self._history_s, clips=clips
        )
        stream.open()
        for label, value in self._thresholds.items():
            stream.set_threshold(label, value)
        if self.muted:
            stream.mute()
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
            model=joined_name(self._models),
            label_count=label_count(self._models),
        )

    def acknowledge(self, told_seq: int, kept_seq: int, *, at_once: bool = False) -> None:
        """Tell the senders how far they have been listened to, once the events in that are in the journal.

        To be called when all sound has been listened to: `told_seq` is the last event that came of it,
        `kept_seq` the last one in the journal. A sender forgets what is acknowledged.
        """
        if at_once or not self._acks:
            self._acks, self._acks_seq = self._ingest.reception.take_acks(at_once=at_once), told_seq
        if self._acks and kept_seq >= self._acks_seq:
            self._ingest.acknowledge(self._acks)
            self._acks = []

    @property
    def rules(self) -> list[LabelRule]:
        """Those of streams to come."""
        return [self._at_threshold(rule) for tuned in self._models for rule in tuned.rules]

    def _at_threshold(self, rule: LabelRule) -> LabelRule:
        value = self._thresholds.get(rule.name)
        return rule if value is None else rule.at_threshold(value)

    def set_threshold(self, label: str, value: float | None) -> None:
        """Streams to come begin with this threshold for a label, or with the config's (None)."""
        if value is None:
            self._thresholds.pop(label, None)
        else:
            self._thresholds[label] = value

    def use(self, config: Config, models: Sequence[TunedModel]) -> None:
        """Streams to come begin with these models and settings."""
        self._take_settings(config, models)
        self._thresholds.clear()
        self._ingest.reception.reserve(_reserved(config))

    def _take_settings(self, config: Config, models: Sequence[TunedModel]) -> None:
        self._engine, self._models = config.engine, models
        self._history_s = config.ingest.history_s
        self._rest_s = config.engine.hop_ms / 4000

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


def _reserved(config: Config) -> list[str]:
    """Names that no sender can have."""
    return [INGEST_NAME, *(stream.name for stream in config.streams)]

"""Who sends what: hellos, sound and goodbyes of any number of senders, without a socket.

Every message gets at most one answer, and whatever is nonsense changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from streamer.audio import SAMPLE_RATE_HZ
from streamer.capture.codecs import PayloadError, decode_block
from streamer.capture.remote import RemoteSource
from streamer.capture.remote_messages import (
    Ack,
    Again,
    Alive,
    Audio,
    Bye,
    FromDaemon,
    FromSender,
    Gap,
    Hello,
    NewerVersion,
    Refused,
    RemoteMessageError,
    Welcome,
    decode_from_sender,
)
from streamer.security.limits import Once

log = logging.getLogger("streamer")

CATCH_UP = 16
"""How many times faster than real time a sender may send; one of ours reaches 8."""
BURST_SAMPLES = 8 * SAMPLE_RATE_HZ
SMALLEST_COST_SAMPLES = 160
"""What a message costs at least of what its sender may send: it bounds the number of messages, too."""
ACK_S = 0.25
WELCOME_S = 0.5
"""How soon the same hole may be complained of again."""
SILENT_START_S = 30.0
"""A stream that never had any sound is not kept longer without a word."""

MaySend = Callable[[str | None, str], bool]
"""Whether a client of that name may send a stream of this name; None: one of this machine, without a key."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What senders may take up."""

    max_streams: int = 64
    stream_timeout_s: float = 3600.0
    stall_s: float = 2.0
    waiting_s: float = 10.0
    """Sound of one stream that may wait to be read."""


@dataclass(slots=True)
class _Sender:
    """A stream's sender, as far as conversation goes."""

    source: RemoteSource
    peer: bytes
    user: str | None
    budget_samples: float = BURST_SAMPLES
    budget_s: float = 0.0
    owes_ack: bool = False
    acked_s: float = 0.0
    welcomed_s: float = 0.0


@dataclass(slots=True)
class News:
    """What has changed since the last look."""

    opened: list[RemoteSource] = field(default_factory=list)
    ready: dict[str, RemoteSource] = field(default_factory=dict)
    """By name: there may be sound to read."""
    ended: list[tuple[RemoteSource, str]] = field(default_factory=list)
    """With the reason, for people; nothing more will come of them."""


class Reception:
    """All senders of a daemon."""

    def __init__(
        self,
        limits: Limits,
        *,
        reserved: Iterable[str] = (),
        may_send: MaySend = lambda user, stream: True,
        clock_s: Callable[[], float] = time.monotonic,
        utc_clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.unreadable = 0
        """Messages that made no sense."""
        self._limits = limits
        self.reserve(reserved)
        self._may_send = may_send
        self._clock_s = clock_s
        self._utc_clock_s = utc_clock_s
        self._by_name: dict[str, _Sender] = {}
        self._by_peer: dict[bytes, _Sender] = {}
        self._news = News()
        self._once = Once(clock=clock_s)

    @property
    def names(self) -> list[str]:
        """The streams that there are."""
        return list(self._by_name)

    def reserve(self, names: Iterable[str]) -> None:
        """No sender that comes may have one of these names."""
        self._reserved = frozenset(names)

    def take_news(self) -> News:
        """What has changed since the last call."""
        news, self._news = self._news, News()
        return news

    # -- messages ----------------------------------------------------------------------------------------

    def handle(
        self, peer: bytes, header: bytes, payload: bytes | None, user: str | None = None, address: str = ""
    ) -> FromDaemon | None:
        """Take a message in; the answer, where it wants one."""
        try:
            message = decode_from_sender(header)
            if isinstance(message, Audio) != (payload is not None):
                raise RemoteMessageError("sound wants a second frame, nothing else does")
        except NewerVersion as error:
            return self._refuse("version", str(error), address)
        except RemoteMessageError as error:
            self.unreadable += 1
            return self._refuse("bad-request", str(error), address)
        if isinstance(message, Hello):
            return self._greet(peer, message, user, address)
        sender = self._by_peer.get(peer)
        if sender is None or sender.source.session != message.session:
            return Again()
        return self._hear(sender, message, payload, address)

    def _hear(
        self, sender: _Sender, message: FromSender, payload: bytes | None, address: str
    ) -> FromDaemon | None:
        source, now_s = sender.source, self._clock_s()
        if not self._has_budget(sender, message, now_s):
            return None
        source.word_s, sender.owes_ack = now_s, True
        if isinstance(message, Bye):
            self._remove(sender, "the sender said goodbye")
            return None
        if isinstance(message, Audio):
            assert payload is not None
            try:
                self._take_sound(source, message, payload)
            except PayloadError as error:
                self.unreadable += 1
                return self._refuse("bad-request", str(error), address)
        elif isinstance(message, Gap):
            source.put_gap(message.first_sample, message.samples)
        self._news.ready[source.name] = source
        sent_sample = message.next_sample if isinstance(message, Alive) else 0
        if (source.has_hole or sent_sample > source.next_sample) and now_s - sender.welcomed_s >= WELCOME_S:
            sender.welcomed_s = now_s
            return Welcome(next_sample=source.next_sample)
        return None

    def _take_sound(self, source: RemoteSource, audio: Audio, payload: bytes) -> None:
        if source.waiting_samples + audio.samples <= self._limits.waiting_s * SAMPLE_RATE_HZ:
            samples = decode_block(payload, source.codec, audio.samples)
            source.put(audio.first_sample, samples, audio.age_ms)
        # Else it is as if it had been lost on the way: it is not acknowledged, and will be sent again.

    def _has_budget(self, sender: _Sender, message: FromSender, now_s: float) -> bool:
        """Whether the sender keeps to its share; what is too much is left out, and will be sent again."""
        refilled = sender.budget_samples + (now_s - sender.budget_s) * CATCH_UP * SAMPLE_RATE_HZ
        sender.budget_samples, sender.budget_s = min(float(BURST_SAMPLES), refilled), now_s
        cost = max(SMALLEST_COST_SAMPLES, message.samples if isinstance(message, Audio) else 0)
        if sender.budget_samples < cost:
            sender.source.warning = f"the sender sends more than {CATCH_UP} times as fast as it may capture"
            return False
        sender.budget_samples -= cost
        return True

    # -- hello and goodbye -------------------------------------------------------------------------------

    def _greet(self, peer: bytes, hello: Hello, user: str | None, address: str) -> FromDaemon:
        if not self._may_send(user, hello.stream):
            return self._refuse("forbidden", f"this key may not send the stream {hello.stream}", address)
        own = self._by_peer.get(peer)
        if own is not None and own.source.name != hello.stream:
            return self._refuse("bad-request", "one stream a connection", address)
        sender = self._by_name.get(hello.stream)
        if hello.stream in self._reserved or (sender is not None and not self._may_take(sender, hello, user)):
            return self._refuse("taken", f"there is a stream {hello.stream} already", address)
        if sender is None:
            if len(self._by_name) >= self._limits.max_streams:
                return self._refuse("full", f"there are {len(self._by_name)} remote streams already", address)
            sender = self._admit(peer, hello, user, address)
        else:
            self._by_peer.pop(sender.peer, None)
            sender.peer, sender.user = peer, user
            sender.source.come_back(hello, address)
        self._by_peer[peer] = sender
        sender.welcomed_s, sender.owes_ack = self._clock_s(), True
        return Welcome(next_sample=sender.source.next_sample)

    def _may_take(self, sender: _Sender, hello: Hello, user: str | None) -> bool:
        """The sender itself, which has connected again, or any after it has fallen silent."""
        if sender.source.finished:
            return True
        return (sender.source.session, sender.user) == (hello.session, user)

    def _admit(self, peer: bytes, hello: Hello, user: str | None, address: str) -> _Sender:
        source = RemoteSource(
            hello,
            stall_s=self._limits.stall_s,
            address=address,
            clock_s=self._clock_s,
            utc_clock_s=self._utc_clock_s,
        )
        sender = self._by_name[hello.stream] = _Sender(source, peer, user, budget_s=self._clock_s())
        self._news.opened.append(source)
        return sender

    def _remove(self, sender: _Sender, why: str) -> None:
        sender.source.end()
        self._by_name.pop(sender.source.name)
        self._by_peer.pop(sender.peer, None)
        self._news.ended.append((sender.source, why))

    def expire(self) -> None:
        """Give up on senders that have been silent for too long."""
        now_s = self._clock_s()
        for sender in list(self._by_name.values()):
            source = sender.source
            silent_s, limit_s = now_s - source.word_s, self._limits.stream_timeout_s
            if not source.heard:
                limit_s = min(limit_s, SILENT_START_S)
            if silent_s >= limit_s:
                self._remove(sender, f"no word from the sender for {limit_s:g} s")

    def take_acks(self, *, at_once: bool = False) -> list[tuple[bytes, Ack]]:
        """What is to be acknowledged now, and to whom: call it after the sound has been listened to."""
        now_s = self._clock_s()
        due = []
        for sender in self._by_name.values():
            if sender.owes_ack and (at_once or now_s - sender.acked_s >= ACK_S):
                sender.owes_ack, sender.acked_s = False, now_s
                due.append((sender.peer, Ack(next_sample=sender.source.taken_sample)))
        return due

    def _refuse(self, code: str, message: str, address: str) -> Refused:
        more = self._once.due((code, address))
        if more is not None:
            where = f" at {address}" if address else ""
            again = f" ({more} more since it was last told)" if more else ""
            log.warning("ingest: refused a sender%s (%s): %s%s", where, code, message, again)
        return Refused(code=code, message=message)

"""Answers of the control socket, read and checked: a page of past events, and what it does not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from streamer.client.inquiry import Asked
from streamer.delivery.messages import VERSION, Event, MessageError
from streamer.delivery.requests import ErrorReply, Ping, PingReply, ReplayReply, decode_reply

RETENTION = "too old: no longer in the journal"
UNREADABLE = "the daemon sent what this client cannot read"
NOT_THERE = "not in the journal"

_UNREADABLE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


class _Name(msgspec.Struct):
    id: str


_NAME = msgspec.json.Decoder(_Name)
_EVENT = msgspec.json.Decoder(Event)


@dataclass(frozen=True, slots=True)
class Page:
    """A reply to `replay`, checked: numbers ascend and stay within what the reply is about."""

    reply: ReplayReply
    events: list[Event]
    unreadable: int = 0
    """Frames that hold no event that this client can read; their numbers are among the missing."""

    @property
    def last(self) -> int:
        """The number that this page leads up to."""
        return min(self.reply.through_seq, self.reply.head_seq)

    def covers(self, seq: int) -> bool:
        """Whether the page says what has become of this number: it is in it, is lost, or is too old."""
        return self.reply.first_seq <= max(seq, self.reply.oldest_seq)

    def missing(self, after: int, through: int) -> Iterator[tuple[int, str]]:
        """Stretches that this page says are gone, in order, each as its last number and the reason."""
        reason = UNREADABLE if self.unreadable else NOT_THERE
        for first, last, why in sorted([(1, self.reply.oldest_seq - 1, RETENTION), *self.reply.lost]):
            if first <= through and last > after:
                if first > after + 1:
                    yield first - 1, reason
                after = min(last, through)
                yield after, why
        if after < through:
            yield through, reason


def read_answer(parts: Sequence[bytes], asked: Asked) -> PingReply | Page | ErrorReply | None:
    """What the parts answer; None if they answer something else, MessageError if they cannot be read."""
    if not parts:
        raise MessageError("a reply without parts")
    if _name(parts[0]) != asked.request.id:
        return None
    if isinstance(asked.request, Ping):
        return decode_reply(parts[0], PingReply)
    reply = decode_reply(parts[0], ReplayReply)
    return reply if isinstance(reply, ErrorReply) else read_page(reply, parts[1:])


def _name(text: bytes) -> str:
    try:
        return _NAME.decode(text).id
    except _UNREADABLE_ERRORS as error:
        raise MessageError(f"malformed reply: {error}") from None


def read_page(reply: ReplayReply, bodies: Sequence[bytes]) -> Page:
    """The page that a reply and the frames after it make; MessageError if they contradict each other."""
    if reply.first_seq > reply.through_seq + 1 or not reply.journal:
        raise MessageError("a reply to replay that contradicts itself")
    events, unreadable = [], 0
    last = reply.first_seq - 1
    for body in bodies:
        event = _event(body)
        if event is None:
            unreadable += 1
        elif last < event.seq <= reply.through_seq:
            last = event.seq
            # a journal that was repaired may hold events written under its former name
            same = event.journal == reply.journal
            events.append(event if same else msgspec.structs.replace(event, journal=reply.journal))
        else:
            raise MessageError("a reply to replay with numbers out of order")
    return Page(reply, events, unreadable)


def _event(body: bytes) -> Event | None:
    try:
        event = _EVENT.decode(body)
    except _UNREADABLE_ERRORS:
        return None
    return event if event.v <= VERSION else None

"""What a sender of sound and a daemon say to each other; PROTOCOL.md, "Sending sound", says it in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from streamer.audio import SAMPLE_RATE_HZ
from streamer.errors import StreamerError
from streamer.names import NAME_PATTERN

VERSION = 1
LONGEST_BLOCK_SAMPLES = 2 * SAMPLE_RATE_HZ
"""Of sound in one message."""
LARGEST_FRAME_BYTES = 256 * 1024
"""No frame of a message may be larger: ZeroMQ then closes the connection."""

TEXT_MAX = 200
"""Characters of what the other side wrote that are shown to people."""

Codec = Literal["pcm16", "flac"]
Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Session = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16,64}\Z")]
Sample = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
"""A place on the sender's 16 kHz clock; below 2 to the 53rd, so that JavaScript can count it too."""
Samples = Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
AgeMs = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class RemoteMessageError(StreamerError):
    """Bytes that are no message of this protocol."""


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """Sender: this is who I am and what I shall send."""

    v: int = VERSION
    stream: Name
    session: Session
    """Random; new whenever the sender's sample clock begins anew. Who knows it may take the stream over."""
    rate_hz: Literal[16000] = 16000
    codec: Codec
    first_sample: Sample
    """The oldest sound that the sender can still send or state the loss of."""
    age_ms: AgeMs
    """How long ago that was captured."""
    source: Annotated[str, msgspec.Meta(max_length=TEXT_MAX)] = ""
    """Where the sound comes from, for people."""


class Audio(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="audio"):
    """Sender: sound; it follows as the message's second frame."""

    v: int = VERSION
    session: Session
    first_sample: Sample
    samples: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_BLOCK_SAMPLES)]
    age_ms: AgeMs
    """How long ago the last sample was captured, when this left."""


class Gap(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="gap"):
    """Sender: this much sound there will never be."""

    v: int = VERSION
    session: Session
    first_sample: Sample
    samples: Samples
    reason: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="alive"):
    """Sender: I am here, although there is no sound to send."""

    v: int = VERSION
    session: Session
    next_sample: Sample
    """Everything before it has been sent."""


class Bye(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="bye"):
    """Sender: that was all."""

    v: int = VERSION
    session: Session
    next_sample: Sample


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="welcome"):
    """Daemon: send, and begin with this sample. Comes again when something is missing."""

    v: int = VERSION
    next_sample: Sample


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ack"):
    """Daemon: everything before this sample has been listened to, and need not be kept."""

    v: int = VERSION
    next_sample: Sample


class Again(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="again"):
    """Daemon: I do not know you (any more): say hello."""

    v: int = VERSION


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="refused"):
    """Daemon: no, and why."""

    v: int = VERSION
    code: str
    """`bad-request`, `version`, `forbidden`, `taken`, `full`; others may come."""
    message: str


FromSender = Hello | Audio | Gap | Alive | Bye
FromDaemon = Welcome | Ack | Again | Refused


class _Header(msgspec.Struct):
    v: int


_HEADER = msgspec.json.Decoder(_Header)
_FROM_SENDER: msgspec.json.Decoder[FromSender] = msgspec.json.Decoder(FromSender)
_FROM_DAEMON: msgspec.json.Decoder[FromDaemon] = msgspec.json.Decoder(FromDaemon)
_ENCODER = msgspec.json.Encoder()


class NewerVersion(RemoteMessageError):
    """A message of a later version of this protocol."""


def encode(message: FromSender | FromDaemon) -> bytes:
    """The JSON frame of a message."""
    return _ENCODER.encode(message)


def decode_from_sender(frame: bytes) -> FromSender:
    """What a sender said; RemoteMessageError for anything else, whatever the bytes."""
    found: FromSender = _decode(_FROM_SENDER, frame)
    return found


def decode_from_daemon(frame: bytes) -> FromDaemon:
    """What a daemon said; RemoteMessageError for anything else, whatever the bytes."""
    found: FromDaemon = _decode(_FROM_DAEMON, frame)
    return found


def _decode(decoder: msgspec.json.Decoder[Any], frame: bytes) -> Any:
    try:
        message = decoder.decode(frame)
        version = message.v
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        # A later version may have changed anything but `v`: look at that first.
        version = _version(frame)
        if version is None or 1 <= version <= VERSION:
            raise RemoteMessageError(f"no message that is known here: {printable(str(error))}") from None
    if version > VERSION:
        raise NewerVersion(f"message version {version} is newer than {VERSION}, the newest known here")
    if version < 1:
        raise RemoteMessageError(f"message version {version} has never been")
    return message


def printable(text: str) -> str:
    """What the other side wrote, so that it can move no cursor and make no line of its own in a log."""
    return "".join(character if character.isprintable() else "?" for character in text)[:TEXT_MAX]


def _version(frame: bytes) -> int | None:
    try:
        return _HEADER.decode(frame).v
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return None

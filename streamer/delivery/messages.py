"""What goes over the socket: typed records and their bytes. PROTOCOL.md is the contract in words."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from streamer.errors import StreamerError
from streamer.names import NAME_PATTERN

if TYPE_CHECKING:  # numpy is loaded only by those who open frames: a client of events starts sooner
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"""The newest message version that this code writes and reads."""

Kind = Literal["keyword", "sound"]
Phase = Literal["hit", "start", "end"]
State = Literal["starting", "listening", "muted", "no-device", "stalled", "stopping"]
JournalState = Literal["ok", "off", "failing"]
Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class MessageError(StreamerError):
    """Bytes that are no message of ours, or one that is newer than this code."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A keyword was heard, or a sound began or ended."""

    v: int = VERSION
    type: Literal["event"] = "event"
    run: str
    """Random hexadecimal name of this run of the daemon."""
    journal: str = ""
    """Random hexadecimal name of the journal that the event is kept in; "" where the daemon keeps none."""
    seq: Annotated[int, msgspec.Meta(ge=1)]
    """Number of this event in the journal (without one: in the run), over all streams: 1, 2, 3 ..."""
    stream: Name
    """Name of the stream that it was heard on."""
    kind: Kind
    """"keyword" or "sound"."""
    label: Name
    """What was heard."""
    phase: Phase
    """A keyword is one "hit"; a sound has a "start" and always an "end"."""
    onset_s: float
    """Seconds on the stream's sample clock at which it began."""
    offset_s: float | None
    """Seconds on the stream's sample clock at which it ended; None for a start."""
    detected_s: float
    """Seconds on the stream's sample clock at which it was decided."""
    score: float
    """Smoothed score that decided it, 0..1."""
    time_utc: str
    """Wall clock of the detection, ISO 8601 with milliseconds and Z."""
    reason: str = ""
    """Why an end came before the sound's ("gap", "max-duration", "muted", "reload", "stop"); else "".
    More may come."""
    clip: str = ""
    """The sound around it, a moment later: a file in the daemon's directory of clips; "": none is kept."""
    model: str
    """Name of the model bundle."""


class Frames(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of every label for some consecutive rows of one stream."""

    v: int = VERSION
    type: Literal["frames"] = "frames"
    run: str
    """Random hexadecimal name of this run of the daemon."""
    stream: Name
    """Name of the stream."""
    first_row: Count
    """Rows of this stream before the first one here, whether they were published or not."""
    first_s: float
    """Seconds on the stream's sample clock at which the first row begins."""
    row_s: float
    """Seconds that one row covers."""
    labels: list[Name]
    """One label a column."""
    rows: Count
    """Number of rows."""
    dtype: Literal["<f2"] = "<f2"
    """Sort of number in the binary part: little-endian IEEE 754 half precision."""
    model: str = ""
    """Name of the model bundle whose labels these are; "" from a daemon that did not tell yet."""
    data: bytes = b""
    """The binary part, C order (rows, labels), see pack_scores(); a part of its own, never in the JSON."""

    def scores(self) -> NDArray[np.float32]:
        """Unpack the scores: float32 (rows, labels), a new array."""
        import numpy as np

        packed = np.frombuffer(self.data, dtype="<f2").reshape(self.rows, len(self.labels))
        return packed.astype(np.float32)


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a stream is: at each heartbeat, change of state and loss of sound, and once at the end."""

    v: int = VERSION
    type: Literal["health"] = "health"
    run: str
    """Random hexadecimal name of this run of the daemon."""
    stream: Name
    """Name of the stream."""
    state: State
    """What the stream is doing."""
    detail: str
    """The state in words, for people; may be ""."""
    final: bool
    """True in the last message of this stream in this run."""
    time_utc: str
    """Wall clock of this message, ISO 8601 with milliseconds and Z."""
    uptime_s: float
    """Seconds since the run began."""
    heartbeat_s: Annotated[float, msgspec.Meta(gt=0)]
    """Seconds between two of these messages; three of them without one mean that the daemon is gone."""
    journal: str = ""
    """Random hexadecimal name of the journal; "" where the daemon keeps none."""
    seq: Count
    """Number of the last event published in the journal (without one: in the run); 0 before the first."""
    oldest_seq: Count = 0
    """The journal keeps no event before this number; 0 without a journal."""
    journal_state: JournalState = "off"
    """"failing": events are published, but cannot be written at present."""
    journal_detail: str = ""
    """What is wrong with the journal, or was found wrong with it at the start, for people; may be ""."""
    journal_pending: Count = 0
    """Events published and not yet written to the journal."""
    source: str
    """Description of where the sound comes from."""
    listened_s: float
    """Seconds of sound processed since the run began."""
    level_dbfs: float | None
    """RMS level since the last heartbeat, dB re full scale; None without sound or with nothing but zeros."""
    peak_dbfs: float | None
    """Highest sample since the last heartbeat, dB re full scale; None as above."""
    overruns: Count
    """Times that sound was lost because nobody fetched it in time."""
    lost_samples: Count
    """Samples lost, at the source's rate."""
    gaps: Count
    """Breaks in the sound that were announced to the pipeline."""
    bad_samples: Count
    """Samples that were NaN or infinite and were replaced by 0."""
    clipped_samples: Count
    """Samples at or over full scale."""
    lag_s: float | None
    """Age of the newest sound when it was processed, seconds; None before any."""
    last_sample_age_s: float | None
    """Seconds since the last sample came; None before any."""
    cpu_percent: float | None
    """Processor time of the daemon since the last heartbeat, percent of one core; None in the first."""
    drift_ppm: float | None = None
    """How much faster the microphone's clock is than the machine's, millionths; None until it is known."""
    version: str
    """Version of the daemon."""
    model: str
    """Name of the model bundle; of several, joined by +."""
    label_count: Count
    """Number of labels, of all bundles together."""


Record = Event | Frames | Health


class _Header(msgspec.Struct):
    v: int
    type: str


_HEADER = msgspec.json.Decoder(_Header)
_BODY: dict[str, msgspec.json.Decoder[Any]] = {
    "event": msgspec.json.Decoder(Event),
    "frames": msgspec.json.Decoder(Frames),
    "health": msgspec.json.Decoder(Health),
}
_ENCODER = msgspec.json.Encoder()
_PARTS = {"event": 2, "frames": 3, "health": 2}


def new_run() -> str:
    """A fresh name for a run of the daemon."""
    return secrets.token_hex(8)


def utc_text(unix_s: float) -> str:
    """Wall clock as the messages write it: 2026-01-31T12:00:00.123Z."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_ms(text: str) -> int:
    """Milliseconds since 1970 of a moment as the messages write it; ValueError for what is none."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


def pack_scores(scores: NDArray[Any]) -> bytes:
    """The binary part of Frames: (rows, labels) of any float type to half precision."""
    return scores.astype("<f2").tobytes()


def frame_topic(stream: str) -> bytes:
    """The topic of a stream's frame scores."""
    return f"frame.{stream}".encode()


def topic_of(record: Record) -> bytes:
    """The topic that a record is published under."""
    if isinstance(record, Event):
        return f"{record.kind}.{record.label}.{record.stream}".encode()
    if isinstance(record, Frames):
        return frame_topic(record.stream)
    return f"health.{record.stream}".encode()


def to_json(record: Record) -> bytes:
    """The JSON part of a record."""
    if not isinstance(record, Frames):
        return _ENCODER.encode(record)
    fields = msgspec.structs.asdict(record)
    del fields["data"]
    return _ENCODER.encode(fields)


def encode(record: Record) -> list[bytes]:
    """The parts of the message: topic, JSON and, for frames, the binary scores."""
    parts = [topic_of(record), to_json(record)]
    return [*parts, record.data] if isinstance(record, Frames) else parts


def decode(parts: Sequence[bytes]) -> Record:
    """The record that the parts hold; MessageError on anything else, whatever the bytes."""
    try:
        return _decode(parts)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        name = bytes(parts[0][:80]) if parts else b""
        raise MessageError(f"malformed message {name!r}: {error}") from None


def _decode(parts: Sequence[bytes]) -> Record:
    if len(parts) <= 1:
        raise ValueError(f"{len(parts)} parts, expected topic and JSON")
    header = _HEADER.decode(parts[1])
    if header.v > VERSION:
        raise MessageError(
            f"message version {header.v} is newer than this client, which reads {VERSION}",
            "install a newer streamer",
        )
    if header.v < 1 or header.type not in _BODY:
        raise ValueError(f"unknown type {header.type[:40]!r} of version {header.v}")
    if len(parts) != _PARTS[header.type]:
        raise ValueError(f"{len(parts)} parts, expected {_PARTS[header.type]}")
    record: Record = _BODY[header.type].decode(parts[1])
    if isinstance(record, Frames):
        record = _with_data(record, bytes(parts[2]))
    if parts[0] != topic_of(record):
        raise ValueError("the topic does not fit the message")
    return record


def _with_data(record: Frames, data: bytes) -> Frames:
    expected = 2 * record.rows * len(record.labels)
    if len(data) != expected:
        raise ValueError(f"{len(data)} bytes of scores, expected {expected}")
    return msgspec.structs.replace(record, data=data)

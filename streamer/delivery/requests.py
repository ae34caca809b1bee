"""What is said over the control socket: typed requests and replies, and their bytes; PROTOCOL.md in words."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec

from streamer.delivery.messages import VERSION, Count, Health, JournalState, MessageError, Name
from streamer.errors import StreamerError

REQUEST_MAX_BYTES = 65_536
"""A longer request is refused as "too-large"."""
FRAME_MAX_BYTES = 1_048_576
"""Of a frame longer than this nothing is read: the connection is closed."""
REPLY_MAX_BYTES = 262_144
"""Events in one reply to `replay` have at most so many bytes together (but there is always one)."""
REPLAY_MAX = 1_000
"""Events in one reply to `replay`."""
ID_MAX = 64
"""Characters of a request's `id`."""

Right = Literal["listen", "control"]
Code = Literal["bad-request", "unknown-verb", "forbidden", "busy", "failed", "too-large", "not-available"]
Id = Annotated[str, msgspec.Meta(max_length=ID_MAX)]
Prefix = Annotated[str, msgspec.Meta(max_length=200)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Of an event; no journal gets as far as that, and every JSON parser can read it."""
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class RequestError(StreamerError):
    """A request that is answered with an error: what went wrong, for programs (`code`) and for people."""

    def __init__(self, code: Code, message: str, remedy: str = "", *, request_id: str = "") -> None:
        super().__init__(message, remedy)
        self.code: Code = code
        self.request_id = request_id


# -- requests ------------------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="do"):
    """What every request has; `do` names the verb."""

    right: ClassVar[Right] = "listen"
    """What the client must be allowed to do."""
    v: Annotated[int, msgspec.Meta(ge=1, le=VERSION)] = VERSION
    id: Id = ""
    """The client's own name for this request; the reply repeats it."""

    @property
    def verb(self) -> str:
        """What `do` says."""
        return str(self.__struct_config__.tag)


class Ping(Request, frozen=True, kw_only=True, tag="ping"):
    """Is anybody there?"""


class Status(Request, frozen=True, kw_only=True, tag="status"):
    """How are all streams, the journal and the sockets?"""


class Streams(Request, frozen=True, kw_only=True, tag="streams"):
    """Which streams are there?"""


class Labels(Request, frozen=True, kw_only=True, tag="labels"):
    """Which labels are there, and by which rules are they decided at present?"""


class Replay(Request, frozen=True, kw_only=True, tag="replay"):
    """Give me past events: those after a number, or from a moment on, or all that are kept."""

    since_seq: Number | None = None
    """Events with a larger `seq` than this."""
    since_utc: str | None = None
    """From the first event on that was heard at this moment or later; ISO 8601."""
    topics: Annotated[list[Prefix], msgspec.Meta(max_length=100)] = []
    """Prefixes of topics; none: all events."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=REPLAY_MAX)] = REPLAY_MAX
    """So many events at most in this reply."""


class Mute(Request, frozen=True, kw_only=True, tag="mute"):
    """Do not listen until told to."""

    right = "control"
    stream: Name | None = None
    """None: all streams."""


class Unmute(Request, frozen=True, kw_only=True, tag="unmute"):
    """Listen again."""

    right = "control"
    stream: Name | None = None
    """None: all streams."""


class Threshold(Request, frozen=True, kw_only=True, tag="threshold"):
    """Another threshold for a label, until the daemon ends or reads its config again."""

    right = "control"
    label: Name
    value: Share | None
    """None: as the config has it."""
    stream: Name | None = None
    """None: all streams."""


class Reload(Request, frozen=True, kw_only=True, tag="reload"):
    """Read the config again, as SIGHUP does."""

    right = "control"


class Shutdown(Request, frozen=True, kw_only=True, tag="shutdown"):
    """End as after SIGTERM."""

    right = "control"


AnyRequest = Ping | Status | Streams | Labels | Replay | Mute | Unmute | Threshold | Reload | Shutdown
VERBS = tuple(
    str(kind.__struct_config__.tag)
    for kind in (Ping, Status, Streams, Labels, Replay, Mute, Unmute, Threshold, Reload, Shutdown)
)


# -- replies -------------------------------------------------------------------------------------------


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What every reply has."""

    v: int = VERSION
    id: str = ""
    """As in the request; "" where the request had no legible one."""
    ok: bool = True


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not obeyed."""

    code: str
    """One of `Code`, for programs; more may come."""
    message: str
    """One line for people."""
    remedy: str = ""
    """What can be done about it; may be ""."""


class ErrorReply(Reply, frozen=True, kw_only=True):
    """The request was not obeyed."""

    ok: bool = False
    error: Fault


class Done(Reply, frozen=True, kw_only=True):
    """`shutdown`: it was obeyed, and there is nothing else to say."""


class PingReply(Reply, frozen=True, kw_only=True):
    """`ping`."""

    time_utc: str
    run: str
    journal: str
    seq: Count
    version: str


class JournalStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the journal is; fields as in a health message, and its place."""

    journal: str
    seq: Count
    oldest_seq: Count
    journal_state: JournalState
    journal_detail: str
    journal_pending: Count
    path: str
    """Its file; "" without a journal."""
    size_bytes: Count
    """Of its files together."""


class StatusReply(Reply, frozen=True, kw_only=True):
    """`status`."""

    time_utc: str
    run: str
    version: str
    streams: list[Health]
    """The last health message of each stream."""
    journal: JournalStatus
    publishing_on: list[str]
    """Addresses at which events are published."""
    control_on: list[str]
    """Addresses at which requests are answered."""
    subscriptions: list[str]
    """Prefixes that somebody subscribes to; nobody knows how many subscribers each has."""
    sent: Count
    """Messages published in this run."""
    overflows: Count
    """Times that a subscriber's queue was full and it began to lose messages."""
    frames_dropped: Count
    """Messages with frame scores that were not published, since the daemon was busy with others."""


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One stream; fields as in a health message."""

    stream: Name
    state: str
    detail: str
    source: str
    model: str


class StreamsReply(Reply, frozen=True, kw_only=True):
    """`streams`."""

    streams: list[StreamInfo]


class LabelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A label of a stream and the rule in force."""

    stream: Name
    label: Name
    kind: str
    enabled: bool
    threshold: float
    end_threshold: float
    smoothing_ms: float
    min_ms: float
    release_ms: float
    max_ms: float
    refractory_ms: float
    model: str = ""
    """Name of the model bundle that it belongs to; "" from a daemon that did not tell yet."""


class LabelsReply(Reply, frozen=True, kw_only=True):
    """`labels`."""

    labels: list[LabelInfo]


class ReplayReply(Reply, frozen=True, kw_only=True):
    """`replay`: all events of first_seq..through_seq that fit the topics are in the frames after this one.

    What is neither there nor in `lost` does not fit the topics. Nothing before `oldest_seq` is kept any more.
    """

    journal: str
    first_seq: Count
    """The reply is about the numbers from this one on."""
    through_seq: Count
    """... up to this one: ask again with it as `since_seq`. first_seq - 1 where there is nothing to tell."""
    head_seq: Count
    """The last number given out; all events up to it were published before this reply was made."""
    oldest_seq: Count
    """The journal keeps nothing before this number."""
    more: bool
    """There is more after through_seq."""
    lost: list[tuple[int, int, str]]
    """Numbers within first_seq..through_seq that the journal does not have: first, last, reason."""


class MuteReply(Reply, frozen=True, kw_only=True):
    """`mute` and `unmute`: the streams that were told."""

    streams: list[str]


class ThresholdReply(Reply, frozen=True, kw_only=True):
    """`threshold`: the streams that were told, and what is in force there now."""

    streams: list[str]
    label: str
    threshold: float


class ReloadReply(Reply, frozen=True, kw_only=True):
    """`reload`: in force, but for changes in these sections of the config, which need a restart."""

    needs_restart: list[str]


REPLY_OF: dict[type[Request], type[Reply]] = {
    Ping: PingReply,
    Status: StatusReply,
    Streams: StreamsReply,
    Labels: LabelsReply,
    Replay: ReplayReply,
    Mute: MuteReply,
    Unmute: MuteReply,
    Threshold: ThresholdReply,
    Reload: ReloadReply,
    Shutdown: Done,
}

# -- bytes ---------------------------------------------------------------------------------------------


class _Beginning(msgspec.Struct):
    """As much of a request as an error reply and a helpful message need."""

    v: Any = None
    id: Any = ""
    do: Any = None


class _Outcome(msgspec.Struct):
    v: int
    ok: bool


_READABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
"""What decoders raise at bytes that are nothing of ours."""
_REQUEST = msgspec.json.Decoder(AnyRequest)
_BEGINNING = msgspec.json.Decoder(_Beginning)
_OUTCOME = msgspec.json.Decoder(_Outcome)
_ERROR = msgspec.json.Decoder(ErrorReply)
_REPLY = {kind: msgspec.json.Decoder(kind) for kind in set(REPLY_OF.values())}
_ENCODER = msgspec.json.Encoder()

ReplyT = TypeVar("ReplyT", bound=Reply)


def encode_request(request: Request) -> bytes:
    """The one frame of a request."""
    return _ENCODER.encode(request)


def decode_request(text: bytes) -> AnyRequest:
    """The request in a frame; RequestError, ready to be sent back, on anything else, whatever the bytes."""
    if len(text) > REQUEST_MAX_BYTES:
        raise RequestError("too-large", f"{len(text)} bytes, {REQUEST_MAX_BYTES} at most")
    try:
        request: AnyRequest = _REQUEST.decode(text)
        return request
    except _READABLE as error:
        raise _why_bad(text, error) from None


def request_name(text: bytes) -> str:
    """The id in a frame that is not read any further; "" where there is none."""
    try:
        beginning = _BEGINNING.decode(text[:REQUEST_MAX_BYTES])
    except _READABLE:
        return ""
    return _name(beginning)


def _name(beginning: _Beginning) -> str:
    return beginning.id if isinstance(beginning.id, str) and len(beginning.id) <= ID_MAX else ""


def _why_bad(text: bytes, error: Exception) -> RequestError:
    try:
        beginning = _BEGINNING.decode(text)
    except _READABLE:
        return RequestError("bad-request", f"malformed request: {_line(error)}", "send one JSON object")
    name = _name(beginning)
    if isinstance(beginning.v, int) and beginning.v > VERSION:
        why = f"version {beginning.v} is newer than this daemon, which reads {VERSION}"
        return RequestError("bad-request", why, "install a newer streamer", request_id=name)
    if isinstance(beginning.do, str) and beginning.do not in VERBS:
        why = f"there is no verb {beginning.do[:40]!r}"
        return RequestError("unknown-verb", why, f"one of {', '.join(VERBS)}", request_id=name)
    return RequestError("bad-request", _line(error), request_id=name)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def encode_reply(reply: Reply) -> bytes:
    """The first frame of a reply."""
    return _ENCODER.encode(reply)


def error_reply(error: RequestError, request_id: str = "") -> ErrorReply:
    """The reply that tells an error."""
    fault = Fault(code=error.code, message=error.message, remedy=error.remedy)
    return ErrorReply(id=request_id or error.request_id, error=fault)


def failed_reply(error: StreamerError) -> ErrorReply:
    """The reply where a request was tried and could not be done."""
    return error_reply(RequestError("failed", error.message, error.remedy))


def decode_reply(text: bytes, kind: type[ReplyT]) -> ReplyT | ErrorReply:
    """The reply in a first frame: of the verb's kind, or an error; MessageError on anything else."""
    try:
        outcome = _OUTCOME.decode(text)
        if outcome.v > VERSION:
            raise MessageError(
                f"reply version {outcome.v} is newer than this client, which reads {VERSION}",
                "install a newer streamer",
            )
        decoder: Any = _REPLY[kind] if outcome.ok else _ERROR
        reply: ReplyT | ErrorReply = decoder.decode(text)
        return reply
    except _READABLE as error:
        raise MessageError(f"malformed reply: {_line(error)}") from None

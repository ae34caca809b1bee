"""What clients may want of the daemon itself, done on the main thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamer.delivery.requests import (
    AnyRequest,
    Done,
    ErrorReply,
    LabelInfo,
    Labels,
    LabelsReply,
    Mute,
    MuteReply,
    Reload,
    ReloadReply,
    Reply,
    RequestError,
    Shutdown,
    Threshold,
    ThresholdReply,
    Unmute,
    error_reply,
)
from streamer.errors import StreamerError
from streamer.live_stream import LiveStream


class Commands:
    """Obeys requests; `reload` gives the sections that need a restart, `stop` lets the daemon end soon."""

    def __init__(
        self,
        streams: Sequence[LiveStream],
        *,
        reload: Callable[[], list[str]],
        stop: Callable[[], None],
    ) -> None:
        self._streams = streams
        self._reload = reload
        self._stop = stop

    def obey(self, request: AnyRequest) -> Reply:
        """Do it, and say what came of it."""
        try:
            return self._obey(request)
        except RequestError as error:
            return error_reply(error)
        except StreamerError as error:
            return _failed(error)

    def _obey(self, request: AnyRequest) -> Reply:
        match request:
            case Labels():
                return LabelsReply(labels=[info for stream in self._streams for info in _labels(stream)])
            case Mute() | Unmute():
                return self._mute(request)
            case Threshold():
                return self._set_threshold(request)
            case Reload():
                return ReloadReply(needs_restart=self._reload())
            case Shutdown():
                self._stop()
                return Done()
            case _:
                raise RequestError("failed", f"nobody here obeys {type(request).__name__.lower()}")

    def _mute(self, request: Mute | Unmute) -> MuteReply:
        chosen = self._chosen(request.stream)
        for stream in chosen:
            if isinstance(request, Mute):
                stream.mute()
            else:
                stream.unmute()
        return MuteReply(streams=[stream.name for stream in chosen])

    def _set_threshold(self, request: Threshold) -> ThresholdReply:
        chosen = self._chosen(request.stream)
        labels = [rule.name for rule in chosen[0].rules]
        if request.label not in labels:
            raise RequestError(
                "bad-request", f"there is no label {request.label}", f"one of {', '.join(labels)}"
            )
        in_force = [stream.set_threshold(request.label, request.value) for stream in chosen]
        return ThresholdReply(
            streams=[stream.name for stream in chosen], label=request.label, threshold=in_force[0]
        )

    def _chosen(self, name: str | None) -> list[LiveStream]:
        there = [stream for stream in self._streams if not stream.ended]
        chosen = [stream for stream in there if name in {None, stream.name}]
        if not chosen:
            wanted = "no stream" if name is None else f"no stream {name}"
            names = ", ".join(stream.name for stream in there)
            raise RequestError("bad-request", f"there is {wanted}", f"one of {names}" if names else "")
        return chosen


def _labels(stream: LiveStream) -> list[LabelInfo]:
    return [
        LabelInfo(
            stream=stream.name,
            label=rule.name,
            kind=rule.kind,
            enabled=rule.enabled,
            threshold=rule.threshold,
            end_threshold=rule.end_level,
            smoothing_ms=rule.smoothing_ms,
            min_ms=rule.min_ms,
            release_ms=rule.release_ms,
            max_ms=rule.max_ms,
            refractory_ms=rule.refractory_ms,
        )
        for rule in stream.rules
    ]


def _failed(error: StreamerError) -> ErrorReply:
    return error_reply(RequestError("failed", error.message, error.remedy))

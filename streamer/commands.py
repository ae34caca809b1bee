"""What clients may want of the daemon itself, done on the main thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from streamer.decoding.rules import LabelRule
from streamer.delivery.requests import (
    AnyRequest,
    Done,
    LabelInfo,
    Labels,
    LabelsReply,
    Mute,
    MuteReply,
    Reply,
    RequestError,
    Shutdown,
    Threshold,
    ThresholdReply,
    Unmute,
    error_reply,
    failed_reply,
)
from streamer.errors import StreamerError
from streamer.live_stream import LiveStream


class Later(Protocol):
    """Streams that may come: what holds for all streams is to hold for them as well."""

    muted: bool

    @property
    def rules(self) -> Sequence[LabelRule]:
        """With which they will begin."""

    def set_threshold(self, label: str, value: float | None) -> None:
        """Another threshold to begin with; None: the config's."""


class Commands:
    """Obeys requests that are done at once; `stop` lets the daemon end soon."""

    def __init__(
        self,
        streams: Sequence[LiveStream],
        *,
        stop: Callable[[], None],
        later: Later | None = None,
    ) -> None:
        self._streams = streams
        self._later = later
        self._stop = stop

    def obey(self, request: AnyRequest) -> Reply:
        """Do it, and say what came of it."""
        try:
            return self._obey(request)
        except RequestError as error:
            return error_reply(error)
        except StreamerError as error:
            return failed_reply(error)

    def _obey(self, request: AnyRequest) -> Reply:
        match request:
            case Labels():
                return LabelsReply(labels=[info for stream in self._streams for info in _labels(stream)])
            case Mute() | Unmute():
                return self._mute(request)
            case Threshold():
                return self._set_threshold(request)
            case Shutdown():
                self._stop()
                return Done()
            case _:
                raise RequestError("failed", f"nobody here obeys {type(request).__name__.lower()}")

    def _mute(self, request: Mute | Unmute) -> MuteReply:
        chosen = self._chosen(request.stream)
        mutes = isinstance(request, Mute)
        for stream in chosen:
            if mutes:
                stream.mute()
            else:
                stream.unmute()
        if self._later and request.stream is None:
            self._later.muted = mutes
        return MuteReply(streams=[stream.name for stream in chosen])

    def _set_threshold(self, request: Threshold) -> ThresholdReply:
        chosen = self._chosen(request.stream)
        labels = [rule.name for rule in self._rules_of(chosen)]
        if request.label not in labels:
            raise RequestError(
                "bad-request", f"there is no label {request.label}", f"one of {', '.join(labels)}"
            )
        for stream in chosen:
            stream.set_threshold(request.label, request.value)
        if self._later and request.stream is None:
            self._later.set_threshold(request.label, request.value)
        in_force = {rule.name: rule.threshold for rule in self._rules_of(chosen)}
        return ThresholdReply(
            streams=[stream.name for stream in chosen],
            label=request.label,
            threshold=in_force[request.label],
        )

    def _rules_of(self, streams: Sequence[LiveStream]) -> Sequence[LabelRule]:
        """In force there; with nobody there, those of streams to come."""
        if streams:
            return streams[0].rules
        return self._later.rules if self._later else []

    def _chosen(self, name: str | None) -> list[LiveStream]:
        there = [stream for stream in self._streams if not stream.ended]
        chosen = [stream for stream in there if name in {None, stream.name}]
        if not chosen and not (name is None and self._later):
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
            model=model.name,
        )
        for model, rule in stream.rules_by_model
    ]

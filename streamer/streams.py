"""All streams, the daemon's own and those that are sent: they come and go, are read and listened to."""

from __future__ import annotations

import contextlib
import logging
import selectors
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from streamer.config import ClipsConfig, Config, StreamConfig
from streamer.due import DueStreams
from streamer.errors import ConfigError
from streamer.live_stream import LiveStream
from streamer.pipeline import advance, listen
from streamer.telling import Teller
from streamer.together import Turn, hear, in_waves
from streamer.tuned import TunedModel

if TYPE_CHECKING:
    from streamer.clips.stream_clips import StreamClips
    from streamer.doze import Doze
    from streamer.remote_streams import RemoteStreams

log = logging.getLogger("streamer")

PROMPT_MAX = 16
"""With more of them, paced files are read a usual block at a time: each turn has its price."""


class Streams:
    """Sound in, messages out; the selector wakes the loop when there is sound."""

    def __init__(
        self, config: Config, models: Sequence[TunedModel], teller: Teller, selector: selectors.BaseSelector
    ) -> None:
        self.own: list[LiveStream] = []
        self.all: list[LiveStream] = []
        """Own ones, and those that are sent while they last; both lists are changed in place."""
        self.remote: RemoteStreams | None = None
        """Where streams come from elsewhere, if they do."""
        self.models = models
        self._config = config
        self._teller = teller
        self._selector = selector
        self._parted: list[LiveStream] = []
        self._descriptors: dict[LiveStream, int] = {}  # of the own ones that have something to wait for
        self._due = DueStreams()  # the other own ones

    def open(self) -> None:
        """Begin with the config's own streams; raises StreamerError."""
        for stream in self._opened(self._config.streams, self._config, self.models):
            self._add(stream)

    def _opened(
        self, wanted: Sequence[StreamConfig], config: Config, models: Sequence[TunedModel]
    ) -> list[LiveStream]:
        """These streams, or none of them."""
        with contextlib.ExitStack() as stack:
            streams = []
            for settings in wanted:
                clips = _open_clips(config.clips) if config.clips.enabled else None
                stream = LiveStream(
                    settings, config.engine, models, history_s=config.engine.history_s, clips=clips
                )
                stack.callback(stream.close)
                stream.open()
                streams.append(stream)
            stack.pop_all()
        return streams

    def _add(self, stream: LiveStream) -> None:
        self.own.append(stream)
        self.all.append(stream)
        descriptor = stream.source.fileno()
        if descriptor is None:
            self._due.add(stream)
        else:
            self._descriptors[stream] = descriptor
            self._selector.register(descriptor, selectors.EVENT_READ, stream)

    def _forget(self, stream: LiveStream) -> None:
        """It gives no more sound."""
        descriptor = self._descriptors.pop(stream, None)
        if descriptor is None:
            self._due.remove(stream)
        else:
            self._selector.unregister(descriptor)

    # -- listen ----------------------------------------------------------------------------------------

    @property
    def going_on(self) -> bool:
        """There is or may be something to listen to."""
        return self.remote is not None or any(not stream.ended for stream in self.own)

    def wait_s(self) -> float:
        """How long the loop may sleep on the selector without missing sound."""
        wait_s = self._due.wait_s()
        return min(wait_s, self.remote.wait_s(self._selector)) if self.remote else wait_s

    def doze(self, until_s: float) -> bool:
        """Where a microphone is all there is to listen to, do so in one call until something is going on.

        True where it is to be read at once, whatever the selector says.
        """
        if len(self.all) != 1 or self.remote or not isinstance(self._selector, selectors.EpollSelector):
            return False
        (stream,) = self.all
        if stream not in self._descriptors or self._teller.wants_scores(stream):
            return False
        return stream.doze(self._doze, until_s)

    @cached_property
    def _doze(self) -> Doze:
        from streamer.doze import Doze  # not for files, nor for many streams

        assert isinstance(self._selector, selectors.EpollSelector)
        return Doze(self._selector.fileno())

    def listen(self) -> None:
        """Take the sound that has come, and tell what is heard in it."""
        due = self._due.take(self._config.engine.hop_ms / 4000)
        own = [*self._descriptors, *due]
        sent = self._take_sent(self.remote) if self.remote else []
        self._hear([(stream, self._read) for stream in own] + [(stream, self._read_all) for stream in sent])
        self._publish([*own, *sent])
        for stream in self._descriptors:
            stream.await_block()
        few = len(self._due) + len(due) <= PROMPT_MAX
        for stream in due:
            if not stream.ended:
                if few:
                    stream.await_block()
                self._due.add(stream)

    def _hear(self, streams: Sequence[tuple[LiveStream, Callable[[LiveStream], object]]]) -> None:
        """Read them in their way, and run the models on those that have been read meanwhile."""
        turn, left = Turn(), []
        try:
            for wave in in_waves(streams):
                for stream, read in wave:
                    read(stream)
                left += [wave[place][0] for place in turn.add([stream.pipeline for stream, _ in wave])]
        finally:
            turn.end()  # nobody works on them any more
        self._run_models(left)

    def _take_sent(self, remote: RemoteStreams) -> list[LiveStream]:
        """Streams come, give sound and go; those that may have sound are returned."""
        arrivals = remote.receive()
        announce(arrivals.opened)
        self.all += arrivals.opened
        for stream, why in arrivals.ended:
            self._part_with(stream, why)
        return arrivals.ready

    def _read_all(self, stream: LiveStream) -> None:
        assert self.remote is not None
        while self.remote.has_sound(stream) and self._read(stream):
            pass

    def _part_with(self, stream: LiveStream, why: str) -> None:
        """A stream has come to its end: its last events; its last health message is the heartbeat's."""
        self._drain(stream)
        self._forget(stream)
        stream.end(why)
        self._classify([stream])
        self.all.remove(stream)
        self._parted.append(stream)
        stream.close()

    def take_parted(self) -> list[LiveStream]:
        """Those that have gone since the last call, and have not said goodbye yet."""
        parted, self._parted = self._parted, []
        return parted

    def _read(self, stream: LiveStream) -> bool:
        """Take what the source has, up to the next gap; False where there was nothing."""
        chunk = stream.read()
        if chunk is not None:
            self._teller.heard(stream, chunk)
        elif stream.ended:
            self._forget(stream)
        warning = stream.take_warning()
        if warning:
            log.warning("stream %s: %s", stream.name, warning)
        return chunk is not None

    def _drain(self, stream: LiveStream) -> None:
        """Take what has come and waits."""
        while stream.source.live and not stream.ended and self._read(stream):
            pass

    def _classify(self, streams: Sequence[LiveStream]) -> None:
        """Listen to all that they have got, and tell what is heard in it."""
        self._run_models([streams[place] for place in hear([stream.pipeline for stream in streams])])
        self._publish(streams)

    def _run_models(self, streams: Sequence[LiveStream]) -> None:
        """Stage by stage; all streams have the same models."""
        listen([stream.pipeline for stream in streams])
        for place, tuned in enumerate(self.models):
            advance(tuned.model.classifier, [stream.listeners[place] for stream in streams])

    def _publish(self, streams: Sequence[LiveStream]) -> None:
        for stream in streams:
            self._teller.publish(stream)

    # -- other models and streams, between two pieces of sound -----------------------------------------

    def change(self, config: Config, models: Sequence[TunedModel]) -> None:
        """Go on as this config says; raises StreamerError, and then everything is as it was.

        Streams whose settings are the same go on, and nothing of their sound is lost.
        """
        stay = [stream for stream in self.own if stream.config in config.streams]
        known = [stream.config for stream in stay]
        wanted = [settings for settings in config.streams if settings not in known]
        self._refuse_taken(wanted)
        coming = self._opened(wanted, config, models)
        for stream in [stream for stream in self.own if stream not in stay]:
            self._part_with(stream, "its settings were changed")
            self.own.remove(stream)
        self._classify(self.all)
        for stream in self.all:
            of_own = stream in stay
            stream.use(models, config.engine, (config.engine if of_own else config.ingest).history_s)
        if self.remote:
            self.remote.use(config, models)
        self.models, self._config = models, config
        for stream in coming:
            self._add(stream)
        announce(coming)
        self._classify(self.all)

    def _refuse_taken(self, wanted: Sequence[StreamConfig]) -> None:
        sent = [stream.name for stream in self.all if stream not in self.own]
        taken = [settings.name for settings in wanted if settings.name in sent]
        if taken:
            raise ConfigError([f"stream.name: {name!r} is a remote stream at present" for name in taken])

    # -- stop ------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Take what is still in the rings, and tell the last events."""
        for stream in self.all:
            self._drain(stream)
            stream.end()
        self._classify(self.all)

    def close(self) -> None:
        """Let go of the sources."""
        for stream in self.own:
            stream.close()
        if self.remote:
            self.remote.close()


def _open_clips(config: ClipsConfig) -> StreamClips:
    from streamer.clips.stream_clips import StreamClips  # most keep none

    return StreamClips(config)


def announce(streams: Sequence[LiveStream]) -> None:
    """Say in the log what these listen to."""
    for stream in streams:
        log.info("stream %s: %s", stream.name, stream.source.description)

"""`streamer send`: a source's sound to a daemon on another machine, whatever the network does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import zmq

from streamer.audio import SAMPLE_RATE_HZ
from streamer.capture.codecs import encode_block
from streamer.capture.cutter import Block, Cutter
from streamer.capture.line import Line
from streamer.capture.link import WINDOW_SAMPLES, Link
from streamer.capture.microphone import Microphone
from streamer.capture.remote_messages import Codec
from streamer.capture.send_buffer import Entry, SendBuffer
from streamer.capture.source import EndOfSound, Source
from streamer.delivery.endpoints import Endpoint
from streamer.security.known import Credentials

TURN_S = 0.25
"""The longest sleep: a signal is noticed this soon."""
STOP_S = 2.0
"""How long the last sound may take to arrive once we are told to stop."""


class Sender:
    """Reads a source and keeps one daemon supplied, until told to stop or the sound ends."""

    def __init__(
        self,
        source: Source,
        endpoint: Endpoint,
        stream: str,
        *,
        codec: Codec = "pcm16",
        buffer_s: float = 30.0,
        credentials: Credentials | None = None,
        tell: Callable[[str], None] = print,
    ) -> None:
        self._source = source
        self._endpoint = endpoint
        self._credentials = credentials
        self._stream = stream
        self._codec = codec
        self._tell = tell
        self._buffer = SendBuffer(round(buffer_s * SAMPLE_RATE_HZ), WINDOW_SAMPLES)
        self._stop = False
        self._ended = False  # no more sound will be read
        self._troubled = False  # there is a microphone, and at present it gives no sound
        self._deadline_s = float("inf")

    def stop(self) -> None:
        """Send what there is, say goodbye, and return from `run`; for signal handlers."""
        self._stop = True

    def run(self) -> None:
        """Send; raises StreamerError where that makes no sense any more."""
        with contextlib.closing(self._source), zmq.Context() as context:
            self._source.open()
            self._cutter = Cutter(self._source.rate_hz)
            self._link = Link(
                self._stream, self._codec, self._source.description, self._buffer, tell=self._say
            )
            with Line(context, self._endpoint, self._credentials, self._link, self._say) as line:
                while not self._is_done():
                    self._wait(line)
                    self._read()
                    line.converse()
                self._part(line)

    def _say(self, text: str) -> None:
        self._tell(f"{self._endpoint.text}: {text}")

    def _is_done(self) -> bool:
        if not self._ended or not len(self._buffer):
            return self._ended
        # A file that has come to its end waits for its daemon as long as it takes; a person who asks us to
        # stop does not.
        return self._stop and (time.monotonic() > self._deadline_s or not self._link.welcome)

    def _wait(self, line: Line) -> None:
        if not self._wants_sound():
            line.wait(TURN_S)
        elif (descriptor := self._source.fileno()) is not None:
            line.wait(TURN_S, descriptor)
        else:
            line.wait(min(TURN_S, self._source.next_due_s()))

    def _wants_sound(self) -> bool:
        return not self._ended and (self._source.live or not self._buffer.full)

    def _read(self) -> None:
        """Take what the source has; at its end, or ours, what the resampler holds back as well."""
        while self._wants_sound():
            try:
                chunk = self._source.read()
            except EndOfSound:
                self._end()
                return
            if chunk is None:
                break
            captured_s = time.monotonic() - max(0.0, time.time() - chunk.captured_utc_s)
            self._keep(self._cutter.process(chunk, captured_s))
            if not self._source.live:
                break
        self._tell_of_trouble()
        if self._stop and not self._ended:
            self._end()

    def _tell_of_trouble(self) -> None:
        """A microphone that is away is looked for until it is back; meanwhile there is nothing to send."""
        if not isinstance(self._source, Microphone):
            return
        trouble = self._source.trouble
        if trouble and not self._troubled:
            self._tell(trouble.detail)
        self._troubled = trouble is not None
        if news := self._source.take_news():
            self._tell(f"{self._source.description}: {news}")

    def _end(self) -> None:
        self._keep(self._cutter.flush(time.monotonic()))
        self._ended = True
        self._deadline_s = time.monotonic() + STOP_S

    def _keep(self, blocks: list[Block]) -> None:
        for block in blocks:
            payload = None if block.samples is None else encode_block(block.samples, self._codec)
            reason = "" if payload is not None else "the source lost sound"
            self._buffer.add(Entry(block.first_sample, block.end_sample, payload, block.captured_s, reason))

    def _part(self, line: Line) -> None:
        line.say_goodbye()
        if warning := getattr(self._source, "warning", None):
            self._say(warning)
        if bad := self._cutter.bad_samples:
            self._say(f"{bad} samples were no numbers, and silence was sent in their place")
        oldest = self._buffer.oldest
        kept_samples = 0 if oldest is None else self._buffer.end_sample - oldest.first_sample
        if missing := self._buffer.lost_samples + kept_samples:
            self._say(f"{missing / SAMPLE_RATE_HZ:.1f} s of sound did not arrive, as far as is known")

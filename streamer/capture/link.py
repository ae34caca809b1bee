"""A sender's side of the conversation with a daemon, without a socket."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from streamer.audio import SAMPLE_RATE_HZ
from streamer.capture.remote_messages import (
    Ack,
    Again,
    Alive,
    Audio,
    Bye,
    Codec,
    FromDaemon,
    FromSender,
    Gap,
    Hello,
    Refused,
    Welcome,
    printable,
)
from streamer.capture.send_buffer import SendBuffer
from streamer.errors import SocketError

WINDOW_SAMPLES = 2 * SAMPLE_RATE_HZ
"""Sound that may be under way unacknowledged; it bounds what a daemon gets at once after a reconnection."""
ALIVE_S = 1.0
SILENCE_S = 5.0
"""A daemon that says nothing for so long is lost."""
FIRST_HELLO_S, LAST_HELLO_S = 0.5, 8.0
"""Between two hellos without a welcome: doubled each time."""
NO_CONNECTION_S = 0.1
"""Until the next look whether there is a connection; ZeroMQ makes it by itself."""
FOR_GOOD = ("bad-request", "version")
"""Refusals that waiting does not mend."""

Message = tuple[FromSender, bytes | None]


class Link:
    """Says what to send next; is told what has been sent and what has come."""

    def __init__(
        self,
        stream: str,
        codec: Codec,
        source: str,
        buffer: SendBuffer,
        *,
        tell: Callable[[str], None],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = secrets.token_hex(16)
        self.welcome = False
        """The daemon knows us and takes our sound."""
        self._stream = stream
        self._codec = codec
        self._source = printable(source)
        self._buffer = buffer
        self._tell = tell
        self._clock_s = clock_s
        self._heard_s = self._spoke_s = 0.0
        self._hello_s = 0.0  # when the next hello is due
        self._hello_pause_s = FIRST_HELLO_S
        self._lost_s: float | None = None  # since when the daemon is lost; None before the first welcome
        self._lost_samples = 0  # of the buffer, when the daemon was lost
        self._told = ""

    # -- out ---------------------------------------------------------------------------------------------

    def next_message(self) -> Message | None:
        """What is to be sent now; call `sent` when it has been."""
        now_s = self._clock_s()
        if not self.welcome:
            return (self._hello(now_s), None) if now_s >= self._hello_s else None
        if now_s - self._heard_s > SILENCE_S:
            self._lose(f"the daemon has said nothing for {SILENCE_S:g} s")
            return None
        entry = self._buffer.peek()
        if entry is not None:
            return self._message(now_s), entry.payload
        if now_s - self._spoke_s >= ALIVE_S:
            return Alive(session=self.session, next_sample=self._buffer.sent_sample), None
        return None

    def _hello(self, now_s: float) -> Hello:
        oldest = self._buffer.oldest
        first_sample, age_ms = self._buffer.end_sample, 0.0
        if oldest is not None:
            first_sample = oldest.first_sample
            age_s = now_s - oldest.captured_s + (oldest.end_sample - first_sample) / SAMPLE_RATE_HZ
            age_ms = _milliseconds(age_s)
        return Hello(
            stream=self._stream,
            session=self.session,
            codec=self._codec,
            first_sample=first_sample,
            age_ms=age_ms,
            source=self._source,
        )

    def _message(self, now_s: float) -> Audio | Gap:
        entry = self._buffer.peek()
        assert entry is not None
        samples = entry.end_sample - entry.first_sample
        if entry.payload is None:
            return Gap(
                session=self.session, first_sample=entry.first_sample, samples=samples, reason=entry.reason
            )
        return Audio(
            session=self.session,
            first_sample=entry.first_sample,
            samples=samples,
            age_ms=_milliseconds(now_s - entry.captured_s),
        )

    def sent(self, message: FromSender) -> None:
        """It has been handed over."""
        self._spoke_s = self._clock_s()
        if isinstance(message, Hello):
            self._hello_s = self._spoke_s + self._hello_pause_s
            self._hello_pause_s = min(LAST_HELLO_S, 2 * self._hello_pause_s)
        elif isinstance(message, Audio | Gap):
            self._buffer.mark_sent()

    def cut(self) -> None:
        """There is no connection."""
        if self.welcome:
            self._lose("the connection is gone")
        self._hello_s = self._clock_s() + NO_CONNECTION_S

    def bye(self) -> Bye:
        """The last word."""
        return Bye(session=self.session, next_sample=self._buffer.end_sample)

    def due_s(self) -> float:
        """Seconds until `next_message` may have something by the clock alone."""
        at_s = min(self._spoke_s + ALIVE_S, self._heard_s + SILENCE_S) if self.welcome else self._hello_s
        return max(0.0, at_s - self._clock_s())

    # -- in ----------------------------------------------------------------------------------------------

    def take(self, message: FromDaemon) -> None:
        """What the daemon has said; raises SocketError where it refuses for good."""
        self._heard_s = self._clock_s()
        if isinstance(message, Welcome):
            self._buffer.rewind(message.next_sample)
            if not self.welcome:
                self._arrive()
        elif isinstance(message, Ack):
            self._buffer.acknowledge(message.next_sample)
        elif isinstance(message, Again):
            if self.welcome:
                self._lose("the daemon has begun anew")
            self._hello_s = 0.0
        else:
            self._be_refused(message)

    def _arrive(self) -> None:
        self.welcome, self._hello_pause_s, self._told = True, FIRST_HELLO_S, ""
        if self._lost_s is None:
            self._tell(f"connected: the daemon takes the stream {self._stream}")
            return
        away_s = self._clock_s() - self._lost_s
        lost = self._buffer.lost_samples - self._lost_samples
        length = f"{lost} samples ({lost / SAMPLE_RATE_HZ:.1f} s) lost" if lost else "nothing lost"
        self._tell(f"back after {away_s:.1f} s, {length}")

    def _lose(self, why: str) -> None:
        self.welcome, self._hello_s = False, 0.0
        self._lost_s, self._lost_samples = self._clock_s(), self._buffer.lost_samples
        self._tell(f"lost: {why}; the newest sound is kept, trying again for ever")

    def _be_refused(self, refused: Refused) -> None:
        why = f"the daemon refuses: {printable(refused.message)}"
        if refused.code in FOR_GOOD:
            raise SocketError(why, _REMEDIES.get(refused.code, ""))
        if self.welcome:
            self._lose(why)
        if why != self._told:
            self._told = why
            self._tell(f"{why}; trying for ever")


_REMEDIES = {
    "bad-request": "use the same version of streamer on both sides",
    "version": "install the daemon's version of streamer",
}


def _milliseconds(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 1)

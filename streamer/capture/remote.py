"""A microphone on another machine, as a source: fed with what its sender sent, read like any other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np

from streamer.audio import SAMPLE_RATE_HZ, Chunk
from streamer.capture.assembler import Assembler, Piece
from streamer.capture.codecs import I16, to_float
from streamer.capture.remote_messages import Hello, printable

PATIENCE_SAMPLES = 2 * SAMPLE_RATE_HZ
"""Later sound that is held while a hole may still be filled: what a sender may have under way."""
LAST_SAMPLE = 2**52
"""No stream's clock gets so far (8,900 years): numbers beyond 64 bits would not go into a message."""
SHORTEST_STALL_S = 2.0
"""A sender that has nothing to send says so every second."""
LOSS_ADVICE = "is the network too slow, or the sender's machine too busy? a larger --buffer-s may help"


class RemoteSource:
    """One sender's sound on one clock, through all its connections and runs.

    The clock begins at 0 with the first sample. When the sender has begun anew (another session), its sound
    goes on after a gap as long as the pause was, a sample at least.
    """

    live = True
    rate_hz = SAMPLE_RATE_HZ
    channels = 1
    loss_advice = LOSS_ADVICE

    def __init__(
        self,
        hello: Hello,
        *,
        stall_s: float,
        address: str = "",
        clock_s: Callable[[], float] = time.monotonic,
        utc_clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.name = hello.stream
        self.warning: str | None = None
        self.heard = False
        """Some sound has come."""
        self.stall_s = max(stall_s, SHORTEST_STALL_S)
        """Silent for so long, it is stalled, or its sender gone."""
        self._clock_s = clock_s
        self._utc_clock_s = utc_clock_s
        self._pieces: deque[Piece] = deque()  # in order, on the stream's clock
        self._next_sample = 0  # on the stream's clock: where the sound that has been read ends
        self._captured_s: float | None = None  # when the newest sample was captured
        self._former = (0, 0)  # gaps and lost samples of former sessions
        self._adopt(hello, address)
        self._shift = -hello.first_sample  # from the session's clock to the stream's
        self._assembler = Assembler(hello.first_sample, PATIENCE_SAMPLES)

    def _adopt(self, hello: Hello, address: str) -> None:
        self.session, self.codec = hello.session, hello.codec
        self.word_s = self._clock_s()
        """When the sender was last heard of."""
        where = f" at {address}" if address else ""
        what = printable(hello.source) or "remote microphone"
        self.description = f"sender{where} ({what}, {self.codec})"

    # -- the sender's side -------------------------------------------------------------------------------

    def come_back(self, hello: Hello, address: str) -> None:
        """The sender has connected again; after a restart of its own, sound goes on after a gap."""
        if hello.session == self.session:
            self._adopt(hello, address)
            return
        self._assembler.finish()
        self._move_ready()
        end_sample = self._assembler.next_sample + self._shift
        pause_samples = self._pause_samples(hello) if self._captured_s is not None else 0
        self._former = (self.overruns + bool(pause_samples), self.lost_samples + pause_samples)
        self._shift = end_sample + pause_samples - hello.first_sample
        self._assembler = Assembler(hello.first_sample, PATIENCE_SAMPLES)
        self._adopt(hello, address)

    def _pause_samples(self, hello: Hello) -> int:
        assert self._captured_s is not None
        pause_s = self._clock_s() - hello.age_ms / 1000 - self._captured_s
        return max(1, round(pause_s * SAMPLE_RATE_HZ))

    def put(self, first_sample: int, samples: I16, age_ms: float) -> None:
        """Sound that came, on the session's clock."""
        captured_s = self._clock_s() - age_ms / 1000
        self.heard = True
        self._put(Piece(first_sample, first_sample + len(samples), samples, captured_s))

    def put_gap(self, first_sample: int, samples: int) -> None:
        """The sender says that there is no such sound."""
        self._put(Piece(first_sample, first_sample + samples, None, self._clock_s()))

    def _put(self, piece: Piece) -> None:
        if piece.end_sample + self._shift <= LAST_SAMPLE:
            self._assembler.put(piece)

    @property
    def next_sample(self) -> int:
        """On the session's clock: everything before it has come."""
        return self._assembler.next_sample

    @property
    def taken_sample(self) -> int:
        """On the session's clock: everything before it has been read."""
        return self._pieces[0].first_sample - self._shift if self._pieces else self._assembler.taken_sample

    @property
    def has_hole(self) -> bool:
        """Later sound is here, and something before it is missing."""
        return self._assembler.has_hole

    @property
    def waiting_samples(self) -> int:
        """Sound that has come and has not been read."""
        unread = sum(piece.end_sample - piece.first_sample for piece in self._pieces)
        return unread + self._assembler.waiting_samples

    def end(self) -> None:
        """The sender will send no more."""
        self._assembler.finish()

    # -- the reader's side -------------------------------------------------------------------------------

    def open(self) -> None:
        """Nothing: it is open from the sender's first word on."""

    def read(self) -> Chunk | None:
        """The sound that has come, up to a gap; None when there is none yet."""
        self._move_ready()
        if not self._pieces:
            return None
        first_sample, end_sample, part, captured_s = self._pieces.popleft()
        assert part is not None  # of gaps the assembler tells by leaving them out
        parts = [part]
        while self._pieces and self._pieces[0].first_sample == end_sample:
            _, end_sample, part, captured_s = self._pieces.popleft()
            assert part is not None
            parts.append(part)
        samples = to_float(part if len(parts) == 1 else np.concatenate(parts))
        age_s = self._clock_s() - captured_s
        return Chunk(samples, first_sample, self._utc_clock_s() - age_s)

    @property
    def has_more(self) -> bool:
        """`read` would give something."""
        return bool(self._pieces) or self._assembler.has_ready

    def _move_ready(self) -> None:
        shift = self._shift
        for first_sample, end_sample, samples, captured_s in self._assembler.take():
            self._pieces.append(Piece(first_sample + shift, end_sample + shift, samples, captured_s))
            self._captured_s = captured_s

    def fileno(self) -> None:
        """None: whoever feeds it knows when there is something."""
        return

    def next_due_s(self) -> float:
        """Never by the clock."""
        return float("inf")

    @property
    def finished(self) -> bool:
        """Nothing has been heard of the sender for as long as it takes to be called stalled."""
        return self._clock_s() - self.word_s >= self.stall_s

    @property
    def lost_samples(self) -> int:
        """Sound that the sender lost or that never came, pauses between its runs included."""
        return self._former[1] + self._assembler.lost_samples

    @property
    def overruns(self) -> int:
        """Times that sound was lost."""
        return self._former[0] + self._assembler.gaps

    def close(self) -> None:
        """Let go of all sound."""
        self._pieces.clear()

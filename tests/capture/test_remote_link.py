"""A sender and a daemon over a line that loses, doubles, swaps and breaks, with a clock of our own."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio import Chunk
from streamer.capture.codecs import encode_block, quantise
from streamer.capture.link import Link
from streamer.capture.reception import Limits, Reception
from streamer.capture.remote_messages import Refused, decode_from_daemon, decode_from_sender, encode
from streamer.capture.send_buffer import Entry, SendBuffer
from streamer.errors import SocketError
from tests.capture.conftest import FakeClock

BLOCK = 1280
SOUND = np.random.default_rng(3).integers(-(2**15), 2**15, 2**20).astype(np.int16)


class Sender:
    """A link, its buffer, and sound that is made as time goes on."""

    def __init__(self, clock: FakeClock, *, buffer_s: float = 30.0, stream: str = "kitchen") -> None:
        self.told: list[str] = []
        self.buffer = SendBuffer(round(16_000 * buffer_s), 32_000)
        self.link = Link(stream, "pcm16", "a test", self.buffer, tell=self.told.append, clock_s=clock)
        self._clock = clock

    def capture(self, *, lost: bool = False) -> None:
        first = self.buffer.end_sample
        samples = SOUND[first : first + BLOCK]
        payload = None if lost else encode_block(samples, "pcm16")
        self.buffer.add(Entry(first, first + BLOCK, payload, self._clock()))


class Line:
    """Two queues between a sender and a reception; what is in them can be lost."""

    def __init__(self, clock: FakeClock, sender: Sender, reception: Reception) -> None:
        self.sender, self.reception, self.clock = sender, reception, clock
        self.up: deque[tuple[bytes, bytes, bytes | None]] = deque()
        self.down: deque[bytes] = deque()
        self.number = 1
        self.connected = True
        self.heard: list[Chunk] = []

    @property
    def peer(self) -> bytes:
        return b"\0%d" % self.number

    def send(self) -> None:
        while (found := self.sender.link.next_message()) is not None:
            if not self.connected:
                self.sender.link.cut()
                return
            message, payload = found
            self.up.append((self.peer, encode(message), payload))
            self.sender.link.sent(message)

    def arrive(self) -> None:
        if self.up:
            peer, header, payload = self.up.popleft()
            answer = self.reception.handle(peer, header, payload)
            if answer is not None and peer == self.peer:
                self.down.append(encode(answer))

    def read(self) -> None:
        """The daemon's turn: listen, then acknowledge."""
        for source in self.reception.take_news().ready.values():
            while (chunk := source.read()) is not None:
                self.heard.append(chunk)
        self.down.extend(encode(ack) for peer, ack in self.reception.take_acks() if peer == self.peer)

    def answer(self) -> None:
        if self.down:
            self.sender.link.take(decode_from_daemon(self.down.popleft()))

    def cut(self) -> None:
        """The connection breaks: what was on its way is lost, and the next one is another."""
        self.up.clear()
        self.down.clear()
        self.number += 1

    def settle(self, seconds: float = 20.0) -> None:
        """Everything works, for long enough."""
        self.connected = True
        for _ in range(round(seconds / 0.1)):
            self.clock.advance(0.1)
            for _ in range(4):
                self.send()
                while self.up:
                    self.arrive()
                self.read()
                while self.down:
                    self.answer()


def check_sound(chunks: list[Chunk], shift: int = 0) -> set[int]:
    """The sender's samples and nothing else; returns the numbers of the blocks that were heard whole."""
    blocks: dict[int, int] = {}
    at = 0
    for chunk in chunks:
        assert chunk.first_sample >= at
        first, end = chunk.first_sample + shift, chunk.end_sample + shift
        np.testing.assert_array_equal(quantise(chunk.samples), SOUND[first:end])
        for number in range(first // BLOCK, (end - 1) // BLOCK + 1):
            covered = min(end, (number + 1) * BLOCK) - max(first, number * BLOCK)
            blocks[number] = blocks.get(number, 0) + covered
        at = chunk.end_sample
    return {number for number, samples in blocks.items() if samples == BLOCK}


USUAL = ["capture"] * 6 + ["send"] * 4 + ["arrive"] * 8 + ["read"] * 2 + ["answer"] * 4
LOSSES = ["lose up", "lose down", "double", "swap", "wait"]
CUTS = ["cut", "unplug", "plug", "long wait"]
# Every cut makes good what was lost before it, so that losses alone are worth trying as well.
steps = st.one_of(
    st.lists(st.sampled_from(USUAL + LOSSES), min_size=50, max_size=150),
    st.lists(st.sampled_from(USUAL + LOSSES + CUTS), min_size=50, max_size=150),
)


def play(line: Line, names: list[str]) -> None:
    clock = line.clock
    for name in names:
        if name == "capture":
            clock.advance(0.08)
            line.sender.capture()
        elif name in ("send", "arrive", "read", "answer", "cut"):
            getattr(line, name)()
        elif name == "lose up" and line.up:
            line.up.popleft()
        elif name == "lose down" and line.down:
            line.down.popleft()
        elif name == "double" and line.up:
            line.up.append(line.up[0])
        elif name == "swap" and len(line.up) > 1:
            line.up[0], line.up[1] = line.up[1], line.up[0]
        elif name in ("unplug", "plug"):
            line.connected = name == "plug"
            line.cut()
        elif name in ("wait", "long wait"):
            clock.advance(0.5 if name == "wait" else 7.0)


def make_line(clock: FakeClock, **options: float) -> Line:
    return Line(clock, Sender(clock, **options), Reception(Limits(), clock_s=clock, utc_clock_s=clock))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(steps)
def test_with_room_to_keep_it_nothing_is_lost_whatever_the_line_does(names: list[str]) -> None:
    line = make_line(FakeClock())
    line.settle(0.5)
    play(line, names)
    line.settle()
    blocks = check_sound(line.heard)
    assert blocks == set(range(names.count("capture"))), line.sender.told
    assert line.sender.buffer.lost_samples == 0
    assert len(line.sender.buffer) == 0, "everything was acknowledged"


@settings(max_examples=60, deadline=None)
@given(steps)
def test_what_did_not_fit_is_lost_and_told_and_nothing_else(names: list[str]) -> None:
    """Half a second of room: the daemon hears all the rest, and counts exactly what it did not hear."""
    line = make_line(FakeClock(), buffer_s=0.5)
    play(line, names)
    line.settle()
    line.sender.capture()
    line.settle(2)
    blocks = check_sound(line.heard)
    total = names.count("capture") + 1
    lost = total - len(blocks)
    assert total - 1 in blocks
    source = line.reception._by_name["kitchen"].source
    # What was lost before the first hello, the daemon never hears of: its clock begins with that hello.
    assert source.lost_samples <= lost * BLOCK <= line.sender.buffer.lost_samples
    gaps = sum(
        after.first_sample - before.end_sample
        for before, after in zip(line.heard, line.heard[1:], strict=False)
    )
    assert gaps + line.heard[0].first_sample == source.lost_samples


@settings(max_examples=50, deadline=None)
@given(steps, steps)
def test_a_daemon_that_begins_anew_gets_what_was_not_acknowledged(
    before: list[str], after: list[str]
) -> None:
    line = make_line(FakeClock())
    play(line, before)
    former, line.heard = line.heard, []
    acknowledged = line.sender.buffer.oldest
    begin = line.sender.buffer.end_sample if acknowledged is None else acknowledged.first_sample
    line.reception = Reception(Limits(), clock_s=line.clock, utc_clock_s=line.clock)
    line.cut()
    play(line, after)
    line.settle()
    line.sender.capture()
    line.settle(2)
    total = before.count("capture") + after.count("capture") + 1
    shift = line.sender.buffer.end_sample - line.heard[-1].end_sample
    assert 0 <= shift <= begin, "the clock begins with the oldest that was kept"
    assert check_sound(former) | check_sound(line.heard, shift) == set(range(total)), line.sender.told
    assert line.sender.buffer.lost_samples == 0


def test_its_words_are_said_once_each() -> None:
    clock = FakeClock()
    line = make_line(clock, buffer_s=2.0)
    line.settle(1)
    assert line.sender.told == ["connected: the daemon takes the stream kitchen"]
    line.connected = False
    line.cut()
    for _ in range(100):  # 8 s
        clock.advance(0.08)
        line.sender.capture()
        line.send()
    line.settle(3)
    _, lost, back = line.sender.told
    assert lost.startswith("lost: the connection is gone")
    assert back.startswith("back after 8.")
    assert f"{line.sender.buffer.lost_samples} samples" in back
    assert line.sender.buffer.lost_samples > 5 * 16_000


def test_a_daemon_that_says_nothing_is_lost_and_the_hellos_become_rarer() -> None:
    clock = FakeClock()
    line = make_line(clock)
    line.settle(1)
    times = []
    for _ in range(1200):
        clock.advance(0.05)
        found = line.sender.link.next_message()
        if found is not None:
            line.sender.link.sent(found[0])
            if type(found[0]).__name__ == "Hello":
                times.append(clock())
    assert "said nothing for 5 s" in line.sender.told[1]
    pauses = np.diff(times)
    assert pauses[0] == pytest.approx(0.5, abs=0.1)
    assert (np.diff(pauses) > -0.1).all()
    assert pauses[-1] == pytest.approx(8.0, abs=0.1)


def test_a_refusal_for_good_ends_it_and_another_does_not() -> None:
    clock = FakeClock()
    sender = Sender(clock)
    sender.link.take(Refused(code="taken", message="there is a stream kitchen already"))
    sender.link.take(Refused(code="taken", message="there is a stream kitchen already"))
    assert sender.told == ["the daemon refuses: there is a stream kitchen already; trying for ever"]
    sender.link.take(Refused(code="something-new", message="no"))
    for code in ("version", "bad-request"):
        with pytest.raises(SocketError, match="the daemon refuses: not you; "):
            sender.link.take(Refused(code=code, message="not you"))


def test_a_sender_without_sound_says_that_it_is_alive() -> None:
    clock = FakeClock()
    line = make_line(clock)
    line.settle(1)
    source = line.reception._by_name["kitchen"].source
    for _ in range(100):
        clock.advance(0.1)
        line.settle(0.1)
        assert not source.finished
    assert len(line.sender.told) == 1
    assert decode_from_sender(encode(line.sender.link.bye())).next_sample == 0  # type: ignore[union-attr]

"""The shared ring against a plain list, and with a writer in a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.capture.ring import RingReader
from streamer.capture.ring_writer import RingWriter


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("ring")
    yield descriptor
    os.close(descriptor)


def frames_of(first: int, count: int, channels: int = 1) -> bytes:
    """Frames that tell their number, the same in all channels."""
    numbers = np.arange(first, first + count, dtype=np.float32)
    return np.repeat(numbers, channels).tobytes()


@given(
    capacity=st.integers(1, 50),
    channels=st.integers(1, 3),
    steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 70), st.integers(0, 20)), max_size=30),
)
def test_it_gives_what_was_written_as_far_as_it_is_there(
    capacity: int, channels: int, steps: list[tuple[int, int, int]]
) -> None:
    descriptor = os.memfd_create("ring")
    try:
        writer = RingWriter(descriptor, capacity, 4 * channels)
        with closing(RingReader(descriptor, capacity, channels)) as reader:
            for wanted_count, back, claimed in steps:
                count = min(wanted_count, capacity)
                writer.claim(count)
                writer.write(frames_of(writer.frames, count, channels))
                writer.claim(min(claimed, capacity))
                oldest = max(0, writer.frames + min(claimed, capacity) - capacity)
                assert reader.oldest_frame == oldest
                wanted = max(0, writer.frames - back)
                first, samples = reader.read(wanted, writer.frames)
                assert first == min(writer.frames, max(wanted, oldest))
                assert samples.tolist() == list(range(first, writer.frames))
    finally:
        os.close(descriptor)


def test_channels_are_averaged(memory: int) -> None:
    writer = RingWriter(memory, 10, 8)
    writer.write(np.array([[0.0, 1.0], [0.5, 0.5], [-1.0, 1.0]], np.float32).tobytes())
    with closing(RingReader(memory, 10, 2)) as reader:
        assert reader.read(0, 3)[1].tolist() == [0.5, 0.5, 0.0]


def test_what_was_read_is_a_copy(memory: int) -> None:
    writer = RingWriter(memory, 4, 4)
    writer.write(frames_of(0, 4))
    with closing(RingReader(memory, 4, 1)) as reader:
        _, samples = reader.read(0, 4)
        writer.write(frames_of(4, 4))
        assert samples.tolist() == [0, 1, 2, 3]


def test_the_writer_learns_what_the_reader_waits_for(memory: int) -> None:
    writer = RingWriter(memory, 4, 4)
    writer.claim(3)
    with closing(RingReader(memory, 4, 1)) as reader:
        assert writer.wanted == 0
        for wanted in (7, 2**40, 0):
            reader.want(wanted)
            assert writer.wanted == wanted
        reader.want(-1)
        assert writer.wanted == 0
        assert reader.oldest_frame == 0


def test_the_reader_cannot_write(memory: int) -> None:
    RingWriter(memory, 4, 4)
    with (
        closing(RingReader(memory, 4, 1)) as reader,
        pytest.raises(ValueError, match="read-only"),
    ):
        reader._frames[0] = 1.0


def test_a_reader_that_is_overtaken_while_it_copies_gives_nothing_spoilt(memory: int) -> None:
    """The writer goes round and round as fast as it can; each number that is read is the one it should be."""
    capacity, block = 4_000, 400
    writer = RingWriter(memory, capacity, 4)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set() and writer.frames < 2**23:  # float32 counts so far
            writer.claim(block)
            writer.write(frames_of(writer.frames, block))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with closing(RingReader(memory, capacity, 1)) as reader:
            for _ in range(2_000):
                newest = writer.frames
                first, samples = reader.read(newest - capacity if newest > capacity else 0, newest)
                assert first + len(samples) == newest
                assert np.array_equal(samples, np.arange(first, newest, dtype=np.float32))
    finally:
        stop.set()
        thread.join()

"""The ring against a plain list, alone and with two threads."""

from __future__ import annotations

import os
import select
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.capture.ring import Ring


class Model:
    """All sound ever written, in a list: None where the device lost a sample."""

    def __init__(self, capacity: int, wake: int) -> None:
        self.capacity, self.wake = capacity, min(wake, capacity)
        self.items: list[float | None] = []
        self.delivered: set[int] = set()
        self.position = self.skips = self.episodes = 0
        self.in_episode = self.readable = False

    @property
    def oldest(self) -> int:
        return max(0, len(self.items) - self.capacity)

    def overwritten(self) -> int:
        return sum(self.items[i] is not None and i not in self.delivered for i in range(self.oldest))

    def append(self, values: list[float | None]) -> None:
        before = self.overwritten()
        self.items += values
        if self.overwritten() > before and not self.in_episode:
            self.episodes += 1
            self.in_episode = True

    def write(self, values: list[float | None]) -> None:
        self.append(values)
        if values and len(self.items) - self.position >= self.wake:
            self.readable = True

    def skip(self, count: int) -> None:
        self.append([None] * count)
        self.skips += count > 0

    def read(self, most: int | None) -> tuple[int, list[float]]:
        start = max(self.position, self.oldest)
        while start < len(self.items) and self.items[start] is None:
            start += 1
        found: list[float] = []
        for value in self.items[start:]:
            if value is None or (most is not None and len(found) >= most):
                break
            found.append(value)
        self.position = start + len(found)
        self.delivered |= set(range(start, self.position))
        self.in_episode = False
        self.readable = len(self.items) - self.position >= self.wake
        return start, found


def is_readable(ring: Ring) -> bool:
    return bool(select.select([ring.fileno()], [], [], 0)[0])


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 40), st.integers(0, 3)),
        st.tuples(st.just("read"), st.one_of(st.none(), st.integers(0, 40)), st.just(0)),
        st.tuples(st.just("skip"), st.integers(0, 30), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=400, deadline=None)
@given(capacity=st.integers(1, 24), wake=st.integers(1, 30), operations=OPERATIONS)
def test_ring_does_what_a_list_does(
    capacity: int, wake: int, operations: list[tuple[str, int | None, int]]
) -> None:
    ring, model = Ring(capacity, 16_000, wake_samples=wake), Model(capacity, wake)
    try:
        for verb, count, channels in operations:
            if verb == "write":
                assert count is not None
                values = np.arange(len(model.items), len(model.items) + count, dtype=np.float32)
                ring.write(values if channels == 0 else np.repeat(values[:, None], channels, axis=1))
                model.write([float(value) for value in values])
            elif verb == "skip":
                assert count is not None
                ring.skip(count)
                model.skip(count)
            else:
                first, samples = ring.read(count)
                assert (first, samples.tolist()) == model.read(count)
                assert samples.dtype == np.float32
            real = sum(item is not None for item in model.items)
            assert ring.end_sample == len(model.items)
            assert ring.written_samples == real
            assert ring.lost_samples == len(model.items) - real + model.overwritten()
            assert ring.overruns == model.skips + model.episodes
            assert is_readable(ring) == model.readable
    finally:
        ring.close()


@pytest.fixture
def ring():
    made = Ring(100, 1000, wake_samples=10)
    yield made
    made.close()


def test_channels_are_averaged_and_input_is_left_alone(ring: Ring) -> None:
    frames = np.array([[1, 2, 6], [-1, 0, 1]], np.float32)
    before = frames.copy()
    ring.write(frames)
    _, samples = ring.read()
    np.testing.assert_array_equal(samples, np.array([3, 0], np.float32))
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 9, 32])
def test_the_mean_does_not_depend_on_the_blocks(channels: int, rng: np.random.Generator) -> None:
    frames = rng.standard_normal((500, channels)).astype(np.float32)
    got = []
    for size in (500, 1, 7):
        ring = Ring(501, 16_000)
        for start in range(0, 500, size):
            ring.write(frames[start : start + size])
        got.append(ring.read()[1])
        ring.close()
    np.testing.assert_array_equal(got[0], got[1])
    np.testing.assert_array_equal(got[0], got[2])
    np.testing.assert_allclose(got[0], frames.astype(float).mean(axis=1), atol=1e-6)


def test_nan_and_infinity_pass_without_a_warning(ring: Ring) -> None:
    ring.write(np.array([[np.inf, -np.inf], [np.nan, 1], [np.inf, 1]], np.float32))
    np.testing.assert_array_equal(ring.read()[1], np.array([np.nan, np.nan, np.inf], np.float32))


def test_what_was_read_is_a_copy(ring: Ring) -> None:
    ring.write(np.ones(100, np.float32))
    _, samples = ring.read()
    ring.write(np.zeros(100, np.float32))
    assert samples.min() == 1
    samples[:] = 7
    assert ring.read()[1].max() == 0


def test_time_of_a_chunk_is_told_from_the_newest_write(clock) -> None:
    ring = Ring(2000, 1000, utc_clock_s=clock)
    clock.now_s = 5.0
    ring.write(np.zeros(300, np.float32))
    ring.skip(200)
    clock.now_s = 6.0
    ring.write(np.zeros(500, np.float32))
    assert ring.captured_utc_s(1000) == pytest.approx(6.0)
    assert ring.captured_utc_s(500) == pytest.approx(5.5)
    ring.close()


def test_only_one_wake_up_waits_however_much_is_written(ring: Ring) -> None:
    for _ in range(1000):
        ring.write(np.zeros(10, np.float32))
    assert len(os.read(ring.fileno(), 100)) == 1


def test_the_index_stays_exact_far_beyond_32_bits(ring: Ring) -> None:
    ring.skip(2**40)
    ring.write(np.arange(5, dtype=np.float32))
    first, samples = ring.read()
    assert (first, samples.tolist()) == (2**40, [0, 1, 2, 3, 4])
    assert ring.lost_samples == 2**40


def test_a_closed_ring_ignores_writes_and_still_gives_what_it_has(ring: Ring) -> None:
    ring.write(np.ones(3, np.float32))
    ring.close()
    ring.close()
    ring.write(np.ones(3, np.float32))
    ring.wake()
    assert ring.read()[1].tolist() == [1, 1, 1]
    assert ring.fileno() == -1


@pytest.mark.parametrize("arguments", [(0, 16_000, 1), (10, 0, 1), (10, 16_000, 0)])
def test_nonsense_sizes_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Ring(arguments[0], arguments[1], wake_samples=arguments[2])


TOTAL_SAMPLES = 6_000_000  # below 2**24, so that float32 can hold every index exactly


@pytest.mark.parametrize(("capacity", "waits"), [(3_000, False), (20_000, True)])
def test_two_threads_never_tear_samples(capacity: int, waits: bool, rng: np.random.Generator) -> None:
    """Every sample holds its own index. `waits`: the writer leaves the reader time: nothing may be lost."""
    ring = Ring(capacity, 16_000, wake_samples=100)
    ramp = np.arange(TOTAL_SAMPLES, dtype=np.float32)
    sizes = rng.integers(1, 2_900, 100_000)
    read_to = [0]
    deadline_s = time.monotonic() + 60

    def write_all() -> None:
        at = 0
        for size in sizes:
            while waits and at + size - read_to[0] > capacity and time.monotonic() < deadline_s:
                time.sleep(0)
            ring.write(ramp[at : at + size])
            at += size
            if at >= TOTAL_SAMPLES:
                break

    former_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    writer = threading.Thread(target=write_all, name="writer")
    writer.start()
    delivered, samples = 0, np.ones(1, np.float32)
    try:
        while ring.end_sample < TOTAL_SAMPLES or len(samples):
            select.select([ring.fileno()], [], [], 0.05)
            first, samples = ring.read()
            assert first >= read_to[0], "went back"
            np.testing.assert_array_equal(samples, ramp[first : first + len(samples)])
            read_to[0] = first + len(samples)
            delivered += len(samples)
            assert time.monotonic() < deadline_s, "the writer does not get on"
    finally:
        sys.setswitchinterval(former_s)
        writer.join(60)
    assert delivered + ring.lost_samples == ring.written_samples == TOTAL_SAMPLES
    assert (ring.overruns > 0) == (ring.lost_samples > 0)
    if waits:
        assert ring.lost_samples == 0
    ring.close()

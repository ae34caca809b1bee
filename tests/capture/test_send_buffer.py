"""What is kept for sending: everything from the last acknowledgement to the newest, as sound or as a gap."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.capture.send_buffer import Entry, SendBuffer

LIMIT, WINDOW, BLOCK = 40_000, 6400, 1280


def block(buffer: SendBuffer, samples: int = BLOCK, *, lost: bool = False) -> Entry:
    first = buffer.end_sample
    return Entry(first, first + samples, None if lost else b"x" * samples, captured_s=first / 16_000)


def send_all(buffer: SendBuffer) -> list[Entry]:
    sent = []
    while (entry := buffer.peek()) is not None:
        sent.append(entry)
        buffer.mark_sent()
    return sent


operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 5000)),
        st.tuples(st.just("lose"), st.integers(1, 50_000)),
        st.tuples(st.just("send"), st.integers(1, 5)),
        st.tuples(st.just("acknowledge"), st.floats(0, 1)),
        st.tuples(st.just("rewind"), st.floats(0, 1)),
    ),
    min_size=30,
    max_size=80,
)


@settings(max_examples=100, deadline=None)
@given(operations)
def test_nothing_is_ever_missing_between_the_acknowledged_and_the_newest(
    steps: list[tuple[str, float]],
) -> None:
    buffer = SendBuffer(LIMIT, WINDOW)
    acknowledged = added = 0
    pushed_out = 0
    for name, value in steps:
        if name in ("add", "lose"):
            before = buffer.lost_samples
            entry = block(buffer, int(value), lost=name == "lose")
            buffer.add(entry)
            added += 1
            pushed_out += buffer.lost_samples - before
        elif name == "send":
            for _ in range(int(value)):
                if buffer.peek() is not None:
                    buffer.mark_sent()
        elif name == "acknowledge":
            acknowledged = max(acknowledged, int(acknowledged + value * (buffer.sent_sample - acknowledged)))
            buffer.acknowledge(acknowledged)
        else:
            at = acknowledged + round(value * (buffer.end_sample - acknowledged))
            buffer.rewind(at)
            assert buffer.sent_sample <= max(at, acknowledged)
        entries = list(buffer._entries)
        assert all(a.end_sample == b.first_sample for a, b in itertools.pairwise(entries))
        assert (entries[-1].end_sample if entries else buffer.end_sample) == buffer.end_sample
        assert not entries or entries[0].first_sample <= max(acknowledged, entries[0].first_sample)
        if entries:
            assert entries[0].first_sample <= acknowledged or acknowledged == 0
        sound = sum(entry.end_sample - entry.first_sample for entry in entries if entry.payload is not None)
        assert sound <= max(LIMIT, 5000)
        assert len(entries) <= LIMIT // 160 + 1
        under_way = sum(entry.share_samples for entry in entries[: buffer._sent])
        assert under_way == buffer._sent_samples
        assert sum(entry.share_samples for entry in entries) == buffer._kept_samples
    assert buffer.lost_samples == pushed_out


def test_the_oldest_gives_way_and_what_it_was_is_stated_as_one_gap() -> None:
    buffer = SendBuffer(4 * BLOCK, WINDOW)
    for _ in range(10):
        buffer.add(block(buffer))
    first, *rest = send_all(buffer)
    assert (first.first_sample, first.payload) == (0, None)
    assert buffer.lost_samples == first.end_sample == rest[0].first_sample
    assert len(rest) >= 3
    assert all(entry.payload for entry in rest)


def test_what_is_under_way_stays_under_way_when_it_gives_way() -> None:
    """It may have arrived: only if the daemon asks for it, the gap is sent."""
    buffer = SendBuffer(6 * BLOCK, WINDOW)
    for _ in range(6):
        buffer.add(block(buffer))
    sent = len(send_all(buffer)) * BLOCK
    buffer.add(block(buffer))
    assert buffer.lost_samples > 0
    assert buffer.sent_sample == sent
    buffer.rewind(0)
    assert [entry.payload is None for entry in send_all(buffer)][:2] == [True, False]


def test_no_more_than_the_window_is_under_way() -> None:
    buffer = SendBuffer(LIMIT, WINDOW)
    for _ in range(20):
        buffer.add(block(buffer))
    assert len(send_all(buffer)) == WINDOW // BLOCK
    buffer.acknowledge(2 * BLOCK + 5)  # half a block is not enough to be let go
    assert [entry.first_sample for entry in send_all(buffer)] == [5 * BLOCK, 6 * BLOCK]
    buffer.rewind(4 * BLOCK)
    assert send_all(buffer)[0].first_sample == 4 * BLOCK


def test_a_block_larger_than_the_window_is_sent_alone() -> None:
    buffer = SendBuffer(LIMIT, WINDOW)
    buffer.add(block(buffer, 2 * WINDOW))
    buffer.add(block(buffer))
    assert len(send_all(buffer)) == 1


def test_a_source_that_can_wait_is_told_in_time() -> None:
    buffer = SendBuffer(LIMIT, WINDOW)
    while not buffer.full:
        buffer.add(block(buffer))
    assert buffer.lost_samples == 0
    assert len(buffer) * BLOCK > LIMIT / 2


def test_an_entry_in_the_wrong_place_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="an entry at 5, expected 0"):
        SendBuffer(LIMIT, WINDOW).add(Entry(5, 6, b"xx", 0.0))

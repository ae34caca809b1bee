"""Blocks in any order, any number of times, or not at all: the sender's samples, or a gap that is told."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.capture.assembler import Assembler, Piece

LENGTH = 2000
PATIENCE = 800
SOUND = np.random.default_rng(7).integers(-(2**15), 2**15, LENGTH).astype(np.int16)
"""What was sent: every place differs from its neighbours, so that a shift shows."""


def sound(first: int, end: int) -> Piece:
    return Piece(first, end, SOUND[first:end], captured_s=float(end))


def gap(first: int, end: int) -> Piece:
    return Piece(first, end, None, captured_s=0.0)


def heard(pieces: list[Piece]) -> np.ndarray:
    """Which samples have been given, after checking that they are the sender's, in order, none twice."""
    marks = np.zeros(LENGTH, bool)
    at = 0
    for piece in pieces:
        assert piece.samples is not None
        assert piece.first_sample >= at
        assert len(piece.samples) == piece.end_sample - piece.first_sample > 0
        np.testing.assert_array_equal(piece.samples, SOUND[piece.first_sample : piece.end_sample])
        marks[piece.first_sample : piece.end_sample] = True
        at = piece.end_sample
    return marks


spans = st.tuples(st.integers(0, LENGTH - 1), st.integers(1, 400)).map(
    lambda span: (span[0], min(LENGTH, span[0] + span[1]))
)
pieces_of_any_sort = st.lists(st.tuples(spans, st.booleans(), st.booleans()), max_size=40)


@settings(max_examples=200, deadline=None)
@given(pieces_of_any_sort, st.integers(0, 300))
def test_whatever_comes_is_the_senders_sound_or_a_gap_that_is_counted(
    deliveries: list[tuple[tuple[int, int], bool, bool]], begin: int
) -> None:
    assembler = Assembler(begin, PATIENCE)
    taken: list[Piece] = []
    for (first, end), is_gap, take in deliveries:
        before = assembler.next_sample
        assembler.put(gap(first, end) if is_gap else sound(first, end))
        assert assembler.next_sample >= before
        assert assembler.taken_sample <= assembler.next_sample
        if take:
            taken += assembler.take()
            assert assembler.taken_sample == assembler.next_sample
    assembler.finish()
    taken += assembler.take()
    assert assembler.waiting_samples == 0
    assert not assembler.has_hole
    marks = heard(taken)
    assert not marks[:begin].any()
    told = marks[begin : max(begin, assembler.next_sample)]
    assert assembler.lost_samples == (~told).sum(), "every sample that was not given is counted as lost"
    holes = np.flatnonzero(np.diff(np.concatenate(([1], told.astype(int)))) == -1)
    assert assembler.gaps == len(holes)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=30), st.randoms(use_true_random=False), st.data())
def test_what_is_out_of_order_within_the_patience_is_not_lost(
    lengths: list[int], random: object, data: st.DataObject
) -> None:
    """Blocks that overtake each other, and blocks that come twice."""
    ends = np.cumsum(lengths)[np.cumsum(lengths) <= LENGTH].tolist() or [1]
    blocks = [sound(first, end) for first, end in zip([0, *ends[:-1]], ends, strict=True)]
    late = data.draw(st.lists(st.floats(0, 3), min_size=len(blocks), max_size=len(blocks)))
    twice = data.draw(st.lists(st.sampled_from(blocks), max_size=10))
    order = sorted(range(len(blocks)), key=lambda number: number + late[number])
    assembler = Assembler(0, PATIENCE)
    taken: list[Piece] = []
    for number in order:
        assembler.put(blocks[number])
        taken += assembler.take()
    for block in twice:
        assembler.put(block)
    assert assembler.take() == []
    assert heard(taken)[: ends[-1]].all()
    assert (assembler.lost_samples, assembler.gaps, assembler.next_sample) == (0, 0, ends[-1])


def test_a_hole_is_waited_for_and_then_lost() -> None:
    assembler = Assembler(0, PATIENCE)
    assembler.put(sound(0, 100))
    for first in range(200, 1000, 200):
        assembler.put(sound(first, first + 200))
        assert assembler.has_hole
        assert assembler.next_sample == 100
    assembler.put(sound(1000, 1200))  # more than the patience
    assert (assembler.next_sample, assembler.lost_samples, assembler.gaps) == (1200, 100, 1)
    assembler.put(sound(100, 200))  # too late
    assert [piece.first_sample for piece in assembler.take()] == [0, 200, 400, 600, 800, 1000]


def test_what_comes_again_while_a_hole_is_open_does_not_shorten_the_wait() -> None:
    assembler = Assembler(0, PATIENCE)
    for _ in range(20):
        assembler.put(sound(100, 300))
        assembler.put(sound(300, 500))
    assert assembler.waiting_samples == 400
    assembler.put(sound(0, 100))
    assert heard(assembler.take())[:500].all()
    assert assembler.lost_samples == 0


def test_a_hole_that_is_filled_in_time_never_was() -> None:
    assembler = Assembler(0, PATIENCE)
    for first, end in ((200, 500), (0, 100), (50, 210)):
        assembler.put(sound(first, end))
    assert heard(assembler.take())[:500].all()
    assert (assembler.lost_samples, assembler.gaps) == (0, 0)


def test_sound_that_came_wins_over_a_gap_that_was_stated_later() -> None:
    """The sender had to let go of what was on its way: what arrived of it is not lost."""
    assembler = Assembler(0, PATIENCE)
    assembler.put(sound(100, 300))
    assembler.put(sound(400, 500))
    assembler.put(gap(0, 450))
    assert [(piece.first_sample, piece.end_sample) for piece in assembler.take()] == [(100, 300), (400, 500)]
    assert (assembler.lost_samples, assembler.gaps, assembler.next_sample) == (200, 2, 500)


def test_one_block_far_ahead_does_not_end_the_wait_by_itself() -> None:
    """Nor does it take up more than its own size."""
    assembler = Assembler(0, PATIENCE)
    assembler.put(Piece(2**52, 2**52 + 10, SOUND[:10], 0.0))
    assembler.put(sound(0, 400))
    assert len(assembler.take()) == 1
    assert (assembler.next_sample, assembler.lost_samples) == (400, 0)


def test_many_tiny_blocks_behind_a_hole_are_bounded_in_number() -> None:
    assembler = Assembler(0, PATIENCE)
    for first in range(1, 1000, 2):
        assembler.put(sound(first, first + 1))
        assert assembler.waiting_samples <= 2 * PATIENCE + 1000
    assert assembler.gaps > 400

"""Blocks of sound that came over a network, in the order of their samples: none twice, no hole glued over."""

from __future__ import annotations

import heapq
from collections import deque
from typing import NamedTuple

from streamer.capture.codecs import I16

SMALLEST_SHARE_SAMPLES = 160
"""What a held block counts at least: it bounds the number of blocks, too."""


class Piece(NamedTuple):
    """Sound, or the statement that there is none."""

    first_sample: int
    end_sample: int
    samples: I16 | None
    """None: lost."""
    captured_s: float
    """When its last sample was captured, on whatever clock the caller has."""

    def after(self, sample: int) -> Piece:
        """What of it lies at or after a sample."""
        if sample <= self.first_sample:
            return self
        samples = None if self.samples is None else self.samples[sample - self.first_sample :]
        return Piece(sample, self.end_sample, samples, self.captured_s)


class Assembler:
    """Puts pieces in order. A hole is waited for until `patience_samples` of later sound are held."""

    def __init__(self, next_sample: int, patience_samples: int) -> None:
        self.next_sample = next_sample
        """Everything before it has been given out, is ready to be, or is stated as lost."""
        self.gaps = 0
        """Times that sound was lost."""
        self.lost_samples = 0
        self._patience_samples = patience_samples
        self._ready: deque[Piece] = deque()
        self._ready_samples = 0
        # A heap by first sample, sound before gaps; no two have the same three numbers.
        self._held: list[tuple[int, bool, int, Piece]] = []
        self._held_places: set[tuple[int, bool, int]] = set()
        self._held_samples = 0
        self._in_gap = False

    @property
    def taken_sample(self) -> int:
        """Everything before it has been given out or is stated as lost."""
        return self._ready[0].first_sample if self._ready else self.next_sample

    @property
    def waiting_samples(self) -> int:
        """Sound that could be taken or waits behind a hole."""
        return self._ready_samples + self._held_samples

    @property
    def has_ready(self) -> bool:
        """There is sound to take."""
        return bool(self._ready)

    @property
    def has_hole(self) -> bool:
        """Something is missing: later sound is there already."""
        return bool(self._held)

    def put(self, piece: Piece) -> None:
        """Take in what came: any piece, any number of times, in any order."""
        if piece.end_sample <= self.next_sample:
            return
        if piece.first_sample <= self.next_sample:
            self._append(piece)
        else:
            self._hold(piece)
        self._join()
        while self._held_samples > self._patience_samples:
            self._give_up_hole()

    def take(self) -> list[Piece]:
        """The sound that is ready, in order; where a piece does not follow the one before, sound is lost."""
        pieces = list(self._ready)
        self._ready.clear()
        self._ready_samples = 0
        return pieces

    def finish(self) -> None:
        """Nothing more will come: what is missing is lost."""
        while self._held:
            self._give_up_hole()

    def _append(self, piece: Piece) -> None:
        piece = piece.after(self.next_sample)
        if piece.samples is None:
            self._append_gap(piece)
        else:
            self._ready.append(piece)
            self._ready_samples += len(piece.samples)
            self._in_gap = False
            self.next_sample = piece.end_sample

    def _append_gap(self, gap: Piece) -> None:
        # A sender states as lost what it no longer has, which may be here all the same: then it is not lost.
        sounds = (first for first, is_gap, _, _ in self._held if not is_gap)
        found = max(self.next_sample, min(sounds, default=gap.end_sample))
        self._lose(min(found, gap.end_sample))
        if found < gap.end_sample:
            self._hold(gap.after(found))

    def _lose(self, end_sample: int) -> None:
        if end_sample > self.next_sample:
            self.lost_samples += end_sample - self.next_sample
            self.gaps += not self._in_gap
            self._in_gap = True
            self.next_sample = end_sample

    def _hold(self, piece: Piece) -> None:
        place = (piece.first_sample, piece.samples is None, piece.end_sample)
        if place not in self._held_places:  # what comes again must not shorten the wait
            self._held_places.add(place)
            heapq.heappush(self._held, (*place, piece))
            self._held_samples += _share(piece)

    def _join(self) -> None:
        """Move what has become reachable."""
        while self._held and self._held[0][0] <= self.next_sample:
            first_sample, is_gap, end_sample, piece = heapq.heappop(self._held)
            self._held_places.remove((first_sample, is_gap, end_sample))
            self._held_samples -= _share(piece)
            if piece.end_sample > self.next_sample:
                self._append(piece)

    def _give_up_hole(self) -> None:
        self._lose(self._held[0][0])
        self._join()


def _share(piece: Piece) -> int:
    return max(SMALLEST_SHARE_SAMPLES, 0 if piece.samples is None else len(piece.samples))

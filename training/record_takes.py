"""Cuts what is recorded: takes of a word or sound at the pauses between them, or pieces of equal length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamer.audio import SAMPLE_RATE_HZ
from training.data.activity import active_spans, energy_db
from training.data.sounds import I16

STEP_SAMPLES = SAMPLE_RATE_HZ // 4
"""Looked at so often, counted from the beginning: how the sound arrives changes nothing."""
PAUSE_S = 0.5
"""So much quiet ends a take."""
MARGIN_S = 0.3
"""Kept on both sides of it."""
STANDS_OUT_DB = 10.0
"""Above the floor; less is a rustle."""
SHORTEST_S = 0.08
LONGEST_S = 5.0
TORN_S = 0.05
"""After a loss, what begins so soon has begun before."""
PIECE_S = 10.0
CLIPPED = 32_700


@dataclass(frozen=True, slots=True)
class Take:
    """One recording to be written, or, with a fault, what could not be one."""

    samples: I16
    length_s: float
    """Of what stands out in it."""
    fault: str = ""

    @property
    def is_clipped(self) -> bool:
        """Whether it was too loud for the microphone."""
        return bool((np.abs(self.samples.astype(np.int32)) >= CLIPPED).sum() > 2)


class Cutter(Protocol):
    """Takes sound at 16 kHz, gives takes."""

    def feed(self, samples: I16) -> list[Take]:
        """More sound; what is complete now."""

    def lose(self) -> list[Take]:
        """What comes next does not follow what came last; what is complete all the same."""

    def end(self) -> list[Take]:
        """No more sound comes; what is left."""


class TakeCutter:
    """Whatever stands out between two pauses is a take."""

    def __init__(self) -> None:
        self._heard = np.empty(0, np.int16)
        self._unseen = 0
        """Samples since it looked last."""
        self._torn = False
        """What it has heard may begin in the middle of something."""

    def feed(self, samples: I16) -> list[Take]:
        """More sound; what is complete now."""
        found: list[Take] = []
        while len(samples):
            wanted = STEP_SAMPLES - self._unseen
            self._heard = np.concatenate((self._heard, samples[:wanted]))
            self._unseen += len(samples[:wanted])
            samples = samples[wanted:]
            if self._unseen == STEP_SAMPLES:
                self._unseen = 0
                found += self._look(PAUSE_S)
        return found

    def lose(self) -> list[Take]:
        """What is begun is given up."""
        self._heard, self._unseen, self._torn = np.empty(0, np.int16), 0, True
        return []

    def end(self) -> list[Take]:
        """A take at the very end needs no pause after it."""
        found = self._look(0.0)
        self._heard, self._unseen, self._torn = np.empty(0, np.int16), 0, False
        return found

    def _look(self, quiet_s: float) -> list[Take]:
        """Takes that have had so much quiet after them."""
        length_s = len(self._heard) / SAMPLE_RATE_HZ
        level = energy_db(self._heard)
        if not len(level):
            return []
        floor = float(np.percentile(level, 10))
        found, done_s = [], 0.0
        for onset_s, offset_s in active_spans(self._heard, PAUSE_S):
            if length_s - offset_s < quiet_s:
                break
            frames = slice(round(onset_s * 100), max(round(onset_s * 100) + 1, round(offset_s * 100)))
            stands_out = level[frames].max() >= floor + STANDS_OUT_DB and offset_s - onset_s >= SHORTEST_S
            if stands_out and not (self._torn and onset_s < TORN_S):
                found.append(self._take(onset_s, offset_s))
            self._torn = False
            done_s = min(length_s, offset_s + quiet_s / 2)
        self._forget(done_s or length_s - 2 * LONGEST_S)
        return found

    def _take(self, onset_s: float, offset_s: float) -> Take:
        first, end = (int(s * SAMPLE_RATE_HZ) for s in (max(0.0, onset_s - MARGIN_S), offset_s + MARGIN_S))
        length_s = offset_s - onset_s
        fault = f"{length_s:.1f} s without a pause: too long" if length_s > LONGEST_S else ""
        return Take(self._heard[first:end].copy(), length_s, fault)

    def _forget(self, until_s: float) -> None:
        self._heard = self._heard[max(0, int(until_s * SAMPLE_RATE_HZ)) :]


class PieceCutter:
    """Everything, in pieces: for noise and for running speech."""

    def __init__(self) -> None:
        self._heard = np.empty(0, np.int16)

    def feed(self, samples: I16) -> list[Take]:
        """More sound; the pieces that are full."""
        self._heard = np.concatenate((self._heard, samples))
        size, found = int(PIECE_S * SAMPLE_RATE_HZ), []
        while len(self._heard) >= size:
            found.append(Take(self._heard[:size], PIECE_S))
            self._heard = self._heard[size:]
        return found

    def lose(self) -> list[Take]:
        """A piece may be short."""
        return self.end()

    def end(self) -> list[Take]:
        """The rest, if there is much of it."""
        rest, self._heard = self._heard, np.empty(0, np.int16)
        length_s = len(rest) / SAMPLE_RATE_HZ
        return [Take(rest, length_s)] if length_s >= 1.0 else []

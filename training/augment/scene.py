"""One scene: a minute of an endless stream, as a microphone would hear it, with its targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.features.settings import frame_count
from training.augment import effects, synthetic
from training.augment.effects import Random
from training.augment.pieces import Piece, Shelf, pick
from training.augment.targets import Codes, blank, mark, mark_unsure

REFERENCE_DB = -26.0
"""Level of foreground speech before the scene's gain."""
WORDS_SHARE, TALK_SHARE, SOUNDS_SHARE = 0.45, 0.2, 0.1
"""Shares of scenes in which words follow each other closely (what teaches most in a minute), in which people
just talk (without them the model fires at all that sounds like speech), in which hardly anybody speaks. In
the others there is some of everything."""
EMPTY_DB = -110.0
"""Pieces quieter than this hold nothing."""


@dataclass(slots=True)
class Scene:
    """Samples and, for each of their feature frames, what the network should say."""

    samples: F32
    codes: Codes


class SceneMaker:
    """Makes scenes; the same seed gives the same scene."""

    def __init__(self, shelf: Shelf, length_s: float = 60.0, rooms: Sequence[F32] = ()) -> None:
        """`rooms` are impulse responses beside those on the shelf."""
        self.rooms = rooms
        self.shelf, self.length_s, self.labels = shelf, length_s, shelf.labels
        self.samples = int(length_s * SAMPLE_RATE_HZ)

    def make(self, *seed: int, hardness: float = 1.0) -> Scene:
        """One scene; a hardness of 0 is clean and close, for a network that knows nothing yet."""
        rng = np.random.default_rng(seed)
        # A beginner hears some scenes as they will be and some that are easy, not all of them half hard.
        hard = rng.random() < hardness
        codes = blank(frame_count(self.samples), self.labels)
        near, far = (np.zeros(self.samples, np.float32) for _ in range(2))
        if rng.random() < 0.92:  # now and then there is only the bed
            self._foreground((near, far), codes, rng)
        if not hard:
            faint = effects.to_level(synthetic.coloured_noise(self.samples, rng), rng.uniform(-90, -62))
            return Scene(effects.as_recorded(near + far + faint), codes)
        if rng.random() < 0.4:
            self._background((near, far), codes, rng)
        sound = self._in_rooms(near, rng) + self._in_rooms(far, rng) + self._bed(rng)
        return Scene(effects.as_recorded(_microphone(sound, rng)), codes)

    def _foreground(self, layers: tuple[F32, F32], codes: Codes, rng: Random) -> None:
        """Words, speech and sounds one after the other."""
        at_s, pace = rng.uniform(0, 1), rng.uniform(0.5, 1.4)
        loudness_db = rng.normal(REFERENCE_DB, 2)
        draw_piece, gap_s = self._company(rng)
        while at_s < self.length_s - 0.5:
            piece = draw_piece(rng)
            if piece is not None and piece.level_db > EMPTY_DB:
                layer = layers[int(rng.random() < 0.3)]
                at_s += self._put(layer, codes, piece, at_s, rng.normal(loudness_db, 3))
            at_s += gap_s(rng) * pace

    def _company(self, rng: Random) -> tuple[Callable[[Random], Piece | None], Callable[[Random], float]]:
        """What is heard in a scene, and how long the pauses are."""
        draw = rng.random()
        if draw < WORDS_SHARE:
            return self._any_word, _short_gap_s
        if draw < WORDS_SHARE + TALK_SHARE:
            return self._any_talk, _gap_s
        if draw < WORDS_SHARE + TALK_SHARE + SOUNDS_SHARE:
            return self._hardly_a_word, _gap_s
        return self._any_piece, _gap_s

    def _any_word(self, rng: Random) -> Piece | None:
        """Keywords and others, whole or broken off."""
        draw = rng.random()
        if draw < 0.58:
            return self.shelf.keyword(rng)
        if draw < 0.84:
            return self.shelf.unknown_word(rng)
        return self.shelf.spliced_word(rng) if draw < 0.95 else self.shelf.broken_word(rng)

    def _hardly_a_word(self, rng: Random) -> Piece | None:
        """Sounds, as in a house whose people are out."""
        return self.shelf.sound(rng, rng.uniform(1.0, 5.0)) if rng.random() < 0.9 else self.shelf.keyword(rng)

    def _any_piece(self, rng: Random) -> Piece | None:
        draw = rng.random()
        if draw < 0.5:
            return self.shelf.keyword(rng)
        if draw < 0.69:
            return self.shelf.unknown_word(rng)
        if draw < 0.8:
            return self.shelf.sentence(rng, rng.uniform(1.0, 4.0))
        return self.shelf.sound(rng, rng.uniform(1.0, 4.0))

    def _any_talk(self, rng: Random) -> Piece | None:
        """People talk, and hardly ever say a keyword: as most of a daemon's day is."""
        draw = rng.random()
        if draw < 0.05:
            return self.shelf.keyword(rng)
        return (
            self.shelf.unknown_word(rng) if draw < 0.45 else self.shelf.sentence(rng, rng.uniform(2.0, 8.0))
        )

    def _background(self, layers: tuple[F32, F32], codes: Codes, rng: Random) -> None:
        """A sound that goes on for a while below everything else: one clip over and over."""
        at_s = rng.uniform(0, 0.7) * self.length_s
        until_s = at_s + rng.uniform(4, 30)
        first = self.shelf.sound(rng, rng.uniform(3, 8))
        if first is None or first.level_db <= EMPTY_DB:
            return
        level_db = REFERENCE_DB - rng.uniform(0, 18)
        steady = self.labels.is_sound(first.label) and self.labels.merge_gap_s(first.label) >= 1
        while at_s < min(until_s, self.length_s - 0.5):
            at_s += self._put(layers[1], codes, first, at_s, level_db)
            at_s += -0.05 if steady else rng.uniform(0.1, 2.0)

    def _put(self, layer: F32, codes: Codes, piece: Piece, at_s: float, level_db: float) -> float:
        """Mix it in and mark it; how long it was. What does not fit whole is left out."""
        at = int(at_s * SAMPLE_RATE_HZ)
        length_s = len(piece.samples) / SAMPLE_RATE_HZ
        if at + len(piece.samples) > len(layer):
            return length_s
        layer[at : at + len(piece.samples)] += piece.samples * np.float32(
            10 ** ((level_db - piece.level_db) / 20)
        )
        mark_unsure(codes, self.labels, piece.unsure, at_s, at_s + length_s)
        for label, onset_s, offset_s in piece.marks:
            mark(codes, self.labels, label, at_s + onset_s, at_s + offset_s)
        return length_s

    def _in_rooms(self, layer: F32, rng: Random) -> F32:
        draw = rng.random()
        if draw < 0.45 or not layer.any():
            return layer
        if draw < 0.6 and self.shelf.rooms:
            return effects.in_room(layer, effects.given_room(pick(self.shelf.rooms, rng).samples()))
        if draw < 0.85 and self.rooms:
            return effects.in_room(layer, effects.given_room(self.rooms[int(rng.integers(len(self.rooms)))]))
        return effects.in_room(layer, effects.simulated_room(rng))

    def _bed(self, rng: Random) -> F32:
        """What is always there: nothing, faint noise, or something to be heard through."""
        draw = rng.random()
        if draw < 0.1:
            return np.zeros(self.samples, np.float32)
        if draw < 0.35:
            return effects.to_level(synthetic.coloured_noise(self.samples, rng), rng.uniform(-90, -62))
        ranges = ((-5, 10), (5, 20), (15, 40))
        snr_db = rng.uniform(*ranges[rng.choice(3, p=[0.2, 0.4, 0.4])])
        bed = effects.to_level(self._noise(rng), REFERENCE_DB - snr_db)
        return _gated(bed, rng) if rng.random() < 0.15 else bed

    def _noise(self, rng: Random) -> F32:
        draw = rng.random()
        if draw < 0.4 and self.shelf.noise:
            return self._recorded_noise(rng)
        if draw < 0.55:
            return self._babble(rng)
        if draw < 0.65:
            return synthetic.hum(self.samples, rng)
        return synthetic.coloured_noise(self.samples, rng)

    def _recorded_noise(self, rng: Random) -> F32:
        noise = pick(self.shelf.noise, rng).samples()
        noise = np.roll(noise, rng.integers(len(noise)))
        return np.asarray(np.resize(noise, self.samples), np.float32) + np.float32(1e-5)

    def _babble(self, rng: Random) -> F32:
        """Several people at once."""
        bed = np.zeros(self.samples, np.float32)
        for _ in range(rng.integers(3, 7)):
            at = 0
            while at < self.samples:
                piece = self.shelf.sentence(rng, 8.0) or self.shelf.unknown_word(rng)
                if piece is None:
                    break
                kept = effects.to_level(piece.samples, -30)[: self.samples - at]
                bed[at : at + len(kept)] += kept
                at += len(piece.samples) + 1
        return bed if bed.any() else synthetic.coloured_noise(self.samples, rng)


def _gap_s(rng: Random) -> float:
    ranges = ((0.0, 0.15), (0.15, 0.7), (0.7, 3.0))
    return float(rng.uniform(*ranges[rng.choice(3, p=[0.45, 0.45, 0.1])]))


def _short_gap_s(rng: Random) -> float:
    return float(rng.uniform(0.05, 0.45) if rng.random() < 0.85 else rng.uniform(0.45, 1.5))


def _gated(bed: F32, rng: Random) -> F32:
    """Muted now and then: digital silence in the middle of a stream."""
    for _ in range(rng.integers(1, 4)):
        first = rng.integers(len(bed))
        bed[first : first + int(rng.uniform(0.3, 8) * SAMPLE_RATE_HZ)] = 0
    return bed


def _microphone(sound: F32, rng: Random) -> F32:
    """The scene's one microphone: colour, band, gain."""
    if rng.random() < 0.5:
        sound = effects.microphone_colour(sound, rng)
    draw = rng.random()
    if draw < 0.12:
        sound = effects.telephone(sound, rng)
    elif draw < 0.25:
        sound = effects.low_pass(sound, rng.uniform(3500, 7500))
    gain_db = rng.uniform(-30, 14) if rng.random() < 0.5 else rng.normal(0, 5)
    return np.asarray(sound * 10 ** (gain_db / 20), np.float32)

"""Scenes: the same seed gives the same scene, and the targets lie where the sound is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.audio import SAMPLE_RATE_HZ
from streamer.features.settings import HOP_SAMPLES, frame_count
from training.augment import effects
from training.augment.pieces import Piece, Shelf, spliced
from training.augment.scene import SceneMaker
from training.augment.synthetic import SYNTHETIC
from training.augment.targets import (
    NO,
    UNSURE,
    YES,
    at_stride,
    blank,
    frame_of,
    mark,
    mark_unsure,
)
from training.data.corpus import Corpus
from training.label_files import default_labels
from training.train.feed import Feed
from training.train.settings import TrainSettings

LABELS = default_labels()


@pytest.fixture(scope="module")
def maker(toy_cache: Path) -> SceneMaker:
    return SceneMaker(Shelf(Corpus(toy_cache, "train")), length_s=12.0)


def test_the_same_seed_gives_the_same_scene_and_another_seed_another(maker: SceneMaker) -> None:
    first, again, other = maker.make(1, 2), maker.make(1, 2), maker.make(1, 3)
    np.testing.assert_array_equal(first.samples, again.samples)
    np.testing.assert_array_equal(first.codes, again.codes)
    assert not np.array_equal(first.samples, other.samples)


@pytest.mark.parametrize("seed", range(6))
def test_a_scene_is_sound_with_one_target_a_frame(maker: SceneMaker, seed: int) -> None:
    scene = maker.make(7, seed)
    assert scene.samples.dtype == np.float32
    assert scene.codes.shape == (frame_count(len(scene.samples)), len(LABELS.names))
    assert np.isfinite(scene.samples).all()
    assert np.abs(scene.samples).max() <= 1.0


def test_a_wanted_keyword_has_its_sound_just_before(maker: SceneMaker) -> None:
    columns = [LABELS.column(label) for label in LABELS.keywords]
    runs = 0
    for seed in range(30):
        scene = maker.make(3, seed, hardness=0.0)
        for column in columns:
            wanted = scene.codes[:, column] == YES
            for start in np.flatnonzero(wanted & ~np.roll(wanted, 1)):
                runs += 1
                first = max(0, start * HOP_SAMPLES - 3200)
                assert effects.level_db(scene.samples[first : start * HOP_SAMPLES + 800]) > -50
    assert runs > 10


def a_tone(hz: float, level: float, length_s: float = 1.0) -> Piece:
    seconds = np.arange(int(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    samples = (level * np.sin(2 * np.pi * hz * seconds)).astype(np.float32)
    return Piece(samples, "", [(0.2, 0.8)], (f"tone{hz:g}",), effects.level_db(samples))


def test_a_spliced_word_begins_as_one_and_ends_as_another_at_one_level() -> None:
    joined = 0
    for seed in range(20):
        word = spliced(a_tone(400, 0.3), a_tone(2000, 0.01), np.random.default_rng(seed))
        assert (word.label, word.marks, set(word.unsure)) == ("", [], {"tone400", "tone2000"})
        first, last = (np.abs(np.fft.rfft(part)) for part in np.array_split(word.samples, 2))
        peaks = sorted(
            round(float(part.argmax()) * SAMPLE_RATE_HZ / len(word.samples) * 2, -2) for part in (first, last)
        )
        joined += peaks == [400, 2000]
        assert np.abs(word.samples).max() == pytest.approx(0.3, rel=0.1)
    assert joined > 15, "in a few the seam lies off the middle"


def test_a_keyword_is_wanted_around_its_end_and_unsure_beside() -> None:
    codes = blank(300, LABELS)
    mark(codes, LABELS, "yes", 1.0, 1.5)
    column = codes[:, LABELS.column("yes")]
    assert column[frame_of(1.5)] == YES
    assert column[frame_of(1.0)] == NO
    assert column[frame_of(1.5 - 0.1)] == UNSURE
    assert column[frame_of(1.5 + 0.4)] == UNSURE
    assert column[frame_of(1.5 + 0.6)] == NO
    assert np.flatnonzero(codes.any(axis=0)).tolist() == [LABELS.column("yes")]


def test_a_sound_is_wanted_while_it_lasts() -> None:
    codes = blank(400, LABELS)
    mark(codes, LABELS, "rain", 1.0, 3.0)
    column = codes[:, LABELS.column("rain")]
    assert (column[frame_of(1.6) : frame_of(3.0)] == YES).all()
    assert column[frame_of(1.1)] == UNSURE
    assert (column[: frame_of(1.0)] == NO).all()


def test_unsure_labels_never_hide_a_sure_one() -> None:
    codes = blank(300, LABELS)
    mark(codes, LABELS, "no", 1.0, 1.4)
    sure = codes == YES
    mark_unsure(codes, LABELS, ("no", "on"), 0.5, 2.0)
    np.testing.assert_array_equal(codes == YES, sure)
    assert codes[frame_of(0.6), LABELS.column("on")] == UNSURE


def test_a_row_is_what_is_known_at_its_last_frame() -> None:
    codes = np.arange(9, dtype=np.uint8).reshape(9, 1)
    assert at_stride(codes, 3).ravel().tolist() == [2, 5, 8]


@pytest.mark.parametrize("label", sorted(SYNTHETIC))
def test_made_sounds_are_sound(label: str) -> None:
    samples = SYNTHETIC[label](2 * SAMPLE_RATE_HZ, np.random.default_rng(1))
    assert samples.shape == (2 * SAMPLE_RATE_HZ,)
    assert np.isfinite(samples).all()
    assert effects.level_db(samples) == pytest.approx(0.0, abs=0.5)


def test_effects_keep_length_and_stay_finite() -> None:
    rng = np.random.default_rng(2)
    samples = rng.standard_normal(16_000).astype(np.float32) * 0.1
    for changed in (
        effects.in_room(samples, effects.simulated_room(rng)),
        effects.telephone(samples, rng),
        effects.low_pass(samples, 4000),
        effects.microphone_colour(samples, rng),
        effects.as_recorded(samples * 100),
    ):
        assert changed.shape == samples.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()


def test_rounds_are_the_same_for_any_number_of_workers_and_any_start(toy_cache: Path) -> None:
    settings = TrainSettings(streams=2, scene_s=3.0)
    with Feed(toy_cache, settings, workers=1) as one, Feed(toy_cache, settings, workers=2) as two:
        from_start = one.rounds(0)
        next(from_start)
        rows, codes = next(from_start)
        again_rows, again_codes = next(two.rounds(1))
    np.testing.assert_array_equal(rows, again_rows)
    np.testing.assert_array_equal(codes, again_codes)
    assert rows.shape[0] == 2
    assert rows.shape[1] == codes.shape[1] * settings.stride

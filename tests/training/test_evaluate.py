"""Counting on hand-made streams whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.audio import SAMPLE_RATE_HZ
from training.data.corpus import Corpus
from training.evaluate.metrics import events, false_alarms, keyword_figures, sound_figures
from training.evaluate.play import Played
from training.evaluate.streams import LongStream, Truth, build, gain_copy, keyword_items
from training.evaluate.thresholds import GRID, Plays, choose
from training.label_files import default_labels

LABELS = default_labels()
ROW = 480
LENGTH_S = 30.0


def played(
    truths: list[Truth], spikes: list[tuple[str, float, float, float]], name: str = "keywords-x"
) -> Played:
    """Scores that are 0 but for (label, from_s, to_s, score)."""
    scores = np.zeros((int(LENGTH_S * SAMPLE_RATE_HZ) // ROW, len(LABELS.names)), np.float32)
    for label, from_s, to_s, score in spikes:
        first, last = (int(second * SAMPLE_RATE_HZ / ROW) for second in (from_s, to_s))
        scores[first:last, LABELS.column(label)] = score
    stream = LongStream(name, np.zeros(int(LENGTH_S * SAMPLE_RATE_HZ), np.float32), truths)
    return Played(stream, list(LABELS.names), scores, 0, ROW, 0)


def word(label: str, start_s: float, group: str = "gsc2test") -> Truth:
    return Truth(label, group, start_s, start_s + 1.0, ((start_s + 0.2, start_s + 0.7),))


WORDS, SOUNDS = list(LABELS.keywords), list(LABELS.sounds)
RULES = [LABELS.rule(label, 0.5) for label in LABELS.names]


def test_hits_misses_confusions_and_silence_are_told_apart() -> None:
    truths = [word("yes", 1), word("no", 4), word("go", 7), word("", 10), Truth("", "silence", 13, 14, ())]
    heard = played(truths, [("yes", 1.6, 1.9, 0.9), ("no", 7.6, 7.9, 0.9)])
    figures = keyword_figures(heard, heard.detections(RULES), WORDS)
    assert figures["right_by_label"]["yes"] == {"right": 1, "of": 1}
    assert figures["most_confused"] == {"no -> nothing": 1, "go -> no": 1}
    assert figures["accuracy_twelve"] == pytest.approx(3 / 5)
    assert figures["miss_rate"]["no"] == 1.0


def test_latency_counts_from_the_words_end() -> None:
    heard = played([word("yes", 1)], [("yes", 1.8, 2.2, 1.0)])
    late_ms = keyword_figures(heard, heard.detections(RULES), WORDS)["latency_ms"]["median"]
    assert late_ms == pytest.approx(100 + 3 * 30, abs=31)


def test_false_alarms_are_counted_by_the_hour() -> None:
    heard = played([], [("yes", 1, 1.3, 0.9), ("yes", 5, 5.3, 0.9), ("rain", 9, 12, 0.9)])
    alarms = false_alarms(heard, heard.detections(RULES), ["yes", "no"])
    assert alarms["by_label"] == {"yes": 2}
    assert alarms["per_hour"] == pytest.approx(2 / (30 / 3600))


def test_a_label_that_may_well_be_there_is_no_false_alarm() -> None:
    coffee = Truth("", "coffee", 4, 7, (), unsure=("go",))
    heard = played([coffee], [("go", 5, 5.4, 0.9), ("yes", 6, 6.4, 0.9), ("go", 20, 20.4, 0.9)])
    alarms = false_alarms(heard, heard.detections(RULES), ["yes", "go"])
    assert alarms["by_label"] == {"yes": 1, "go": 1}


def test_a_sound_is_one_event_from_start_to_end() -> None:
    heard = played([], [("rain", 5, 12, 0.9)])
    (event,) = events(heard.detections(RULES))
    assert event.onset_s == pytest.approx(5.0, abs=0.6)
    assert event.offset_s == pytest.approx(12.0, abs=0.6)


def test_f1_of_one_found_one_missed_one_made_up() -> None:
    truths = [Truth("rain", "esc10", 2, 7, ((2, 7),)), Truth("rain", "esc10", 12, 17, ((12, 17),))]
    heard = played(truths, [("rain", 3, 7, 0.9), ("rain", 22, 26, 0.9)], "sounds-x")
    figures = sound_figures(heard, heard.detections(RULES), SOUNDS)["by_label"]["rain"]
    assert (figures["precision"], figures["recall"], figures["f1"]) == (0.5, 0.5, 0.5)


def test_thresholds_lie_between_the_words_and_the_false_alarms() -> None:
    words = played([word("yes", 1)], [("yes", 1.6, 2.0, 0.9)])
    speech = played([], [("yes", second, second + 0.3, 0.62) for second in range(1, 28, 3)], "speech-x")
    sounds = played([Truth("rain", "esc10", 2, 7, ((2, 7),))], [("rain", 2.5, 7, 0.5)], "sounds-x")
    chosen = choose(Plays(RULES, [words], [speech], [sounds]), budget_per_hour=0.1)
    assert 0.62 < chosen["yes"] <= 0.9
    assert chosen["rain"] <= 0.5
    assert set(chosen) == set(LABELS.names)
    assert set(chosen.values()) <= set(GRID)


def test_test_streams_are_the_same_every_time_and_true(toy_cache: Path) -> None:
    items = keyword_items(Corpus(toy_cache, "dev"))
    first, again = (build("keywords-clean", items, None, 4, silences=2) for _ in range(2))
    np.testing.assert_array_equal(first.samples, again.samples)
    assert sorted(truth.label for truth in first.truths) == ["", "", "", "no", "yes"]
    for truth in first.truths:
        for onset_s, offset_s in truth.spans:
            inside = first.samples[int(onset_s * SAMPLE_RATE_HZ) : int(offset_s * SAMPLE_RATE_HZ)]
            assert np.sqrt(np.mean(inside**2)) > 0.05


def test_noise_is_as_loud_as_asked_for(toy_cache: Path) -> None:
    items = keyword_items(Corpus(toy_cache, "dev"))
    noise = np.random.default_rng(1).standard_normal(16_000).astype(np.float32)
    stream = build("keywords-10dB", items, noise, 4, snr_db=10.0)
    (onset_s, offset_s) = next(truth for truth in stream.truths if truth.label == "yes").spans[0]
    word_power = np.mean(stream.samples[int(onset_s * 16_000) : int(offset_s * 16_000)] ** 2)
    noise_power = np.mean(stream.samples[:8000] ** 2)
    assert 10 * np.log10(word_power / noise_power - 1) == pytest.approx(10, abs=1.5)


def test_gain_changes_nothing_but_the_level(toy_cache: Path) -> None:
    stream = build("keywords-clean", keyword_items(Corpus(toy_cache, "dev")), None, 4)
    softer = gain_copy(stream, -20)
    assert softer.truths == stream.truths
    assert np.std(softer.samples) == pytest.approx(0.1 * np.std(stream.samples), rel=0.01)

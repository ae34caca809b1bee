"""Misses, false alarms and budgets on streams written by hand."""

from __future__ import annotations

import pytest

from tests.support.hand_made import RULES, played, truth
from training.evaluate.budget import as_lines, within_budget
from training.evaluate.det import THRESHOLDS, Curve, curve, operating_point

YES, NO, RAIN, _ = RULES
HOUR = 3600.0


def at(made: Curve, threshold: float) -> tuple[int, int]:
    """(missed, false alarms)"""
    place = made.thresholds.index(threshold)
    return made.missed[place], made.alarms[place]


def words(*heights: float):  # type: ignore[no-untyped-def]
    """A clip of `yes` every three seconds, each scored as high as told."""
    truths = [truth("yes", 3.0 * n + 1) for n in range(len(heights))]
    return (
        3.0 * len(heights) + 5,
        truths,
        [("yes", 3.0 * n + 1.6, 3.0 * n + 1.9, h) for n, h in enumerate(heights)],
    )


def alarms(*heights: float, label: str = "yes"):  # type: ignore[no-untyped-def]
    """False alarms ten seconds apart."""
    return [(label, 10.0 * n + 5, 10.0 * n + 5.3, height) for n, height in enumerate(heights)]


def test_known_misses_and_false_alarms_at_every_threshold(condition) -> None:  # type: ignore[no-untyped-def]
    made = curve(
        condition(keywords=words(0.95, 0.75, 0.55, 0.0), speech=(2 * HOUR, [], alarms(0.9, 0.7, 0.3))), YES
    )
    assert (made.clips, made.hours) == (4, pytest.approx(2.0))
    assert at(made, 0.2) == (1, 3)
    assert at(made, 0.5) == (1, 2)
    assert at(made, 0.6) == (2, 2)
    assert at(made, 0.8) == (3, 1)
    assert at(made, 0.95) == (3, 0) or at(made, 0.96) == (4, 0)
    share, (low, high) = made.miss(made.thresholds.index(0.6))
    assert (share, low, high) == (0.5, pytest.approx(0.15, abs=0.01), pytest.approx(0.85, abs=0.01))
    rate, (low, high) = made.alarm_rate(made.thresholds.index(0.5))
    assert (rate, low, high) == (
        pytest.approx(1.0),
        pytest.approx(0.121, abs=1e-3),
        pytest.approx(3.61, abs=0.01),
    )


def test_false_alarms_of_words_are_sought_in_speech_and_sounds_and_not_among_words(condition) -> None:  # type: ignore[no-untyped-def]
    other = truth("no", 20)
    made = curve(
        condition(
            keywords=(60, [truth("yes", 1), other], [("yes", 20.5, 20.8, 0.9)]),
            speech=(HOUR, [], alarms(0.9)),
            sounds=(HOUR, [], alarms(0.9, 0.9)),
        ),
        YES,
    )
    assert made.alarms[made.thresholds.index(0.5)] == 3
    assert made.hours == pytest.approx(2.0)


def test_clips_that_may_hold_the_word_are_neither_alarm_nor_time(condition) -> None:  # type: ignore[no-untyped-def]
    unsure = truth("", 4, length_s=2.0, unsure=("yes",))
    heard = condition(keywords=words(0.9), speech=(HOUR, [unsure], [*alarms(0.9), *alarms(0.9, label="no")]))
    assert at(curve(heard, YES), 0.5) == (0, 0)
    assert curve(heard, YES).hours == pytest.approx(1 - 2.45 / 3600)
    assert at(curve(heard, NO), 0.5)[1] == 1


def test_without_speech_all_but_its_own_clips_count(condition) -> None:  # type: ignore[no-untyped-def]
    made = curve(
        condition(
            keywords=(
                60,
                [truth("yes", 1), truth("no", 20)],
                [("yes", 1.6, 1.9, 0.9), ("yes", 20.5, 21, 0.9)],
            )
        ),
        YES,
    )
    assert at(made, 0.5) == (0, 1)
    assert made.hours == pytest.approx((60 - 1.45) / 3600)


def test_a_sound_is_missed_when_no_event_overlaps_it(condition) -> None:  # type: ignore[no-untyped-def]
    truths = [truth("rain", 10, 5.0), truth("rain", 30, 5.0)]
    heard = condition(
        sounds=(60, truths, [("rain", 11, 14, 0.7), ("rain", 50, 52, 0.9)]),
        speech=(HOUR, [], alarms(0.6, label="rain")),
    )
    assert at(curve(heard, RAIN), 0.5) == (1, 1)
    assert at(curve(heard, RAIN), 0.8) == (2, 0)


def made_curve(missed: list[int], alarms: list[int], hours: float, condition: str = "clean") -> Curve:
    thresholds = tuple(0.1 * n for n in range(1, len(missed) + 1))
    return Curve("yes", "keyword", condition, thresholds, tuple(missed), 100, tuple(alarms), hours)


def test_a_budget_that_the_hours_support() -> None:
    point = operating_point([made_curve([0, 1, 2, 30], [90, 9, 0, 0], 40.0)], 0.1)
    assert point.threshold == pytest.approx(0.3)
    assert (point.missed, point.alarms, point.supported) == (2, 0, True)
    assert point.at_most_per_hour == pytest.approx(3 / 40, rel=0.01)
    assert "under 0.1 an hour" in point.sentence()


def test_a_budget_that_the_hours_cannot_support_says_what_they_can() -> None:
    point = operating_point([made_curve([0, 1, 2, 30], [90, 9, 0, 0], 1.5)], 0.1)
    assert (point.threshold, point.within, point.supported) == (pytest.approx(0.3), True, False)
    assert point.at_most_per_hour == pytest.approx(2.0, rel=0.01)
    assert (
        point.sentence() == "no false alarm in 1.5 h supports at most 2 an hour; 0.1 needs 30 h with no more"
    )


def test_few_minutes_are_told_in_plain_figures() -> None:
    point = operating_point([made_curve([0, 1], [0, 0], 0.00921)], 0.1)
    assert "no false alarm in 0.0092 h supports at most 330 an hour" in point.sentence()


def test_a_budget_that_no_threshold_keeps() -> None:
    point = operating_point([made_curve([0, 5], [90, 9], 1.5)], 0.1)
    assert (point.threshold, point.within, point.supported) == (pytest.approx(0.2), False, False)
    assert "no threshold keeps 0.1 an hour" in point.sentence()


def test_alarms_within_the_budget_are_allowed() -> None:
    assert operating_point([made_curve([0, 1, 20], [90, 4, 0], 40.0)], 0.1).threshold == pytest.approx(0.2)


def test_the_same_hours_in_other_noise_are_no_more_hours() -> None:
    clean, noisy = made_curve([0, 0, 0], [3, 0, 0], 10.0), made_curve([0, 1, 9], [9, 5, 0], 10.0, "10dB")
    point = operating_point([clean, noisy], 0.1)
    assert (point.threshold, point.alarms, point.hours) == (pytest.approx(0.3), 0, 10.0)
    assert (point.missed, point.clips) == (9, 200)


def test_of_thresholds_that_miss_the_same_it_is_the_one_in_the_middle() -> None:
    assert operating_point(
        [made_curve([1, 1, 1, 1, 9], [0, 0, 0, 0, 0], 1.0)], 0.1
    ).threshold == pytest.approx(0.3)


def test_from_played_streams_to_lines(condition) -> None:  # type: ignore[no-untyped-def]
    streams = {
        "keywords-clean": played("keywords-clean", *words(0.9, 0.8)),
        "speech-clean": played("speech-clean", HOUR, [], alarms(0.6)),
        "keywords-telephone": played("keywords-telephone", 60, [], alarms(0.9)),
    }
    points = within_budget(streams, RULES, 0.1)
    assert [point.label for point in points] == [rule.name for rule in RULES]
    assert 0.6 < points[0].threshold < 0.8
    assert points[0].threshold in THRESHOLDS
    assert as_lines(points).splitlines()[0].startswith("yes: threshold 0.7")

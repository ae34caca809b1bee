"""The live hour of `make torture`, and no more of it than one short round."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from tests.support import virtual_microphone
from tests.torture import live
from tests.torture.live import Body, Course, Look, Scores

missing = virtual_microphone.available()
SHORT_S = 8.5
"""Of the scene: two words."""
EXPECTED: list[Scores] = [{"go": [0.8], "yes": [0.7]}, {"go": [0.9], "yes": [0.75]}]


@pytest.mark.virtmic
@pytest.mark.slow
@pytest.mark.skipif(missing is not None, reason=str(missing))
def test_a_round(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    rng = random.Random(request.config.option.seed)
    scene = live.write_scene(tmp_path / "scene.wav")[: round(SHORT_S * live.RATE_HZ)]
    soundfile.write(tmp_path / "scene.wav", scene, live.RATE_HZ, subtype="PCM_16")
    expected = live.replay(tmp_path, scene, rng, live.REPLAYED_ROUNDS)
    course, ending = live.live(tmp_path, 0.1, rng)
    assert (ending, course.ended_by, course.unplayed) == ("", "", 0)
    assert [set(scores) for scores in course.rounds] == [{"computer", "go"}]
    assert live.differs(course.rounds[0], expected) == ""
    (look,) = course.looks
    assert look.daemon.own_mb > 10
    assert look.recorder.cpu_s > 0


def course_of(rounds: int = 20) -> Course:
    """Every 40 s a look and a round, and nothing changes."""
    bodies = [
        [Body(cost * at_s, mb, mb, threads, 30) for cost, mb, threads in ((0.03, 40.0, 5), (0.01, 12.0, 3))]
        for at_s in range(40, 40 * rounds + 1, 40)
    ]
    looks = [Look(40.0 * number, *both) for number, both in enumerate(bodies, start=1)]
    return Course(looks, [EXPECTED[number % 2] for number in range(rounds)])


def changed(course: Course, **changes: float) -> Course:
    """The recorder has something else in the second half."""
    half = len(course.looks) // 2
    later = [
        look._replace(recorder=look.recorder._replace(**changes)) if number > half else look
        for number, look in enumerate(course.looks)
    ]
    return replace(course, looks=later)


def test_an_hour_in_which_nothing_changes() -> None:
    outcome = live.judge(course_of(), EXPECTED, "")
    assert outcome.ok, outcome.told
    assert "40.00 and 40.00 ms of processor time" in outcome.told


@pytest.mark.parametrize(
    ("course", "ending", "fault"),
    [
        (changed(course_of(), own_mb=13.1), "", "memory grew by 0.00 and 1.10 MB"),
        (changed(course_of(), threads=4), "", "threads or descriptors grew"),
        (changed(course_of(), descriptors=31), "", "threads or descriptors grew"),
        (course_of(), "lost 5 samples", "lost 5 samples"),
        (replace(course_of(), unplayed=2), "", "2 rounds were not played"),
        (replace(course_of(), ended_by="the daemon ended"), "", "the daemon ended"),
        (course_of(3), "", "too short"),
    ],
)
def test_what_is_a_failure(course: Course, ending: str, fault: str) -> None:
    outcome = live.judge(course, EXPECTED, ending)
    assert not outcome.ok
    assert fault in outcome.told


@pytest.mark.parametrize(
    "scores",
    [
        {"go": [0.85]},
        {"go": [0.85, 0.9], "yes": [0.7]},
        {"go": [0.95], "yes": [0.7]},
        {"go": [0.8], "yes": [0.6]},
    ],
)
def test_a_round_that_differs_is_a_failure(scores: Scores) -> None:
    course = course_of()
    course.rounds[7] = scores
    outcome = live.judge(course, EXPECTED, "")
    assert not outcome.ok
    assert outcome.told.startswith("1 rounds differ: ")


def test_a_cost_that_drifts_is_a_failure() -> None:
    course = course_of()
    dearer = [
        look._replace(daemon=look.daemon._replace(cpu_s=look.daemon.cpu_s + 0.01 * max(0.0, look.at_s - 400)))
        for look in course.looks
    ]
    outcome = live.judge(replace(course, looks=dearer), EXPECTED, "")
    assert not outcome.ok
    assert "the cost drifted" in outcome.told

"""`evaluate --false-alarms-per-hour` from end to end: scores in, thresholds and what they are worth out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.decoding.rules import LabelRule
from streamer.inference.bundle import load_bundle
from tests.support import hand_made, tiny_bundle
from tests.support.hand_made import played, truth
from training.cli import main
from training.evaluate import report
from training.evaluate.play import Played

HOUR_S = 3600.0
WORDS, SOUNDS = 40, 20
BUDGET = 0.5

Evaluate = Callable[..., tuple[dict[str, float], dict[str, str]]]


def streams(hours: float, alarms_per_hour: float, seed: int) -> dict[str, Played]:
    """Clips that score from 0.55 to 0.95, and false alarms that score from 0 to 0.9, evenly spread."""
    rng = np.random.default_rng(seed)
    found = {}
    for name in ("clean", "10dB"):
        words = [truth("yes", 3.0 * n + 1) for n in range(WORDS)]
        hits = [("yes", t.start_s + 0.6, t.start_s + 0.9, float(rng.uniform(0.55, 0.95))) for t in words]
        sounds = [truth("rain", 12.0 * n + 2, 5.0) for n in range(SOUNDS)]
        heard = [("rain", t.start_s + 0.5, t.start_s + 4, float(rng.uniform(0.55, 0.95))) for t in sounds]
        false = [
            (label, at_s, at_s + 0.3, float(rng.uniform(0.0, 0.9)))
            for label in ("yes", "rain")
            for at_s in rng.permutation(np.arange(5.0, hours * HOUR_S - 5, 5.0))[
                : round(alarms_per_hour * hours)
            ]
        ]
        found[f"keywords-{name}"] = played(f"keywords-{name}", 3.0 * WORDS + 5, words, hits)
        found[f"sounds-{name}"] = played(f"sounds-{name}", 12.0 * SOUNDS + 5, sounds, heard)
        found[f"speech-{name}"] = played(f"speech-{name}", hours * HOUR_S, [], false)
    return found


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Runs the command on streams; the thresholds that it wrote and the line of each label."""
    rules = tuple(rule for rule in hand_made.RULES if rule.name in ("yes", "no", "rain"))
    monkeypatch.setattr(tiny_bundle, "RULES", rules)
    monkeypatch.setattr(hand_made, "RULES", list(rules))
    monkeypatch.setattr(hand_made, "LABELS", [rule.name for rule in rules])
    bundle = tiny_bundle.make_tiny_bundle(tmp_path / "tiny")

    def run(heard: dict[str, Played], budget: float = BUDGET) -> tuple[dict[str, float], dict[str, str]]:
        monkeypatch.setattr(report, "play_all", lambda *given: heard)
        file = tmp_path / "thresholds.json"
        told = ["--false-alarms-per-hour", str(budget), "--tune", str(file)]
        assert main(["evaluate", str(bundle), *told]) == 0
        lines = capsys.readouterr().out.splitlines()
        by_label = {line.split(":")[0]: line for line in lines if re.match(r"\w+: threshold", line)}
        return json.loads(file.read_text()), by_label

    assert load_bundle(bundle).label_names == ["yes", "no", "rain"]
    return run


def counted(heard: dict[str, Played], thresholds: dict[str, float], label: str) -> tuple[int, int, float]:
    """(false alarms, misses, hours) in the worse condition, by the daemon's own decoder."""
    worst = (0, 0, 0.0)
    home, silent = ("sounds", "keywords") if label == "rain" else ("keywords", "sounds")
    for condition in ("clean", "10dB"):
        found: dict[str, list[Any]] = {}
        for kind in (home, silent, "speech"):
            rules = [with_threshold(rule, thresholds) for rule in hand_made.RULES]
            told = heard[f"{kind}-{condition}"].detections(rules)
            found[kind] = [one for one in told if one.label == label and one.phase in ("hit", "start")]
        hours = sum(heard[f"{kind}-{condition}"].stream.hours for kind in (silent, "speech"))
        wanted = len(heard[f"{home}-{condition}"].stream.truths)
        worst = max(worst, (len(found[silent]) + len(found["speech"]), wanted - len(found[home]), hours))
    return worst


def with_threshold(rule: LabelRule, thresholds: dict[str, float]) -> LabelRule:
    fields = {name: getattr(rule, name) for name in rule.__struct_fields__}
    return LabelRule(**{**fields, "threshold": thresholds.get(rule.name, rule.threshold)})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("budget", "hours"), [(0.5, 20.0), (2.0, 5.0), (20.0, 2.0)])
def test_where_the_hours_support_it_the_budget_is_kept_and_little_is_missed(
    budget: float, hours: float, seed: int, evaluate: Evaluate
) -> None:
    heard = streams(hours, 30, seed)
    thresholds, lines = evaluate(heard, budget)
    for label in ("yes", "rain"):
        alarms, missed, silent_hours = counted(heard, thresholds, label)
        assert alarms <= budget * silent_hours, lines[label]
        # One step lower on the grid of thresholds the budget is gone, or no fewer are missed.
        lower = {**thresholds, label: thresholds[label] - 0.03}
        assert (
            counted(heard, lower, label)[0] > budget * silent_hours
            or counted(heard, lower, label)[1] >= missed
        )
        told = int(re.search(r"(\d+|no) false", lines[label])[1].replace("no", "0"))  # type: ignore[index]
        assert told <= budget * silent_hours


def test_where_no_false_alarm_was_heard_three_over_the_hours_is_what_they_say(evaluate: Evaluate) -> None:
    heard = streams(1.0, 0, seed=1)
    thresholds, lines = evaluate(heard, 0.1)
    for label in ("yes", "rain"):
        hours = counted(heard, thresholds, label)[2]
        assert f"supports at most {3 / hours:.2g} an hour; 0.1 needs 30 h with no more" in lines[label]
        assert counted(heard, thresholds, label)[1] == 0, (
            "nothing is missed for a figure that nobody can prove"
        )


def test_enough_silent_hours_support_the_budget(evaluate: Evaluate) -> None:
    _, lines = evaluate(streams(31.0, 0, seed=1), 0.1)
    assert all(lines[label].endswith("h: under 0.1 an hour") for label in ("yes", "rain"))


def test_a_budget_that_no_threshold_keeps_is_told(evaluate: Evaluate) -> None:
    heard = streams(1.0, 0, seed=1)
    for name in ("speech-clean", "speech-10dB"):
        heard[name].scores[1000:1010, hand_made.LABELS.index("yes")] = 1.0
    thresholds, lines = evaluate(heard, 0.1)
    assert "no threshold keeps 0.1 an hour" in lines["yes"]
    assert thresholds["yes"] == pytest.approx(0.999)
    assert "supports at most" in lines["rain"]

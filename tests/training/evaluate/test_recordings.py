"""Whole recordings with marks: what is marked is to be heard, all else must stay silent."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.audio import SAMPLE_RATE_HZ
from streamer.inference.bundle import Bundle, load_bundle
from tests.support import tiny_bundle
from tests.support.recordings import write_sound, write_text
from training.cli import main
from training.data.corpus import Corpus
from training.data.prepare import prepare
from training.data.spec import open_datasets
from training.evaluate import psds
from training.evaluate.condition import RECORDINGS, Condition
from training.evaluate.det import curve
from training.evaluate.f1 import sounds_f1, words_f1
from training.evaluate.judge import streams_in
from training.evaluate.metrics import false_alarms, keyword_figures, sound_figures
from training.evaluate.play import play
from training.evaluate.streams import LongStream, keyword_items, speech_items
from training.evaluate.thresholds import Plays, choose
from training.evaluate.words import word_figures
from training.label_files import default_labels
from training.labels import of_rules

HZ = dict(zip(("yes", "no", "rain"), tiny_bundle.TONES_HZ.values(), strict=True))
MARKED = [("yes", 3.0, 3.4), ("rain", 8.0, 12.0), ("no", 10.0, 10.4), ("cough", 15.0, 15.5)]
NOT_MARKED = [("yes", 20.0, 20.4), ("rain", 25.0, 26.0)]
LENGTH_S = 30.0
UNSURE_S = 6.0
HEADER = "filename\tonset\toffset\tevent_label\tsplit"


def write_recording(path: Path, heard: list[tuple[str, float, float]], length_s: float) -> None:
    """Tones over faint noise; a cough is no tone that the model knows."""
    seconds = np.arange(int(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    sound = 1e-4 * np.random.default_rng(len(heard)).standard_normal(len(seconds))
    for label, onset_s, offset_s in heard:
        now = (seconds >= onset_s) & (seconds < offset_s)
        sound[now] += 0.2 * np.sin(2 * np.pi * HZ.get(label, 6000.0) * seconds[now])
    soundfile.write(path, sound, SAMPLE_RATE_HZ)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One recording with everything, and one of which nobody knows where `yes` is said in it."""
    folder = tmp_path_factory.mktemp("recordings")
    write_recording(folder / "all.wav", [*MARKED, *NOT_MARKED], LENGTH_S)
    write_recording(folder / "unsure.wav", [("rain", 1.0, 2.0), ("yes", 3.0, 3.4)], UNSURE_S)
    marks = [f"all.wav\t{a}\t{b}\t{label}\tdev" for label, a, b in MARKED]
    doubt = ["unsure.wav\t1\t2\train\tdev", "unsure.wav\t4\t3\tyes\tdev"]
    write_text(folder / "labels.tsv", HEADER, *marks, *doubt)
    prepare(open_datasets([f"strong:{folder}"], default_labels()), folder / "cache", processes=1)
    return folder / "cache"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Hears tones of 500 Hz as yes, of 1 kHz as no, of 3 kHz as rain, and nothing else."""
    rules = [
        tiny_bundle.LabelRule(**{**{f: getattr(rule, f) for f in rule.__struct_fields__}, "name": name})
        for rule, name in zip(tiny_bundle.RULES, HZ, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_bundle, "RULES", tuple(rules))
        return load_bundle(tiny_bundle.make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


@pytest.fixture(scope="module")
def stream(cache: Path, bundle: Bundle) -> LongStream:
    corpus = Corpus(cache, "dev", of_rules(bundle.manifest.labels, default_labels()))
    streams = dict(streams_in(corpus, None))
    assert list(streams) == [RECORDINGS], "no excerpt of a recording is played once more elsewhere"
    return streams[RECORDINGS]


@pytest.fixture(scope="module")
def condition(stream: LongStream, bundle: Bundle) -> Condition:
    return Condition("clean", {RECORDINGS: play(bundle, stream)}, list(bundle.manifest.labels))


def test_recordings_are_played_whole(stream: LongStream) -> None:
    told = [(truth.label, truth.is_word) for truth in stream.truths if truth.path == "all.wav"]
    assert told == [("yes", True), ("rain", False), ("no", True), ("", False)]
    assert stream.hours * 3600 > LENGTH_S + UNSURE_S
    begun_s = next(truth.start_s for truth in stream.truths if truth.label == "yes") - MARKED[0][1]
    for truth, (_, onset_s, offset_s) in zip(
        (truth for truth in stream.truths if truth.path == "all.wav"), MARKED, strict=True
    ):
        assert (truth.start_s - begun_s, truth.end_s - begun_s) == pytest.approx((onset_s, offset_s))
    ((label, from_s, to_s),) = stream.unsure
    assert (label, to_s - from_s) == ("yes", pytest.approx(UNSURE_S))


def test_what_is_marked_is_no_false_alarm_and_what_is_not_is_one(
    condition: Condition, stream: LongStream
) -> None:
    yes, no, rain = condition.rules
    hours = stream.hours
    # What is left of it: without its own marks, some slack around them, and what nobody knows.
    for rule, clips, alarms, own_s in (
        (yes, 1, 1, 0.4 + 0.45 + UNSURE_S + 0.45),
        (no, 1, 0, 0.4 + 0.45),
        (rain, 2, 1, 2 * (0.5 + 0.45) + 4.0 + 1.0),
    ):
        made = curve(condition, rule, [rule.threshold])
        assert (made.clips, made.missed, made.alarms) == (clips, (0,), (alarms,)), rule.name
        assert made.hours * 3600 == pytest.approx(hours * 3600 - own_s, abs=0.02), rule.name


def test_figures_are_those_of_the_recordings(condition: Condition, stream: LongStream) -> None:
    words, sounds = word_figures(condition), sounds_f1(condition)["by_label"]["rain"]
    assert words["rows"] == ["yes", "no"]
    assert words["matrix"] == [[1, 0, 0], [0, 1, 0]], "rain on which `no` is said is no word"
    assert (sounds["clip"]["wanted"], sounds["clip"]["recall"], sounds["clip"]["told"]) == (2, 1.0, 3)
    assert words_f1(condition)["by_label"]["no"]["f1"] == 1.0

    heard = condition.streams[RECORDINGS].played
    detections = heard.detections(condition.rules)
    assert keyword_figures(heard, detections, ["yes", "no"])["miss_rate"] == {"yes": 0.0, "no": 0.0}
    assert sound_figures(heard, detections, ["rain"])["by_label"]["rain"]["recall"] == 1.0
    assert false_alarms(heard, detections, ["yes", "no"])["by_label"] == {"yes": 1}
    assert false_alarms(heard, detections, ["rain"], "sound")["by_label"] == {"rain": 1}


def test_nothing_is_cut_in_two_for_psds(condition: Condition) -> None:
    heard = condition.streams[RECORDINGS]
    pieces = psds._pieces(heard)
    assert (pieces[0][0], pieces[-1][1]) == (0, len(heard.smoothed))
    assert all(one[1] == other[0] for one, other in pairwise(pieces))
    edges = [heard.second(row) for piece in pieces[1:] for row in piece[:1]]
    assert len(edges) == 3, "before all but the first of these: yes, rain with no in it, cough, rain"
    for truth in heard.played.stream.truths:
        assert not any(truth.start_s < edge < truth.end_s for edge in edges)


def test_thresholds_are_chosen_on_recordings_as_well(condition: Condition) -> None:
    played = condition.streams[RECORDINGS].played
    thresholds = choose(Plays(condition.rules, (), (), (), [played]), budget_per_hour=0.05)
    assert set(thresholds) == {"yes", "no", "rain"}
    assert thresholds["no"] == 0.6, "nothing speaks against any threshold"


def test_the_command_tells_them(
    bundle: Bundle, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--false-alarms-per-hour", "1", "--tune", str(tmp_path / "thresholds.json")]
    assert main(["evaluate", str(bundle.folder), "--cache", str(cache), *told]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("| recordings-clean | 0.01") for line in lines), (
        "false alarms in so many hours"
    )
    assert any(line.startswith("| no | 1 | 0.0% |") for line in lines)
    # The false alarm scores as high as the word: only a threshold that misses both keeps the budget.
    assert any(line.startswith("yes: threshold 0.999, 2 of 2 missed; no false alarm") for line in lines)
    assert any(line.startswith("no: threshold ") and "1 of 2 missed" in line for line in lines), "10 dB"


def test_a_word_that_is_none_of_the_labels_is_played_once(tmp_path: Path) -> None:
    for label, hz in (("yes", 500.0), ("house", 700.0)):
        for take in range(3):
            write_sound(tmp_path / "d" / label / f"{take}.wav", hz + take)
    datasets = open_datasets([f"folders:{tmp_path / 'd'}?kind=keyword&split=dev"], default_labels())
    prepare(datasets, tmp_path / "cache", processes=1)
    corpus = Corpus(tmp_path / "cache", "dev")
    words, speech = keyword_items(corpus), speech_items(corpus)
    assert sorted(item.clip.label for item in words) == ["house"] * 3 + ["yes"] * 3
    assert speech == []

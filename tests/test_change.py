"""One model after another in the middle of the sound, and several side by side: pure code on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from streamer.audio import F32, Chunk
from streamer.decoding.decoder import Detection
from streamer.ears import Ears
from streamer.features.settings import FeatureSettings
from streamer.history import History
from streamer.inference.model import Model, open_model
from streamer.pipeline import ROW_START_SAMPLES, ScoreBlock, advance, listen
from streamer.tuned import TunedModel
from tests.support.chunks import cut, equal_chunks, random_chunks, told
from tests.support.tiny_bundle import make_tiny_bundle
from tests.support.tones import make_tone_scene, random_tones

SETTLED_SAMPLES = 16_000
"""The tiny network forgets far sooner."""
AGREE = 1e-5
OTHER_ROWS: dict[str, dict[str, Any]] = {
    "longer": {"stride": 3},
    "fewer-bands": {"features": FeatureSettings(kind="log-mel", mel_bins=32, coefficients=None), "stride": 1},
    "slopes": {"features": FeatureSettings(kind="log-mel", mel_bins=40, coefficients=None, delta_order=2)},
}


def make_models(folder: Path, prefix: str) -> dict[str, Model]:
    return {
        name: open_model(make_tiny_bundle(folder / name, name=name, prefix=prefix, **settings))
        for name, settings in OTHER_ROWS.items()
    }


@pytest.fixture(scope="module")
def successors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Models that hear the same as the tiny one from other rows."""
    return make_models(tmp_path_factory.mktemp("successors"), "")


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """The same under labels of their own."""
    return make_models(tmp_path_factory.mktemp("neighbours"), "n-")


class Scored(NamedTuple):
    """A block of scores, and whose."""

    model: str
    row_samples: int
    block: ScoreBlock

    @property
    def end_sample(self) -> int:
        return self.block.first_sample + len(self.block.scores) * self.row_samples


class Stream:
    """A stream whose models change, and the books of what they told."""

    def __init__(
        self, *models: Model, rate_hz: int = 16_000, hop_ms: int = 80, history_s: float = 5.0
    ) -> None:
        self.found: list[tuple[str, Detection]] = []
        self.scored: list[Scored] = []
        self._use(models)
        self._hop_ms = hop_ms
        self._ears = Ears(self._models, hop_ms)
        self.intake = self._ears.open(rate_hz, history_s)
        self._at = 0

    def _use(self, models: Sequence[Model]) -> None:
        self._models = [TunedModel(model, list(model.bundle.manifest.labels)) for model in models]

    def hear(self, samples: F32, lengths: Sequence[int] = ()) -> None:
        for piece in cut(samples, lengths or [len(samples)]):
            self.intake.feed(Chunk(piece, self._at, 0.0))
            self._at += len(piece)
            self._advance()

    def lose(self, samples: int) -> None:
        self._at += samples

    def skip(self, samples: F32) -> None:
        """As a muted stream does."""
        self.intake.end("muted")
        self.intake.skip(Chunk(samples, self._at, 0.0))
        self._at += len(samples)
        self._advance()

    def change(self, *models: Model, hop_ms: int | None = None) -> None:
        self._use(models)
        self._hop_ms = hop_ms or self._hop_ms
        self._ears.change(self.intake, self._models, self._hop_ms)
        self._advance()

    def end(self) -> None:
        self.intake.end()
        self._advance()

    def _advance(self) -> None:
        listen([self.intake])
        for tuned, listener in zip(self._models, self._ears.listeners, strict=True):
            advance(tuned.model.classifier, [listener])
        for ear, output in self._ears.take_outputs():
            name, row_samples = ear.model.name, ear.listener.row_samples
            self.found += [(name, detection) for detection in output.detections]
            self.scored += [Scored(name, row_samples, block) for block in output.scores]

    def of(self, model: str) -> tuple[list[Detection], list[tuple[int, int, int]], F32]:
        """What one model told: detections, where its blocks were, scores."""
        blocks = [scored.block for scored in self.scored if scored.model == model]
        return (
            [detection for name, detection in self.found if name == model],
            [(block.first_row, block.first_sample, len(block.scores)) for block in blocks],
            np.concatenate([block.scores for block in blocks]),
        )


def same_model(model: Model) -> Model:
    """Read again: equal, and another object."""
    return replace(model)


def assert_no_seam(scored: Sequence[Scored], first_sample: int = 0) -> None:
    """Every moment is decided on once, and the rows are counted through."""
    at, row = first_sample + ROW_START_SAMPLES, scored[0].block.first_row
    for one in scored:
        assert (one.block.first_sample, one.block.first_row) == (at, row), one.model
        at, row = one.end_sample, row + len(one.block.scores)


# --- The last seconds


def test_the_history_is_the_end_of_what_was_heard(rng: np.random.Generator) -> None:
    for _ in range(30):
        length, first = int(rng.integers(1, 3000)), int(rng.integers(0, 10**12))
        history, heard = History(length), np.empty(0, np.float32)
        history.begin(first)
        for _ in range(40):
            piece = rng.standard_normal(int(rng.choice([0, 1, 37, 700, 5000]))).astype(np.float32)
            history.append(piece)
            heard = np.concatenate((heard, piece))
            kept = first + len(heard) - history.first_sample
            assert min(length, len(heard)) <= kept <= len(heard)
            since = history.first_sample + int(rng.integers(0, kept + 1))
            np.testing.assert_array_equal(history.since(since), heard[since - first :])
        history.begin(first + 7)
        assert (history.first_sample, len(history.since(first + 7))) == (first + 7, 0)


# --- The same model again


@pytest.mark.parametrize("hop_ms", [10, 80, 500])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_the_same_model_again_changes_nothing_but_what_is_open(
    tiny_model: Model, rng: np.random.Generator, rate_hz: int, hop_ms: int
) -> None:
    sound = random_tones(rng, 12 * rate_hz, rate_hz)
    plan = random_chunks(rng, len(sound), rate_hz // 10)
    changes = sorted(int(one) for one in rng.integers(0, len(plan), 3))
    whole, changed = (Stream(tiny_model, rate_hz=rate_hz, hop_ms=hop_ms) for _ in range(2))
    at_samples = []
    for number, piece in enumerate(cut(sound, plan)):
        whole.hear(piece)
        changed.hear(piece)
        if number in changes:
            changed.change(same_model(tiny_model))
            at_samples.append(changed.scored[-1].end_sample if changed.scored else ROW_START_SAMPLES)
    whole.end()
    changed.end()
    what = f"changes at {at_samples}, {told(plan)}"
    detections, blocks, scores = whole.of("tiny")
    detections_, blocks_, scores_ = changed.of("tiny")
    assert blocks_ == blocks, what
    np.testing.assert_allclose(scores_, scores, atol=1e-3, err_msg=what)
    starts = np.concatenate([at + 320 * np.arange(count) for _, at, count in blocks])
    settled = np.all([(starts < at) | (starts >= at + SETTLED_SAMPLES) for at in at_samples], axis=0)
    np.testing.assert_allclose(scores_[settled], scores[settled], atol=AGREE, err_msg=what)
    for label in ("low", "mid"):  # each keyword once, whenever the change came
        hits, hits_ = ([d.onset_sample for d in ds if d.label == label] for ds in (detections, detections_))
        assert hits == hits_, what
    assert_sounds_broken(detections, detections_, at_samples, what)


def assert_sounds_broken(
    whole: Sequence[Detection], changed: Sequence[Detection], at_samples: Sequence[int], what: str
) -> None:
    """A sound that was on at a change ends there, and begins again where it is loud enough."""
    ends = [d for d in whole if d.phase == "end"]
    ends_ = [d for d in changed if d.phase == "end"]
    starts_ = [d for d in changed if d.phase == "start"]
    assert [d.onset_sample for d in ends_] == [d.onset_sample for d in starts_], what
    for at in at_samples:
        open_ = [d for d in ends if d.onset_sample < at and (d.offset_sample or 0) > at]
        broken = [d for d in ends_ if d.reason == "reload" and d.offset_sample == at]
        assert len(broken) <= 1, what
        assert len(broken) >= sum(1 for d in open_ if d.detected_sample - 16_000 > at), what
    assert all(d.reason in ("", "stop") or d.offset_sample in at_samples for d in ends_), what
    assert all(a.offset_sample <= b.onset_sample for a, b in pairwise(ends_)), what  # type: ignore[operator]


def test_a_sound_that_goes_on_ends_and_begins_again(tiny_model: Model) -> None:
    scene = make_tone_scene(16_000, 6.0, (("high", 1.0, 5.0),))
    stream = Stream(tiny_model)
    stream.hear(scene.samples[:48_000])
    stream.change(same_model(tiny_model))
    stream.hear(scene.samples[48_000:])
    stream.end()
    phases = [(d.phase, d.reason) for _, d in stream.found]
    assert phases == [("start", ""), ("end", "reload"), ("start", ""), ("end", "")]
    _, broken, again, last = (d for _, d in stream.found)
    assert broken.offset_sample == broken.detected_sample - 120 <= 48_000  # what the decision looks ahead
    assert (broken.offset_sample or 0) > 48_000 - 0.25 * 16_000
    assert 0 <= again.onset_sample - (broken.offset_sample or 0) < 0.1 * 16_000
    assert abs((last.offset_sample or 0) / 16_000 - 5.0) < 0.06


# --- Another model


@pytest.mark.parametrize("name", [*OTHER_ROWS, "tiny"])
@pytest.mark.parametrize("history_s", [0.0, 5.0])
def test_another_model_goes_on_without_a_seam(
    tiny_model: Model,
    successors: dict[str, Model],
    rng: np.random.Generator,
    name: str,
    history_s: float,
) -> None:
    """Back and forth between two models at any moment: no sound is skipped, none is decided on twice, and no
    keyword is told twice."""
    both = (tiny_model, {**successors, "tiny": same_model(tiny_model)}[name])
    sound = random_tones(rng, 10 * 16_000)
    plan = random_chunks(rng, len(sound), 1600)
    stream, turn = Stream(both[0], history_s=history_s), 0
    for piece in cut(sound, plan):
        stream.hear(piece)
        if rng.random() < 0.2:
            turn += 1
            stream.change(both[turn % 2])
    stream.end()
    assert_no_seam(stream.scored)
    assert stream.scored[-1].end_sample > len(sound) - 3 * 480 - 400
    for label in ("low", "mid"):
        onsets = [d.onset_sample for _, d in stream.found if d.label == label]
        assert all(later - onset >= 0.3 * 16_000 for onset, later in pairwise(onsets))
    phases = [d.phase for _, d in stream.found if d.label == "high"]
    assert phases == ["start", "end"] * (len(phases) // 2)


@pytest.mark.parametrize("gap", [False, True])
def test_features_that_look_further_ahead_are_no_excuse(
    tiny_model: Model, successors: dict[str, Model], gap: bool
) -> None:
    """Rows that the one before has decided on come to the new model later; whatever happens in them, or if a
    gap comes instead of them."""
    sound = make_tone_scene(16_000, 2.0, (("high", 0.5, 1.2),)).samples
    for at in range(8_000, 13_000, 160):
        stream = Stream(tiny_model, hop_ms=20)
        stream.hear(sound[:at], equal_chunks(at, 160))
        stream.change(successors["slopes"])
        if gap:
            stream.hear(sound[at : at + 300])
            stream.lose(1_000)
            at += 300  # noqa: PLW2901
        stream.hear(sound[at:], equal_chunks(len(sound) - at, 160))
        stream.end()
        phases = [d.phase for _, d in stream.found]
        assert phases == ["start", "end"] * (len(phases) // 2), f"change at {at}"
        assert phases, f"change at {at}"
        ends = [scored.end_sample for scored in stream.scored]
        begins = [scored.block.first_sample for scored in stream.scored]
        assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False)), f"change at {at}"
        if not gap:
            assert_no_seam(stream.scored)


@pytest.mark.parametrize("name", list(OTHER_ROWS))
def test_the_history_warms_another_model_up(
    tiny_model: Model, successors: dict[str, Model], name: str
) -> None:
    """It scores as if it had been there for long; without a history it needs a while."""
    other = successors[name]
    scene = make_tone_scene(16_000, 6.0, (("high", 0.5, 5.9),))
    alone = Stream(other)
    alone.hear(scene.samples)
    _, _, expected = alone.of(name)
    row_samples = alone.scored[0].row_samples
    worst = {}
    for history_s in (0.0, 3.0):
        stream = Stream(tiny_model, history_s=history_s)
        stream.hear(scene.samples[:64_000])
        stream.change(other)
        stream.hear(scene.samples[64_000:])
        _, blocks, scores = stream.of(name)
        # Its rows lie on their own grid: compared with those that stand for nearly the same time.
        rows = (blocks[0][1] - ROW_START_SAMPLES) // row_samples + np.arange(len(scores))
        inside = rows < len(expected)
        worst[history_s] = float(np.abs(scores[inside] - expected[rows[inside]])[:5].max())
    assert worst[3.0] < 0.001 < worst[0.0], worst


def test_a_namesake_goes_on_counting_rows(tiny_model: Model) -> None:
    sound = make_tone_scene().samples
    stream = Stream(tiny_model)
    stream.hear(sound[:40_000])
    stream.change(same_model(tiny_model))
    stream.hear(sound[40_000:])
    assert_no_seam(stream.scored)


def test_another_hop(tiny_model: Model) -> None:
    sound = make_tone_scene().samples
    for hops in ((80, 500), (500, 20), (2000, 10), (10, 2000)):
        stream = Stream(tiny_model, hop_ms=hops[0], history_s=0.0)
        stream.hear(sound[:50_001], equal_chunks(50_001, 1600))
        stream.change(tiny_model, hop_ms=hops[1])
        stream.hear(sound[50_001:])
        stream.end()
        assert_no_seam(stream.scored)
        assert [(d.label, d.phase) for _, d in stream.found if d.reason != "reload"][:2] == [
            ("low", "hit"),
            ("mid", "hit"),
        ]


def test_a_change_where_there_is_nothing_to_take_over(
    tiny_model: Model, successors: dict[str, Model]
) -> None:
    """Before any sound, right behind a gap, and while the stream is muted."""
    sound = make_tone_scene().samples
    other = successors["longer"]
    stream = Stream(tiny_model)
    stream.change(other)
    stream.hear(sound[:40_000])
    assert_no_seam(stream.scored)
    stream.lose(7_777)
    stream.hear(sound[40_000:40_010])
    stream.change(tiny_model)
    stream.skip(sound[40_010:50_000])
    stream.change(other)
    stream.hear(sound[50_000:])
    stream.end()
    later = [scored for scored in stream.scored if scored.block.first_sample > 50_000]
    assert_no_seam(later, 57_777)
    assert [(d.label, d.phase) for _, d in stream.found if d.phase == "hit"] == [
        ("low", "hit"),
        ("mid", "hit"),
        ("low", "hit"),
    ]


# --- Several at once


def play(stream: Stream, sound: F32, plan: Sequence[int]) -> Stream:
    """The sound with a gap in it and a pause."""
    third = len(plan) // 3
    pieces = list(cut(sound, plan))
    for piece in pieces[:third]:
        stream.hear(piece)
    stream.lose(12_345)
    for piece in pieces[third : 2 * third]:
        stream.hear(piece)
    stream.skip(pieces[2 * third])
    for piece in pieces[2 * third + 1 :]:
        stream.hear(piece)
    stream.end()
    return stream


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_several_models_tell_what_each_alone_tells(
    tiny_model: Model, neighbours: dict[str, Model], rng: np.random.Generator, rate_hz: int
) -> None:
    sound = random_tones(rng, 8 * rate_hz, rate_hz)
    plan = random_chunks(rng, len(sound), rate_hz // 10)
    models = [tiny_model, *neighbours.values()]
    together = play(Stream(*models, rate_hz=rate_hz), sound, plan)
    for model in models:
        alone = play(Stream(model, rate_hz=rate_hz), sound, plan)
        got, expected = together.of(model.name), alone.of(model.name)
        assert got[:2] == expected[:2], model.name
        np.testing.assert_array_equal(got[2], expected[2], model.name)
        assert expected[0], f"{model.name} heard nothing at all"


def test_who_stays_takes_no_notice_of_who_comes_and_goes(
    tiny_model: Model, neighbours: dict[str, Model], rng: np.random.Generator
) -> None:
    sound = random_tones(rng, 10 * 16_000)
    plan = random_chunks(rng, len(sound), 1600)
    alone, among = Stream(tiny_model), Stream(tiny_model)
    for piece in cut(sound, plan):
        alone.hear(piece)
        among.hear(piece)
        if rng.random() < 0.1:
            count = int(rng.integers(0, len(neighbours) + 1))
            company = [tiny_model, *rng.choice(list(neighbours.values()), count, replace=False)]
            rng.shuffle(company)  # type: ignore[arg-type]
            among.change(*company)
    alone.end()
    among.end()
    got, expected = among.of("tiny"), alone.of("tiny")
    assert got[:2] == expected[:2]
    np.testing.assert_array_equal(got[2], expected[2])
    for name in neighbours:
        phases = [d.phase for model, d in among.found if model == name and d.kind == "sound"]
        assert phases == ["start", "end"] * (len(phases) // 2), name

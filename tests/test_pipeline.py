"""The whole pure middle with the tiny bundle: tones in, the right events out, whatever befalls the sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from streamer.audio import F32, Chunk
from streamer.decoding.decoder import Detection
from streamer.inference.model import Model
from streamer.pipeline import ROW_START_SAMPLES, Output, StreamPipeline, advance, block_frames
from tests.support.chunks import cut, equal_chunks, random_chunks, told
from tests.support.tiny_bundle import FEATURES, RULES
from tests.support.tones import ToneScene, make_tone_scene, random_tones

NEAR_S = 0.06
AGREE = 1e-5


def make_pipeline(model: Model, rate_hz: int = 16_000, hop_ms: int = 80) -> StreamPipeline:
    return StreamPipeline(model.classifier, FEATURES, RULES, rate_hz, hop_ms)


def feed(model: Model, pipeline: StreamPipeline, samples: F32, first_sample: int, size: int = 1000) -> Output:
    """What comes out while these samples go in."""
    output, at = Output(), first_sample
    for piece in cut(samples, equal_chunks(len(samples), size)):
        pipeline.feed(Chunk(piece, at, 0.0))
        at += len(piece)
        add(output, model, pipeline)
    return output


def finish(model: Model, pipeline: StreamPipeline, reason: str = "stop") -> Output:
    pipeline.end(reason)
    return add(Output(), model, pipeline)


def add(output: Output, model: Model, pipeline: StreamPipeline) -> Output:
    advance(model.classifier, [pipeline])
    more = pipeline.take_output()
    output.detections += more.detections
    output.scores += more.scores
    return output


def run(model: Model, samples: F32, rate_hz: int = 16_000, hop_ms: int = 80, size: int = 1000) -> Output:
    """A whole stream."""
    pipeline = make_pipeline(model, rate_hz, hop_ms)
    output = feed(model, pipeline, samples, 0, size)
    rest = finish(model, pipeline)
    return Output(output.detections + rest.detections, output.scores + rest.scores)


def scores_of(output: Output) -> F32:
    return np.concatenate([block.scores for block in output.scores])


def told_events(detections: Sequence[Detection]) -> list[tuple[str, str, float]]:
    """Label, phase and the time that matters, in seconds."""
    return [
        (d.label, d.phase, (d.offset_sample or 0) / 16_000 if d.phase == "end" else d.onset_sample / 16_000)
        for d in detections
    ]


def assert_events(detections: Sequence[Detection], expected: Sequence[tuple[str, str, float]]) -> None:
    told_ = told_events(detections)
    assert [event[:2] for event in told_] == [event[:2] for event in expected]
    for (label, phase, at_s), (_, _, expected_s) in zip(told_, expected, strict=True):
        assert abs(at_s - expected_s) <= NEAR_S, (
            f"{label} {phase} at {at_s:.3f} s instead of {expected_s:.3f} s"
        )


def assert_near(got: F32, expected: F32, what: str) -> None:
    assert got.shape == expected.shape, f"{what}: {got.shape} instead of {expected.shape}"
    wrong = np.argwhere(~(np.abs(got - expected) <= AGREE))
    if len(wrong):
        at = tuple(map(int, wrong[0]))
        raise AssertionError(f"{what}: first mismatch at {at}: {got[at]!r} instead of {expected[at]!r}")


# --- The right events


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_the_right_events_at_every_rate(tiny_model: Model, rate_hz: int) -> None:
    scene = make_tone_scene(rate_hz)
    output = run(tiny_model, scene.samples, rate_hz)
    assert_events(output.detections, scene.expected)
    assert all(d.reason == "" for d in output.detections)


def test_noise_alone_makes_no_events(tiny_model: Model, rng: np.random.Generator) -> None:
    for level in (0.0, 0.001, 0.1, 1.0):
        samples = (rng.standard_normal(40_000) * level).astype(np.float32)
        assert run(tiny_model, samples).detections == []


@pytest.mark.parametrize("hop_ms", [10, 20, 30, 50, 70, 100, 500, 1990, 2000])
def test_the_hop_changes_nothing_but_the_delay(tiny_model: Model, tone_scene: ToneScene, hop_ms: int) -> None:
    expected, output = run(tiny_model, tone_scene.samples), run(tiny_model, tone_scene.samples, hop_ms=hop_ms)
    assert_near(scores_of(output), scores_of(expected), f"hop {hop_ms} ms")
    for one, other in zip(output.detections, expected.detections, strict=True):
        assert abs(one.score - other.score) <= AGREE
        assert same_but_score(one) == same_but_score(other)


def same_but_score(detection: Detection) -> tuple[Any, ...]:
    d = detection
    return d.kind, d.label, d.phase, d.onset_sample, d.offset_sample, d.detected_sample, d.reason


@pytest.mark.parametrize(
    ("hop_ms", "stride", "frames"),
    [(10, 1, 1), (10, 2, 2), (80, 2, 8), (70, 2, 8), (50, 3, 6), (1, 4, 4), (2000, 2, 200)],
)
def test_blocks_are_whole_strides(hop_ms: int, stride: int, frames: int) -> None:
    assert block_frames(hop_ms, stride) == frames


def test_detected_sample_is_when_it_could_first_be_known(tiny_model: Model, tone_scene: ToneScene) -> None:
    """With the smallest hop an event comes once the sound up to `detected_sample` is in, and not before."""
    pipeline = make_pipeline(tiny_model, hop_ms=10)
    heard, found = 0, 0
    for piece in cut(tone_scene.samples, equal_chunks(len(tone_scene.samples), 40)):
        heard += len(piece)
        for d in feed(tiny_model, pipeline, piece, heard - len(piece)).detections:
            found += 1
            assert heard - 40 < d.detected_sample <= heard
    assert found == len(tone_scene.expected)


def test_rows_follow_each_other_without_a_seam(tiny_model: Model, tone_scene: ToneScene) -> None:
    row = at = None
    for block in run(tiny_model, tone_scene.samples, hop_ms=50).scores:
        assert (block.first_row, block.first_sample) == (row or 0, ROW_START_SAMPLES if at is None else at)
        row, at = block.first_row + len(block.scores), block.first_sample + 320 * len(block.scores)


# --- Gaps


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_a_gap_ends_what_is_open_and_begins_afresh(tiny_model: Model, rate_hz: int) -> None:
    scene = make_tone_scene(rate_hz, seconds=7.0, tones=(("high", 1.0, 7.0),))
    broken, resumed = int(3.21 * rate_hz), int(5.0 * rate_hz) + 7  # one second of lost sound, and a bit
    pipeline = make_pipeline(tiny_model, rate_hz)
    before = feed(tiny_model, pipeline, scene.samples[:broken], 0)
    after = feed(tiny_model, pipeline, scene.samples[broken : broken + rate_hz], resumed)
    assert_events(before.detections, [("high", "start", 1.0)])
    assert [(d.label, d.phase, d.reason) for d in after.detections] == [
        ("high", "end", "gap"),
        ("high", "start", ""),
    ]
    assert abs(told_events(after.detections)[0][2] - 3.21) <= NEAR_S
    assert abs(told_events(after.detections)[1][2] - resumed / rate_hz) <= 0.12  # after warming up
    assert (pipeline.meter.gaps, pipeline.meter.lost_samples) == (1, resumed - broken)
    fresh = feed(tiny_model, make_pipeline(tiny_model, rate_hz), scene.samples[broken : broken + rate_hz], 0)
    start = round(resumed * 16_000 / rate_hz)
    late = [block for block in after.scores if block.first_sample >= start]
    assert_near(np.concatenate([block.scores for block in late]), scores_of(fresh), "after the gap")
    assert late[0].first_sample == start + ROW_START_SAMPLES
    rows = [block.first_row for block in before.scores + after.scores]
    lengths = [len(block.scores) for block in before.scores + after.scores]
    assert rows == [0, *np.cumsum(lengths)[:-1].tolist()], "rows are counted through"


def test_times_after_many_gaps_do_not_drift(tiny_model: Model) -> None:
    """Sound lost again and again, at a rate that does not divide: an event is where its samples are."""
    rate_hz = 44_100
    tone = make_tone_scene(rate_hz, 1.0, (("mid", 0.5, 0.8),)).samples
    pipeline, at = make_pipeline(tiny_model, rate_hz), 0
    for turn in range(12):
        at += 997 * turn + 10**turn
        (hit,) = feed(tiny_model, pipeline, tone, at).detections
        assert abs(hit.onset_sample / 16_000 - (at / rate_hz + 0.5)) <= NEAR_S, f"turn {turn}"
        at += len(tone)


def test_sound_before_a_gap_is_not_lost(tiny_model: Model) -> None:
    """What resampler and block still hold back when the gap comes is scored first."""
    scene = make_tone_scene(48_000, 2.0, (("high", 1.0, 2.0),))
    pipeline = make_pipeline(tiny_model, 48_000, 2000)
    output = feed(tiny_model, pipeline, scene.samples, 0)
    assert output.detections == []
    pipeline.feed(Chunk(np.zeros(0, np.float32), 200_000, 0.0))
    add(output, tiny_model, pipeline)
    assert [(d.phase, d.reason) for d in output.detections] == [("start", ""), ("end", "gap")]
    assert len(scores_of(output)) == (1 + (32_000 - 400) // 160) // 2


def test_the_stream_may_begin_late(tiny_model: Model, tone_scene: ToneScene) -> None:
    pipeline = make_pipeline(tiny_model)
    output = feed(tiny_model, pipeline, tone_scene.samples, 160_000)
    assert_events(
        output.detections, [(label, phase, at_s + 10) for label, phase, at_s in tone_scene.expected]
    )


@pytest.mark.parametrize("reason", ["stop", "gap"])
def test_an_end_in_the_middle_of_a_sound(tiny_model: Model, tone_scene: ToneScene, reason: str) -> None:
    pipeline = make_pipeline(tiny_model)
    feed(tiny_model, pipeline, tone_scene.samples[: int(3.5 * 16_000)], 0)
    (end,) = finish(tiny_model, pipeline, reason).detections
    assert (end.label, end.phase, end.reason) == ("high", "end", reason)
    assert abs(end.offset_sample / 16_000 - 3.5) <= NEAR_S  # type: ignore[operator]
    assert finish(tiny_model, pipeline).detections == []


# --- Bad samples


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e30, 33.0, 3.4e38])
@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_bad_samples_are_silence_and_counted(tiny_model: Model, bad: float, rate_hz: int) -> None:
    scene = make_tone_scene(rate_hz)
    spoilt, silent = scene.samples.copy(), scene.samples.copy()
    places = [0, 1, rate_hz // 2, rate_hz, len(spoilt) - 1, *range(2 * rate_hz, 2 * rate_hz + 50)]
    spoilt[places], silent[places] = bad, 0.0
    spoilt.flags.writeable = False
    pipeline = make_pipeline(tiny_model, rate_hz)
    output = feed(tiny_model, pipeline, spoilt, 0)
    assert np.isfinite(scores_of(output)).all()
    expected = feed(tiny_model, make_pipeline(tiny_model, rate_hz), silent, 0)
    assert_near(scores_of(output), scores_of(expected), f"{bad} instead of silence")
    assert output.detections == expected.detections
    assert pipeline.meter.bad_samples == len(places)
    assert pipeline.meter.peak < 1
    assert pipeline.meter.clipped_samples == 0


def test_nothing_but_bad_samples(tiny_model: Model) -> None:
    pipeline = make_pipeline(tiny_model)
    output = feed(tiny_model, pipeline, np.full(20_000, np.nan, np.float32), 0)
    assert np.isfinite(scores_of(output)).all()
    assert output.detections == []
    assert pipeline.meter.bad_samples == pipeline.meter.heard_samples == 20_000
    assert pipeline.meter.take_levels() == (-120.0, -120.0)


@pytest.mark.parametrize("kind", ["square", "loudest", "denormal", "silence"])
def test_extremes_leave_no_trace(tiny_model: Model, tone_scene: ToneScene, kind: str) -> None:
    """Scores stay finite, and after a second of noise the stream hears as well as a fresh one."""
    alternating = np.where(np.arange(16_000) // 20 % 2, 1.0, -1.0).astype(np.float32)
    extreme = alternating * np.float32(
        {"square": 1.0, "loudest": 32.0, "denormal": 1e-44, "silence": 0.0}[kind]
    )
    pipeline = make_pipeline(tiny_model)
    output = feed(tiny_model, pipeline, extreme, 0)
    output.detections.clear()
    rest = feed(tiny_model, pipeline, tone_scene.samples, 16_000)
    assert np.isfinite(scores_of(output)).all()
    assert np.isfinite(scores_of(rest)).all()
    late = [d for d in rest.detections if d.onset_sample > 1.5 * 16_000]
    assert_events(late, [(label, phase, at_s + 1) for label, phase, at_s in tone_scene.expected])


# --- The meter


def test_clipped_samples_are_counted(tiny_model: Model) -> None:
    samples = np.array(
        [0.0, 0.999, 1.0, -1.0, 1.5, -32.0, np.nan, 32.1, np.nextafter(np.float32(1), 0)], np.float32
    )
    pipeline = make_pipeline(tiny_model)
    feed(tiny_model, pipeline, samples, 0)
    assert (pipeline.meter.clipped_samples, pipeline.meter.bad_samples) == (4, 2)
    assert pipeline.meter.heard_samples == len(samples)


@pytest.mark.parametrize("size", [1, 7, 4000])
def test_levels(tiny_model: Model, size: int) -> None:
    """A full scale sine is -3 dB, its peak 0 dB; taking the levels begins a new measurement."""
    sine = np.sin(2 * np.pi * np.arange(4000) / 16).astype(np.float32)
    pipeline = make_pipeline(tiny_model)
    assert pipeline.meter.take_levels() == (None, None)
    feed(tiny_model, pipeline, sine, 0, size)
    assert pipeline.meter.take_levels() == (-3.0, 0.0)
    assert pipeline.meter.take_levels() == (None, None)
    feed(tiny_model, pipeline, sine * np.float32(0.1), 4000, size)
    assert pipeline.meter.take_levels() == (-23.0, -20.0)
    feed(tiny_model, pipeline, np.zeros(10, np.float32), 8000)
    assert pipeline.meter.take_levels() == (-120.0, -120.0)
    assert pipeline.meter.heard_samples == 8010


# --- Several streams


@pytest.mark.parametrize("hop_ms", [(80, 80, 80, 80, 80), (80, 20, 80, 200, 10)])
def test_streams_together_equal_each_alone(
    tiny_model: Model, rng: np.random.Generator, hop_ms: Sequence[int]
) -> None:
    """Other chunks, other rates, other blocks, one with a gap and one that ends early."""
    rates = (16_000, 16_000, 48_000, 16_000, 8_000)
    sounds = [
        random_tones(rng, int(seconds * rate_hz), rate_hz)
        for seconds, rate_hz in zip((4, 4, 4, 2, 4), rates, strict=True)
    ]
    plans = [
        random_chunks(rng, len(sound), rate_hz // 8) for sound, rate_hz in zip(sounds, rates, strict=True)
    ]

    def chunks(index: int) -> list[Chunk]:
        at, found = 0, []
        for number, piece in enumerate(cut(sounds[index], plans[index])):
            at += 12_345 if index == 1 and number == len(plans[1]) // 2 else 0
            found.append(Chunk(piece, at, 0.0))
            at += len(piece)
        return found

    def alone(index: int) -> Output:
        pipeline, output = make_pipeline(tiny_model, rates[index], hop_ms[index]), Output()
        for chunk in chunks(index):
            pipeline.feed(chunk)
            add(output, tiny_model, pipeline)
        rest = finish(tiny_model, pipeline)
        return Output(output.detections + rest.detections, output.scores + rest.scores)

    together = [make_pipeline(tiny_model, rate_hz, hop) for rate_hz, hop in zip(rates, hop_ms, strict=True)]
    waiting = [chunks(index) for index in range(len(together))]
    outputs = [Output() for _ in together]
    while any(waiting):
        for pipeline, own in zip(together, waiting, strict=True):
            for _ in range(int(rng.integers(0, 4))):
                if own:
                    pipeline.feed(own.pop(0))
                    if not own:
                        pipeline.end()
        advance(tiny_model.classifier, together)
        for output, pipeline in zip(outputs, together, strict=True):
            more = pipeline.take_output()
            output.detections += more.detections
            output.scores += more.scores
    for index, output in enumerate(outputs):
        expected, what = alone(index), f"stream {index}, {told(plans[index])}"
        assert_near(scores_of(output), scores_of(expected), what)
        assert [same_but_score(d) for d in output.detections] == [
            same_but_score(d) for d in expected.detections
        ], what
        assert output.detections, what
    assert any(d.reason == "gap" for d in outputs[1].detections) == any(
        d.reason == "gap" for d in alone(1).detections
    )


def test_advancing_no_stream_or_idle_streams_does_nothing(tiny_model: Model) -> None:
    advance(tiny_model.classifier, [])
    pipeline = make_pipeline(tiny_model)
    advance(tiny_model.classifier, [pipeline, make_pipeline(tiny_model)])
    output = pipeline.take_output()
    assert (output.detections, output.scores) == ([], [])


# --- Very little sound


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 559, 560, 719])
def test_a_stream_shorter_than_a_row(tiny_model: Model, samples: int) -> None:
    """A window makes a frame, two frames a row of scores; less makes nothing, and nothing breaks."""
    output = run(tiny_model, np.zeros(samples, np.float32))
    assert sum(len(block.scores) for block in output.scores) == (1 if samples >= 560 else 0)
    assert output.detections == []


def test_zero_length_chunks(tiny_model: Model, tone_scene: ToneScene) -> None:
    pipeline, at, found = make_pipeline(tiny_model), 0, []
    for piece in cut(tone_scene.samples, equal_chunks(len(tone_scene.samples), 3000)):
        for part in (piece[:0], piece, piece[:0]):
            pipeline.feed(Chunk(part, at, 0.0))
            at += len(part)
            found += add(Output(), tiny_model, pipeline).detections
    assert found == run(tiny_model, tone_scene.samples).detections
    assert pipeline.meter.gaps == 0


def test_feeding_far_ahead_of_the_classifier_gives_the_same(tiny_model: Model, tone_scene: ToneScene) -> None:
    pipeline, at = make_pipeline(tiny_model), 0
    buffer = np.empty(1000, np.float32)
    for piece in cut(tone_scene.samples, equal_chunks(len(tone_scene.samples), 1000)):
        buffer[: len(piece)] = piece
        pipeline.feed(Chunk(buffer[: len(piece)], at, 0.0))
        buffer[:] = np.nan  # the source writes over its buffer before the classifier comes to it
        at += len(piece)
    pipeline.end()
    output = add(Output(), tiny_model, pipeline)
    expected = run(tiny_model, tone_scene.samples)
    assert output.detections == expected.detections
    np.testing.assert_array_equal(scores_of(output), scores_of(expected))


def test_retuning_a_running_stream(tiny_model: Model, tone_scene: ToneScene) -> None:
    from msgspec.structs import replace

    pipeline = make_pipeline(tiny_model)
    found = feed(tiny_model, pipeline, tone_scene.samples[:40_000], 0).detections
    pipeline.retune([replace(rule, enabled=rule.name != "low") for rule in RULES])
    found += feed(tiny_model, pipeline, tone_scene.samples[40_000:], 40_000).detections
    assert_events(found, [event for event in tone_scene.expected if event[2] < 4.9])

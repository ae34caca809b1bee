"""Marks set by hand, against the sound: kept within the file, points made stretches, excerpts around each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec

from streamer.audio import SAMPLE_RATE_HZ
from training.data.activity import Spans, active_spans
from training.data.dataset import Clip, Mark
from training.data.sounds import I16
from training.labels import LabelSet

SLACK_S = 0.05
"""A mark may end so long after the file without anybody having erred."""
POINT_REACH_S = 0.5
"""A point's sound lies at most so far away from it."""
CONTEXT_S = 1.0
"""Sound on both sides of a mark that comes with it."""
LONGEST_EXCERPT_S = 10.0


def fitted(clip: Clip, samples: I16, labels: LabelSet) -> tuple[Clip, list[str]]:
    """The clip with times within its sound, and what was wrong; raises ValueError if nothing is left."""
    if not clip.marks:
        return _fitted_label(clip, len(samples) / SAMPLE_RATE_HZ)
    length_s, kept, faults = len(samples) / SAMPLE_RATE_HZ, [], []
    for label, onset_s, offset_s in clip.marks:
        try:
            kept.append(_within((label, onset_s, offset_s), samples, length_s, labels))
        except ValueError as error:
            faults.append(f"{label} at {onset_s:g} s: {error}")
            continue
        if offset_s > length_s + SLACK_S:
            end = f"ends at {offset_s:g} s, the file at {length_s:.3f} s: cut there"
            faults.append(f"{label} at {onset_s:g} s: {end}")
    return msgspec.structs.replace(clip, marks=tuple(kept), kind=clip.kind if kept else "noise"), faults


def _fitted_label(clip: Clip, length_s: float) -> tuple[Clip, list[str]]:
    if clip.start_s is None or clip.end_s is None or clip.end_s <= length_s + SLACK_S:
        return clip, []
    if clip.start_s >= length_s:
        raise ValueError(f"its label begins at {clip.start_s:g} s, the file ends at {length_s:.3f} s")
    cut = msgspec.structs.replace(clip, end_s=length_s)
    return cut, [f"its label ends at {clip.end_s:g} s, the file at {length_s:.3f} s: cut there"]


def _within(mark: Mark, samples: I16, length_s: float, labels: LabelSet) -> Mark:
    label, onset_s, offset_s = mark
    if onset_s >= length_s:
        raise ValueError(f"beyond the file's end at {length_s:.3f} s; left out")
    if onset_s == offset_s:
        return (label, *_around(onset_s, samples, labels.merge_gap_s(label)))
    return label, onset_s, min(offset_s, length_s)


def _around(point_s: float, samples: I16, gap_s: float) -> tuple[float, float]:
    """What stands out at a point label."""
    first = max(0, int((point_s - 2.0) * SAMPLE_RATE_HZ))
    from_s = first / SAMPLE_RATE_HZ
    heard = active_spans(samples[first : int((point_s + 2.0) * SAMPLE_RATE_HZ)], gap_s)
    spans = [(from_s + a, from_s + b) for a, b in heard]
    best = min(spans, key=lambda span: _distance_s(span, point_s), default=None)
    if best is None or _distance_s(best, point_s) > POINT_REACH_S:
        raise ValueError("a point label, and nothing stands out there; left out")
    return best


def _distance_s(span: tuple[float, float], point_s: float) -> float:
    return max(span[0] - point_s, point_s - span[1], 0.0)


def union(marks: tuple[Mark, ...]) -> Spans:
    """Where anything is marked, in order and without overlap."""
    joined: Spans = []
    for onset_s, offset_s in sorted((onset, offset) for _, onset, offset in marks):
        if joined and onset_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], offset_s))
        else:
            joined.append((onset_s, offset_s))
    return joined


def excerpts(clip: Clip, samples: int, labels: LabelSet) -> Iterator[tuple[Clip, int, int]]:
    """(clip, first sample, end sample) for each mark: a clip of one label, with all else marked in it.

    In these clips the first mark is the one that they are for, and times count from the excerpt's beginning.
    """
    for mark in clip.marks:
        for from_s, to_s in _pieces(mark[1], mark[2]):
            first = max(0, int((from_s - CONTEXT_S) * SAMPLE_RATE_HZ))
            end = min(samples, int((to_s + CONTEXT_S) * SAMPLE_RATE_HZ))
            times_s = (first / SAMPLE_RATE_HZ, (end - first) / SAMPLE_RATE_HZ)
            yield _excerpt(clip, mark, *times_s, labels), first, end


def _excerpt(clip: Clip, own: Mark, begun_s: float, length_s: float, labels: LabelSet) -> Clip:
    others = [mark for mark in clip.marks if mark != own]
    seen, cut_words = visible(others, begun_s, length_s, labels.keywords)
    (mark,), _ = visible([own], begun_s, length_s, words=())
    kind = ("keyword" if labels.is_keyword(own[0]) else "event") if own[0] in labels else clip.kind
    unsure = (*clip.unsure, *(label for label in cut_words if label not in clip.unsure))
    return msgspec.structs.replace(clip, kind=kind, label=own[0], marks=(mark, *seen), unsure=unsure)


def visible(
    marks: Iterable[Mark], begun_s: float, length_s: float, words: Collection[str]
) -> tuple[list[Mark], list[str]]:
    """Marks as a cut from the sound has them, and the words that were cut in two: neither said nor not."""
    kept, cut_words = [], []
    for label, onset_s, offset_s in marks:
        a, b = onset_s - begun_s, offset_s - begun_s
        if a >= length_s or b <= 0:
            continue
        if label in words and (a < -SLACK_S or b > length_s + SLACK_S):
            cut_words.append(label)
        else:
            kept.append((label, max(0.0, a), min(length_s, b)))
    return kept, cut_words


def _pieces(onset_s: float, offset_s: float) -> Iterator[tuple[float, float]]:
    """A long sound in parts that can be handled."""
    at_s = onset_s
    while offset_s - at_s > LONGEST_EXCERPT_S:
        yield at_s, at_s + LONGEST_EXCERPT_S
        at_s += LONGEST_EXCERPT_S
    yield at_s, offset_s

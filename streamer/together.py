"""Many streams at once: features, model and decoder each run for all streams that have something for them.

What comes out for a stream does not depend on the others. A call has a price of its own, and streams that
share it share its price. Where they are many, every processor takes a part of them. Streams whose way is
compiled throughout go it in one call (`Turn`), the others stage by stage (`listen`, then `advance`).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, partial
from typing import TypeVar

import numpy as np

from streamer.compiled import Blocks, CompiledWay, Kind
from streamer.decoding.decoder import decode
from streamer.features.extractor import Extractor, extract
from streamer.features.settings import FeatureSettings
from streamer.inference.classifier import Classifier, split_state, stack_states
from streamer.intake import Intake, Shared
from streamer.listener import Block, Listener

STREAMS_AT_ONCE = 64
"""In one call: from some 16 on more of them save nothing, and what they need should fit the cache."""
WORTH_SHARING = 64
"""Fewer are not worth waking another thread for."""
WAVE = 128
"""So many are given away while others are still being read: a thread that comes back from the kernel has to
wait for the interpreter, so it should not come back often."""

One = TypeVar("One")


def in_waves(streams: Sequence[One]) -> Iterator[Sequence[One]]:
    """All of them, so many at a time as are worth giving away."""
    for start in range(0, len(streams), WAVE):
        yield streams[start : start + WAVE]


class Turn:
    """Blocks of many streams whose way is compiled, heard by another thread while more are being read."""

    def __init__(self) -> None:
        self._here: defaultdict[Kind, list[CompiledWay]] = defaultdict(list)
        self._given: list[tuple[Blocks, Future[None]]] = []

    def add(self, intakes: Sequence[Intake]) -> list[int]:
        """Sound that may be enough for a block; at which places are the streams that go the usual way.

        Until the end nobody may touch the others.
        """
        left = []
        for place, intake in enumerate(intakes):
            way = intake.way
            if way is None or not way.is_even:
                left.append(place)
            elif way.is_ready:
                self._here[way.kind].append(way)
        if _processors() > 1:
            for kind in [kind for kind, ways in self._here.items() if len(ways) >= WAVE]:
                self._give(self._here.pop(kind))
        return left

    def _give(self, ways: Sequence[CompiledWay]) -> None:
        blocks = Blocks.of(ways)
        self._given.append((blocks, _helpers().submit(blocks.hear)))

    def end(self) -> None:
        """All of them are heard, and told what they have said."""
        while self._here or self._given:
            if not self._given and _processors() > 1:
                self._share()
            blocks = self._hear()
            for some in blocks:
                some.tell()
            for way in [way for some in blocks for way in some.ways if way.is_ready]:
                self._here[way.kind].append(way)

    def _share(self) -> None:
        """Half of what is here, if that is worth it."""
        for kind, ways in self._here.items():
            if len(ways) >= WORTH_SHARING:
                self._give(ways[len(ways) // 2 :])
                self._here[kind] = ways[: len(ways) // 2]

    def _hear(self) -> list[Blocks]:
        """What is here, then what was given away and nobody has begun with; in the end all of it."""
        here, given = [Blocks.of(ways) for ways in self._here.values()], self._given
        self._here.clear()
        self._given = []
        begun = []
        try:
            for some in here:
                some.hear()
            for some, done in reversed(given):
                if done.cancel():
                    some.hear()
                else:
                    begun.append(done)
        finally:
            wait([done for _, done in given if not done.cancelled()])
        for done in begun:
            done.result()
        return [*(some for some, _ in given), *here]


def hear(intakes: Sequence[Intake]) -> list[int]:
    """A whole turn; at which places are the streams that go the usual way: `listen`, then `advance`."""
    turn = Turn()
    left = turn.add(intakes)
    turn.end()
    return left


def listen(intakes: Iterable[Intake]) -> None:
    """Turn the sound that waits into rows, as far as they complete a block for some model."""
    waiting = [shared for intake in intakes for shared in intake.shared]
    while waiting:
        ready: defaultdict[tuple[FeatureSettings, int], list[Shared]] = defaultdict(list)
        for shared in waiting:
            if frames := shared.due_frames:
                ready[shared.extractor.settings, frames].append(shared)
        for (_, frames), group in ready.items():
            _share_out(partial(_make_rows, frames), group)
        # A single listener has been given all its blocks; several may differ in length.
        waiting = [shared for group in ready.values() for shared in group if len(shared.listeners) > 1]


def _make_rows(frames: int, group: Sequence[Shared]) -> None:
    extractors: list[Extractor] = [shared.extractor for shared in group]
    for shared, rows in zip(group, extract(extractors, frames), strict=True):
        shared.give(rows)


def advance(classifier: Classifier, listeners: Iterable[Listener]) -> None:
    """Classify all blocks that are ready, those of one length together."""
    waiting = list(listeners)
    while waiting:
        by_length: defaultdict[int, list[tuple[Listener, Block]]] = defaultdict(list)
        for listener in waiting:
            block = listener.next_block
            if block is not None:
                by_length[len(block.features)].append((listener, block))
        waiting = [listener for group in by_length.values() for listener, _ in group]
        for group in by_length.values():
            _share_out(partial(_classify, classifier), group)


def _classify(classifier: Classifier, group: Sequence[tuple[Listener, Block]]) -> None:
    blocks = [block.features for _, block in group]
    features = np.stack(blocks) if len(blocks) > 1 else blocks[0][np.newaxis]
    scores, state = classifier.step(features, stack_states([listener.state for listener, _ in group]))
    for (listener, _), own_state in zip(group, split_state(state, len(group)), strict=True):
        listener.state = own_state
    detections = decode(
        [listener.decoder for listener, _ in group], scores, [block.first_sample for _, block in group]
    )
    for (listener, _), own, found in zip(group, scores, detections, strict=True):
        listener.accept(own, found)


def _share_out(work: Callable[[Sequence[One]], None], group: Sequence[One]) -> None:
    """Do it for all of a group, a part at a time; numpy and onnxruntime let other threads run meanwhile."""
    if len(group) < WORTH_SHARING:
        work(group)
        return
    hands = _processors()
    size = min(STREAMS_AT_ONCE, -(-len(group) // hands))
    parts = [group[start : start + size] for start in range(0, len(group), size)]
    given = [_helpers().submit(work, part) for place, part in enumerate(parts) if place % hands]
    for part in parts[::hands]:
        work(part)
    for done in given:
        done.result()


def _processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _helpers() -> ThreadPoolExecutor:
    """Made when there are that many streams for the first time."""
    return ThreadPoolExecutor(max(1, _processors() - 1), thread_name_prefix="together")

"""Streams whose way from sound to scores is compiled throughout: many of them at once in one call (hear.c).

What comes of it is bit for bit what the stages make of it one by one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from streamer.audio import F32
from streamer.decoding.decoder import decode
from streamer.features.extractor import Extractor
from streamer.features.framing import OVERLAP_SAMPLES, Framer
from streamer.features.kernel import KernelRows
from streamer.features.settings import HOP_SAMPLES
from streamer.features.static import static_rows
from streamer.inference.classifier import State
from streamer.inference.kernel_backend import KernelClassifier
from streamer.kernel import address, library
from streamer.listener import Listener

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POINTER = ctypes.c_void_p


class _Hearing(ctypes.Structure):
    """As `hearing` in hear.c."""

    _fields_ = (
        ("features", _POINTER),
        ("network", _POINTER),
        ("block_frames", ctypes.c_int64),
        ("block_rows", ctypes.c_int64),
        ("row_size", ctypes.c_int64),
        ("labels", ctypes.c_int64),
        ("state_size", ctypes.c_int64),
    )


class Kind:
    """What streams have in common that can share a call."""

    def __init__(self, rows: KernelRows, classifier: KernelClassifier, block_frames: int) -> None:
        self.shape = (block_frames // classifier.stride, classifier.n_labels)
        """Of a block of scores: rows and labels."""
        self._rows = rows  # kept as long as its place is used; who has a way keeps the classifier
        self._task = _Hearing(
            rows.place, classifier.place, block_frames, self.shape[0],
            rows.size, classifier.n_labels, int(np.prod(classifier.state_shapes[0])),
        )  # fmt: skip
        self._place = ctypes.addressof(self._task)
        kernel = library()
        assert kernel is not None
        self._call = kernel.streamer_hear
        self._call.argtypes = [_POINTER, ctypes.c_int64, *[_POINTER] * 6]
        self._call.restype = ctypes.c_int

    def hear(self, blocks: Blocks) -> None:
        """What the streams say; other threads run meanwhile."""
        streams = len(blocks.scores)
        lists = address(blocks.places)
        if self._call(
            self._place, streams, *(lists + 8 * streams * number for number in range(4)),
            address(blocks.scores), address(blocks.near),
        ):  # fmt: skip
            raise MemoryError


_kinds: WeakKeyDictionary[KernelClassifier, dict[tuple[int, int], Kind]] = WeakKeyDictionary()


class CompiledWay:
    """One stream's: what is held of its sound, one model, and no derivatives between them."""

    def __init__(
        self, framer: Framer, rows: KernelRows, listener: Listener, classifier: KernelClassifier, kind: Kind
    ) -> None:
        self.framer, self.rows = framer, rows
        self.listener, self.classifier = listener, classifier
        self.kind = kind
        self._frames = listener.block_frames
        self._needed_samples = listener.block_frames * HOP_SAMPLES + OVERLAP_SAMPLES
        self._state: State = ()
        self._state_places = (0, 0)

    @property
    def is_even(self) -> bool:
        """Nothing is on its way but sound."""
        return self.listener.is_even

    @property
    def is_ready(self) -> bool:
        """There is sound for a block."""
        return self.framer.held_samples >= self._needed_samples

    def take(self) -> tuple[F32, tuple[int, int, int, int]]:
        """The next block's sound, and where that, the states and the thresholds lie while all are kept."""
        sound = self.framer.take(self._frames)
        state = self.listener.state
        if state is not self._state:
            self._state, self._state_places = state, (address(state[0]), address(state[1]))
        return sound, (address(sound), *self._state_places, self.listener.decoder.near_place)


class Blocks(NamedTuple):
    """One of each of some streams."""

    ways: Sequence[CompiledWay]
    sounds: list[F32]
    places: NDArray[np.uint64]
    """(4, N): where sounds, both states and thresholds lie."""
    scores: F32
    """(N, T, L), once they are heard."""
    near: NDArray[np.uint8]
    """(N,): whether any score is near its threshold."""

    @classmethod
    def of(cls, ways: Sequence[CompiledWay]) -> Blocks:
        """The next ones of streams of a kind."""
        sounds, places = zip(*[way.take() for way in ways], strict=True)
        return cls(
            ways,
            list(sounds),
            np.ascontiguousarray(np.array(places, np.uint64).T),
            np.empty((len(ways), *ways[0].kind.shape), np.float32),
            np.empty(len(ways), np.uint8),
        )

    def hear(self) -> None:
        """Run the model; the streams' states are carried on where they lie."""
        self.ways[0].kind.hear(self)

    def tell(self) -> None:
        """The streams get what they have said, and what that decides."""
        telling = []
        for place, (way, scores, near) in enumerate(
            zip(self.ways, self.scores, self.near.tolist(), strict=True)
        ):
            if near or not way.listener.decoder.is_calm:
                telling.append(place)
            else:
                way.listener.decoder.passed(scores)
                way.listener.heard(scores, [])
        if telling:
            listeners = [self.ways[place].listener for place in telling]
            scores = self.scores[telling]
            detections = decode(
                [listener.decoder for listener in listeners],
                scores,
                [listener.row_sample for listener in listeners],
            )
            for listener, own, found in zip(listeners, scores, detections, strict=True):
                listener.heard(own, found)


def find_way(extractor: Extractor, listeners: Sequence[Listener]) -> CompiledWay | None:
    """None where something on it is not compiled, or several models share it."""
    if len(listeners) != 1 or extractor.settings.delta_order:
        return None
    classifier, rows = listeners[0].classifier, static_rows(extractor.settings)
    if not isinstance(classifier, KernelClassifier) or not isinstance(rows, KernelRows):
        return None
    kinds = _kinds.setdefault(classifier, {})
    key = id(rows), listeners[0].block_frames  # a kind keeps its rows, so the number stays theirs
    if key not in kinds:
        kinds[key] = Kind(rows, classifier, listeners[0].block_frames)
    return CompiledWay(extractor.framer, rows, listeners[0], classifier, kinds[key])

"""A stream's sound on its way to its models: gaps told, cleaned, counted, brought to 16 kHz, and held.

`together.py` turns what is held into rows and hands them out; models with equal features share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ, Chunk, check_samples
from streamer.capture.prompt_resample import open_resampler
from streamer.compiled import find_way
from streamer.features.extractor import Extractor
from streamer.features.settings import FeatureSettings
from streamer.history import History
from streamer.listener import Listener

LOUDEST = 32.0
"""Samples beyond this (full scale is 1) are no sound; without a bound they would overflow the spectrum."""


class Levels(NamedTuple):
    """Of clean samples."""

    square_sum: float
    peak: float
    clipped: int


@dataclass(slots=True)
class Meter:
    """What went through, counted since the stream began; level and peak since they were last taken."""

    heard_samples: int = 0
    """At the source's rate, as are the other counts."""
    lost_samples: int = 0
    gaps: int = 0
    bad_samples: int = 0
    """NaN, Inf or absurdly large, replaced by silence."""
    clipped_samples: int = 0
    """At or beyond full scale."""
    square_sum: float = 0.0
    square_count: int = 0
    peak: float = 0.0

    def count(self, samples: int, levels: Levels) -> None:
        """More of them."""
        self.heard_samples += samples
        self.square_count += samples
        self.square_sum += levels.square_sum
        self.peak = max(self.peak, levels.peak)
        self.clipped_samples += levels.clipped

    def take_levels(self) -> tuple[float | None, float | None]:
        """Level and peak in dB of full scale since the last call; None where nothing was heard."""
        if not self.square_count:
            return None, None
        level = (self.square_sum / self.square_count) ** 0.5
        peak, self.square_sum, self.square_count, self.peak = self.peak, 0.0, 0, 0.0
        return _dbfs(level), _dbfs(peak)


def _dbfs(amplitude: float) -> float:
    return round(float(20 * np.log10(max(amplitude, 1e-6))), 1)


class Memory(Protocol):
    """Hears the sound of a stream at 16 kHz, and where it begins anew."""

    def begin(self, first_sample: int) -> None:
        """Sound begins or goes on here."""

    def append(self, samples: F32) -> None:
        """Sound that follows what came before."""


class Shared:
    """Listeners whose features are equal, and the one extractor that makes them."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor
        self.listeners: list[Listener] = []

    @property
    def due_frames(self) -> int:
        """Rows to make now: those that complete blocks. The others can wait for more sound, and company."""
        ready = self.extractor.ready_frames
        missing = min([listener.missing_frames for listener in self.listeners])
        if ready < missing:
            return 0
        if self.extractor.settings.delta_order:
            return ready  # derivatives come later: then what they wait for must not wait, too
        block = self.listeners[0].block_frames
        return missing + (ready - missing) // block * block

    @property
    def missing_samples(self) -> int:
        """Sound at 16 kHz until the next block is complete."""
        missing = min([listener.missing_frames for listener in self.listeners])
        return self.extractor.missing_samples(missing)

    def give(self, rows: F32) -> None:
        """Hand the next rows out."""
        for listener in self.listeners:
            listener.take(rows)

    def hurry(self) -> None:
        """Make all rows that the sound held is enough for."""
        self.give(self.extractor.process(_NO_SOUND))

    def end(self, reason: str) -> None:
        """The sound does not go on from here."""
        self.give(self.extractor.flush())
        for listener in self.listeners:
            listener.break_off(reason)


_NO_SOUND = np.empty(0, np.float32)


class Intake:
    """One stream's way from chunks to its listeners: gaps, books, one resampler, equal features once."""

    def __init__(
        self,
        rate_hz: int,
        listeners: Sequence[Listener],
        history_s: float | None = None,
        *,
        prompt: bool = False,
    ) -> None:
        self.rate_hz = rate_hz
        """The source's."""
        self.resampler = open_resampler(rate_hz, prompt=prompt)
        """From the source's rate to 16 kHz."""
        self.history_s = history_s
        """How much of its last sound is kept, at least, for `change`; None: none, and there is no change."""
        self._history: History | None = None
        self.memory: Memory | None = None
        """Somebody else who is to hear the sound at 16 kHz."""
        self._use(listeners, {})
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        self.meter = Meter()
        self.next_sample = 0
        """At the source's rate: where the next chunk should begin."""
        for listener in self._listeners:
            listener.forget()
        self._begin_segment(0)

    def _begin_segment(self, first_sample: int) -> None:
        """Sound begins or resumes at this sample of the source."""
        start = round(first_sample * SAMPLE_RATE_HZ / self.rate_hz)
        self.resampler.reset()
        if self._history:
            self._history.begin(start)
        if self.memory:
            self.memory.begin(start)
        for shared in self.shared:
            shared.extractor.reset()
        for listener in self._listeners:
            listener.begin(start)

    @property
    def latency_samples(self) -> int:
        """Sound at 16 kHz that may have been taken in and not yet have shown in the output."""
        resampling = self.resampler.latency_samples * SAMPLE_RATE_HZ // self.rate_hz
        return resampling + max(listener.held_samples for listener in self._listeners)

    @property
    def due_sample(self) -> int | None:
        """The sound up to this sample of the source completes the next block; None where nobody knows."""
        missing = self.resampler.missing_for(max(0, min(shared.missing_samples for shared in self.shared)))
        return None if missing is None else self.next_sample + missing

    def feed(self, chunk: Chunk) -> None:
        """Take sound in; `listen` makes rows of it."""
        check_samples(chunk.samples)
        missing = chunk.first_sample - self.next_sample
        if missing < 0:
            raise ValueError(f"sound goes back by {-missing} samples: a stream's clock only goes on")
        if missing > 0:
            self._tell_gap(missing, chunk.first_sample)
        self.next_sample = chunk.end_sample
        self._hear(self.resampler.process(self._clean(chunk.samples)))

    def skip(self, chunk: Chunk) -> None:
        """Pass over sound that is not to be listened to: what is fed next begins a segment, and is no gap."""
        self.next_sample = chunk.end_sample
        self._begin_segment(chunk.end_sample)

    def passed(self, samples: int, sound: F32, levels: Levels) -> None:
        """Somebody has taken so many samples from the source to the scores; the sound at 16 kHz is theirs."""
        self.meter.count(samples, levels)
        self.next_sample += samples
        self._keep(sound)

    def _tell_gap(self, missing: int, first_sample: int) -> None:
        self.meter.gaps += 1
        self.meter.lost_samples += missing
        self._end_segment("gap")
        self._begin_segment(first_sample)

    def end(self, reason: str = "stop") -> None:
        """The stream stops here: everything held back goes into the queue."""
        self._end_segment(reason)
        self._begin_segment(self.next_sample)

    def _end_segment(self, reason: str) -> None:
        self._hear(self.resampler.flush())
        for shared in self.shared:
            shared.end(reason)

    def _hear(self, samples: F32) -> None:
        self._keep(samples)
        for shared in self.shared:
            shared.extractor.hold(samples)

    def _keep(self, samples: F32) -> None:
        if self._history:
            self._history.append(samples)
        if self.memory:
            self.memory.append(samples)

    def _clean(self, samples: F32) -> F32:
        """Replace what is no number, and keep the books."""
        if len(samples) == 0:
            return samples
        peak = float(np.maximum.reduce(np.absolute(samples)))
        if not peak <= LOUDEST:  # false for NaN as well
            samples, peak = self._without_bad(samples)
        clipped = int((np.abs(samples) >= 1.0).sum()) if peak >= 1.0 else 0
        self.meter.count(len(samples), Levels(float(np.dot(samples, samples)), peak, clipped))
        return samples

    def _without_bad(self, samples: F32) -> tuple[F32, float]:
        good = np.abs(samples) <= LOUDEST
        self.meter.bad_samples += int(len(samples) - good.sum())
        cleaned = np.where(good, samples, np.float32(0.0))
        return cleaned, float(np.abs(cleaned).max())

    # -- listeners come and go in the middle of the sound ----------------------------------------------

    def change(self, listeners: Sequence[Listener], former: Iterable[tuple[Listener, Listener]]) -> None:
        """Go on with these listeners; whoever is new follows another one, as the pairs (new, former) say.

        Nothing may wait for a classifier. No row of sound is skipped, and none is decided on twice.
        """
        assert self._history, "without its last sound no stream can go on with another model"
        for shared in self.shared:
            shared.hurry()
        extractors = {}
        for new, old in former:
            first_sample = old.first_sample_for(new.row_samples, self._history.first_sample)
            # Features are cut on one grid throughout a segment, so it is the rows' extractor from now on.
            extractors[new.features] = extractor = Extractor(new.features)
            new.take_over(old, first_sample, extractor.process(self._history.since(first_sample)))
        extractors.update({shared.extractor.settings: shared.extractor for shared in self.shared})
        self._use(listeners, extractors)

    def _use(self, listeners: Sequence[Listener], extractors: dict[FeatureSettings, Extractor]) -> None:
        self._listeners = list(listeners)
        shared: dict[FeatureSettings, Shared] = {}
        for listener in listeners:
            settings = listener.features
            if settings not in shared:
                shared[settings] = Shared(extractors.get(settings) or Extractor(settings))
            shared[settings].listeners.append(listener)
        self.shared = list(shared.values())
        """Listeners of equal features together."""
        first = self.shared[0]
        self.way = find_way(first.extractor, first.listeners) if len(self.shared) == 1 else None
        """If all of it is compiled."""
        if self.history_s is not None:
            self._history = self._kept_history(self.history_s)

    def _kept_history(self, history_s: float) -> History:
        """Long enough for the sound that the listeners have not decided on yet."""
        held_samples = max(listener.held_samples for listener in self._listeners)
        history = History(max(round(history_s * SAMPLE_RATE_HZ), held_samples))
        if self._history:
            history.begin(self._history.first_sample)
            history.append(self._history.since(self._history.first_sample))
        return history

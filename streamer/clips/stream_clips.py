"""The clips of one stream: what it remembers of its sound, and what is cut out of that."""

from __future__ import annotations

import numpy as np

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.clips.cutter import Clip, Cutter
from streamer.clips.names import clip_name
from streamer.config import ClipsConfig
from streamer.decoding.decoder import Detection
from streamer.history import History

LATE_S = 4.0
"""So long after its onset a sound may be told at the latest: smoothing, shortest length, a hop."""
JITTER_SAMPLES = 160
"""Other rates round: so much the beginning of a segment may lie before the end of the former one."""


class ClipMemory:
    """The last seconds at 16 kHz; where there was no sound, or none was to be heard, there is silence."""

    def __init__(self, length_samples: int) -> None:
        self._length_samples = length_samples
        self._history = History(length_samples)
        self.end_sample = 0

    def begin(self, first_sample: int) -> None:
        """Sound goes on here."""
        missing = first_sample - self.end_sample
        if 0 < missing <= self._length_samples:
            self.append(np.zeros(missing, np.float32))
        elif missing > 0 or missing < -JITTER_SAMPLES:
            self._history.begin(first_sample)
            self.end_sample = first_sample

    def append(self, samples: F32) -> None:
        """Sound that follows what came before."""
        self._history.append(samples)
        self.end_sample += len(samples)

    @property
    def first_sample(self) -> int:
        """The oldest that is kept."""
        return self._history.first_sample

    def since(self, first_sample: int) -> F32:
        """All from this sample on, a copy."""
        return self._history.since(first_sample)


class StreamClips:
    """Remembers, cuts, and names."""

    def __init__(self, config: ClipsConfig) -> None:
        before, after, late = (round(s * SAMPLE_RATE_HZ) for s in (config.before_s, config.after_s, LATE_S))
        self.memory = ClipMemory(before + after + late)
        """To be fed with the stream's sound."""
        self._labels = frozenset(config.labels)
        self._cutter = Cutter(before, after)

    def name(self, found: Detection, stream: str, time_utc: str, seq: int) -> str:
        """What the clip of this detection will be called; "": there will be none."""
        if found.phase == "end" or (self._labels and found.label not in self._labels):
            return ""
        name = clip_name(time_utc, stream, found.label, seq)
        return name if self._cutter.want(name, found.onset_sample, found.detected_sample) else ""

    def take(self, *, at_end: bool = False) -> list[Clip]:
        """Clips that are complete; at the end of the sound the others as well."""
        return self._cutter.cut(self.memory, at_end=at_end)

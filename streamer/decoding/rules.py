"""What turns a label's scores into events: thresholds, smoothing and durations."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from streamer.names import NAME_PATTERN

Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]


class LabelRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one label is decided. Defaults suit a spoken word; sounds want longer times."""

    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
    kind: Literal["keyword", "sound"]
    enabled: bool = True
    """Off: the label is scored, but makes no events."""
    threshold: Share = 0.5
    """Smoothed score that begins an event."""
    end_threshold: Share | None = None
    """Smoothed score below which it is over; None: 0.6 of the threshold."""
    smoothing_ms: Milliseconds = 80.0
    """Scores are averaged over so much of the past."""
    min_ms: Milliseconds = 0.0
    """The score must stay above the threshold for so long before anything is told."""
    release_ms: Milliseconds = 300.0
    """A sound is over when it has been below the end threshold for so long."""
    max_ms: Milliseconds = 60_000.0
    """A sound is ended by force after so long; 0: never."""
    refractory_ms: Milliseconds = 700.0
    """After an event the label is not heard again for so long."""

    def __post_init__(self) -> None:
        if self.end_threshold is not None and self.end_threshold > self.threshold:
            raise ValueError("end_threshold must not be above threshold")

    def at_threshold(self, threshold: float) -> LabelRule:
        """The rule turned up or down by one number: the end threshold keeps its distance in proportion."""
        end_threshold = min(self.end_level / self.threshold, 1.0) * threshold
        return msgspec.structs.replace(self, threshold=threshold, end_threshold=end_threshold)

    @property
    def end_level(self) -> float:
        """The end threshold in force."""
        return 0.6 * self.threshold if self.end_threshold is None else self.end_threshold

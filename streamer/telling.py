"""What is heard is numbered here, and told: to the delivery thread, to whoever watches, and to the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from streamer.audio import Chunk
from streamer.capture.remote import RemoteSource
from streamer.delivery.messages import Event, Health
from streamer.delivery.outlet import Outlet
from streamer.ears import Ear
from streamer.live_stream import LiveStream
from streamer.pipeline import Output

if TYPE_CHECKING:
    from streamer.clips.shelf import ClipShelf

log = logging.getLogger("streamer")


class Display(Protocol):
    """Somebody at the terminal who watches along."""

    def heard(self, stream: LiveStream, chunk: Chunk) -> None:
        """Sound has come in."""

    def scored(self, stream: LiveStream, label: str, score: float) -> None:
        """The models have spoken: this is the highest score at present."""

    def told(self, record: Event | Health) -> None:
        """A message has gone out."""


class Teller:
    """Gives events their numbers, over all streams; to be used on the main thread."""

    def __init__(
        self, run_id: str, outlet: Outlet, display: Display | None, shelf: ClipShelf | None = None
    ) -> None:
        self.run_id = run_id
        self.seq = outlet.head_seq
        """Number of the last event."""
        self._first_seq = outlet.head_seq
        self._outlet = outlet
        self._display = display
        self._shelf = shelf

    @property
    def events(self) -> int:
        """Told in this run."""
        return self.seq - self._first_seq

    def heard(self, stream: LiveStream, chunk: Chunk) -> None:
        """Sound has come in."""
        if self._display:
            self._display.heard(stream, chunk)

    def wants_scores(self, stream: LiveStream) -> bool:
        """Somebody wants to know more than what is going on."""
        return self._display is not None or self._outlet.wants_frames(stream.name)

    def publish(self, stream: LiveStream) -> None:
        """What a stream's models have found since the last time."""
        outputs = stream.take_outputs()
        if self._outlet.wants_frames(stream.name):
            for ear, output in outputs:
                for block in output.scores:
                    self._outlet.put(stream.frames(block, ear, self.run_id))
        if self._display and (best := _highest(outputs)):
            self._display.scored(stream, *best)
        for ear, output in outputs:
            journal = self._outlet.journal_name
            for found in output.detections:
                event = next(stream.events([found], ear, self.run_id, journal, self.seq))
                if self._is_news(stream, event):
                    event = stream.with_clip(event, found)
                    self.seq = event.seq
                    self.tell(event)
                    log.log(*_log_line(event))
        if self._shelf:
            for clip in stream.take_clips():
                self._shelf.put(clip)

    def _is_news(self, stream: LiveStream, event: Event) -> bool:
        """Not so a keyword in sound that is sent again because a daemon before this one was killed."""
        if event.phase != "hit" or not isinstance(stream.source, RemoteSource):
            return True
        return not self._outlet.lately.has(event.stream, event.label, event.time_utc)

    def tell(self, record: Event | Health) -> None:
        """One message."""
        self._outlet.put(record)
        if self._display:
            self._display.told(record)


def _highest(outputs: Sequence[tuple[Ear, Output]]) -> tuple[str, float] | None:
    newest = [(ear.model.labels, output.scores[-1].scores[-1]) for ear, output in outputs if output.scores]
    found = [(float(scores.max()), labels[int(scores.argmax())]) for labels, scores in newest]
    return max(found)[::-1] if found else None


def _log_line(event: Event) -> tuple[int, str, str, str, str, float]:
    # An end is no news to somebody who reads the log: it only matters to programs.
    level = logging.DEBUG if event.phase == "end" else logging.INFO
    return level, "stream %s: %s %s (%.2f)", event.stream, event.kind, event.label, event.score

"""What a sender keeps until the daemon has listened to it: bounded, in order, without a hole."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

SMALLEST_SHARE_SAMPLES = 160
"""What a block or gap counts at least: it bounds their number, too."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A block to send, or the statement that there is none."""

    first_sample: int
    end_sample: int
    payload: bytes | None
    """None: a gap."""
    captured_s: float
    """When its last sample was captured."""
    reason: str = ""
    """Of a gap."""

    @property
    def share_samples(self) -> int:
        """What it takes up of the bounds."""
        sound = self.end_sample - self.first_sample if self.payload is not None else 0
        return max(SMALLEST_SHARE_SAMPLES, sound)


class SendBuffer:
    """The entries between what the daemon has acknowledged and the newest; the oldest give way to a gap."""

    def __init__(self, limit_samples: int, window_samples: int) -> None:
        self.lost_samples = 0
        """Sound that had to give way."""
        self._limit_samples = limit_samples
        self._window_samples = window_samples
        self._entries: deque[Entry] = deque()
        self._sent = 0  # so many of them, from the oldest on, are under way
        self._kept_samples = self._sent_samples = 0  # their shares
        self.end_sample = 0
        """The next entry begins here."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def full(self) -> bool:
        """Another second would push something out: a source that can wait should."""
        return self._kept_samples + 16_000 > self._limit_samples

    @property
    def oldest(self) -> Entry | None:
        """What has been kept for longest."""
        return self._entries[0] if self._entries else None

    @property
    def sent_sample(self) -> int:
        """Everything before it has been sent."""
        return self._entries[self._sent].first_sample if self._sent < len(self._entries) else self.end_sample

    def add(self, entry: Entry) -> None:
        """Keep an entry, which begins where the one before ends."""
        if entry.first_sample != self.end_sample:
            raise ValueError(f"an entry at {entry.first_sample}, expected {self.end_sample}")
        self._entries.append(entry)
        self.end_sample = entry.end_sample
        self._kept_samples += entry.share_samples
        while self._kept_samples > self._limit_samples and len(self._entries) > 1:
            self._give_way()

    def _give_way(self) -> None:
        """Melt the two oldest into one gap."""
        was_sent = self._sent >= 2
        first, second = self._pop(), self._pop()
        self.lost_samples += sum(
            entry.end_sample - entry.first_sample for entry in (first, second) if entry.payload is not None
        )
        gap = Entry(first.first_sample, second.end_sample, None, second.captured_s, "buffer full")
        self._entries.appendleft(gap)
        self._kept_samples += gap.share_samples
        if was_sent:
            self._sent += 1
            self._sent_samples += gap.share_samples

    def _pop(self) -> Entry:
        entry = self._entries.popleft()
        self._kept_samples -= entry.share_samples
        if self._sent:
            self._sent -= 1
            self._sent_samples -= entry.share_samples
        return entry

    def peek(self) -> Entry | None:
        """What to send next; None while enough is under way, or nothing is left."""
        if self._sent == len(self._entries):
            return None
        entry = self._entries[self._sent]
        if self._sent and self._sent_samples + entry.share_samples > self._window_samples:
            return None
        return entry

    def mark_sent(self) -> None:
        """What `peek` gave has been sent."""
        self._sent_samples += self._entries[self._sent].share_samples
        self._sent += 1

    def acknowledge(self, next_sample: int) -> None:
        """The daemon has listened to everything before this sample: it need not be kept."""
        while self._entries and self._entries[0].end_sample <= next_sample:
            self._pop()

    def rewind(self, next_sample: int) -> None:
        """Send again from this sample on."""
        self._sent = self._sent_samples = 0
        while self._sent < len(self._entries) and self._entries[self._sent].end_sample <= next_sample:
            self.mark_sent()

"""Where a subscriber begins, when it has no place yet in the journal that the daemon has."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from streamer.client.pages import Page
from streamer.client.records import Place, Since
from streamer.delivery.messages import Event, utc_text
from streamer.delivery.requests import Ping, PingReply, Replay


class Beginning:
    """What the caller said, and what has become of it since."""

    def __init__(self, since: Since, now_s: float) -> None:
        self._since = None if since == "new" else since
        self.only_new = self._since is None
        """Whether nothing of the time before was asked for."""
        self._born_s = now_s

    def question(self, name: str) -> Ping | Replay:
        """What to ask the daemon."""
        if isinstance(self._since, datetime):
            return Replay(id=name, since_utc=utc_text(self._since.timestamp()))
        if self._since is None:
            return Ping(id=name)
        return Replay(id=name, since_seq=self._since if isinstance(self._since, int) else 0)

    def learn_time(self, answer: PingReply, now_s: float) -> bool:
        """Whoever wants what is new begins at our own beginning, by the daemon's clock; False: illegible."""
        there = _moment(answer.time_utc)
        if there is not None:
            self._since = there - timedelta(seconds=now_s - self._born_s)
        return there is not None

    def number(self, page: Page, waiting: Iterable[Event]) -> int:
        """After which number to begin, now that the daemon has answered."""
        reply = page.reply
        if self._since == "all":
            return min(max(0, reply.oldest_seq - 1), reply.head_seq)
        if isinstance(self._since, int):
            return self._since
        # what came live was published after we had begun to listen, by whatever clock it was dated
        live = [event.seq - 1 for event in waiting if event.journal == reply.journal]
        return max(0, min([reply.first_seq - 1, reply.head_seq, *live]))

    def elsewhere(self, heard_utc: str) -> None:
        """The daemon has another journal: begin in it where the caller would have from the first."""
        if self.only_new:
            self._since = _moment(heard_utc)
        elif not isinstance(self._since, datetime):
            self._since = "all"

    def give_up(self) -> None:
        """What was before will not be had: only what is new is left."""
        self.only_new = True


def place_in(since: Since) -> Place | None:
    """The place, if the caller gave one."""
    return since if isinstance(since, Place) else None


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None

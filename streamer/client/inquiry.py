"""When to ask the daemon: one question at a time, asked again more and more seldom while no answer comes."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.delivery.requests import Ping, Replay

ANSWER_S = 5.0
"""How long to wait for an answer before asking again."""
FIRST_RETRY_S, LONGEST_RETRY_S = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that waits for its answer."""

    request: Ping | Replay
    head: int
    """The highest number that was known when it was sent: the answer cannot know of less."""
    at_s: float

    @property
    def since(self) -> int:
        """The number after which events were asked for."""
        return (self.request.since_seq or 0) if isinstance(self.request, Replay) else 0


class Inquiry:
    """Whether to ask, whether an answer is due, and when to ask again."""

    def __init__(self, now_s: float) -> None:
        self.wanted = True
        """Something has to be asked; it is, once the present question is answered."""
        self.asked: Asked | None = None
        self._ids = 0
        self.start_anew(now_s)

    def start_anew(self, now_s: float) -> None:
        """Another daemon: what the former one was asked it will not answer."""
        self.asked = None
        self._may_s = now_s
        self._failures = 0

    @property
    def has_asked(self) -> bool:
        """Whether any question could be sent so far."""
        return self._ids > 0

    def may_ask(self, now_s: float) -> bool:
        """Whether a question is to be sent now."""
        return self.wanted and self.asked is None and now_s >= self._may_s

    def next_id(self) -> str:
        """A name for the next question, so that late answers to earlier ones are not taken for its own."""
        self._ids += 1
        return str(self._ids)

    def sent(self, request: Ping | Replay, head: int, now_s: float) -> None:
        """The question is on its way."""
        self.wanted, self.asked = False, Asked(request, head, now_s)

    def succeeded(self) -> None:
        """The answer was of use."""
        self._failures = 0

    def failed(self, now_s: float) -> None:
        """There was no answer, or none of use."""
        self.asked, self.wanted = None, True
        self._may_s = now_s + min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)

    def due_s(self, now_s: float) -> float | None:
        """When time alone changes something; a question that may be sent now waits for the socket instead."""
        if self.asked is not None:
            return self.asked.at_s + ANSWER_S
        return self._may_s if self.wanted and now_s < self._may_s else None

    def tick(self, now_s: float) -> None:
        """Time has passed, and no answer lies unread."""
        if self.asked is not None and now_s >= self.asked.at_s + ANSWER_S:
            self.failed(now_s)

"""Control of a running daemon, verb by verb; `AsyncControl` is in streamer.client.aio."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self

import zmq

from streamer.client.pages import Page, read_page
from streamer.client.questions import ControlError, ControlFront, Question, ReplyT
from streamer.delivery import requests
from streamer.delivery.requests import Request

__all__ = ["Control", "ControlError"]


class Control(ControlFront):
    """Asks a daemon and tells it what to do; every verb waits `timeout_s` at most, else ControlError.

    `endpoint` is where it takes requests (by default the local daemon's), `credentials` are the keys for a
    daemon on another machine, or the directory in which they are. To be made, used and closed on one thread.
    """

    def ping(self) -> requests.PingReply:
        """Whether anybody is there, and how far the journal is."""
        return self._ask(requests.Ping(), requests.PingReply)

    def status(self) -> requests.StatusReply:
        """How all streams, the journal and the sockets are."""
        return self._ask(requests.Status(), requests.StatusReply)

    def streams(self) -> list[requests.StreamInfo]:
        """The streams."""
        return self._ask(requests.Streams(), requests.StreamsReply).streams

    def labels(self) -> list[requests.LabelInfo]:
        """The labels of each stream and the rules in force."""
        return self._ask(requests.Labels(), requests.LabelsReply).labels

    def replay(
        self,
        since_seq: int | None = None,
        *,
        since_utc: str | None = None,
        topics: Sequence[str] = (),
        limit: int = requests.REPLAY_MAX,
    ) -> Page:
        """A page of past events; ask again with its `last` as `since_seq` while there is more."""
        request = requests.Replay(since_seq=since_seq, since_utc=since_utc, topics=list(topics), limit=limit)
        asking = Question(request, requests.ReplayReply)
        return read_page(self._answer(asking), asking.bodies)

    def mute(self, stream: str | None = None) -> list[str]:
        """Stop listening on a stream, or on all; the streams that were told."""
        return self._ask(requests.Mute(stream=stream), requests.MuteReply).streams

    def unmute(self, stream: str | None = None) -> list[str]:
        """Listen again; the streams that were told."""
        return self._ask(requests.Unmute(stream=stream), requests.MuteReply).streams

    def threshold(
        self, label: str, value: float | None, stream: str | None = None
    ) -> requests.ThresholdReply:
        """Another threshold for a label until the daemon ends or reloads; None: as the config has it."""
        request = requests.Threshold(label=label, value=value, stream=stream)
        return self._ask(request, requests.ThresholdReply)

    def reload(self) -> list[str]:
        """Read the config again; the sections whose changes need a restart."""
        return self._ask(requests.Reload(), requests.ReloadReply).needs_restart

    def shutdown(self) -> None:
        """End the daemon."""
        self._ask(requests.Shutdown(), requests.Done)

    def _ask(self, request: Request, kind: type[ReplyT]) -> ReplyT:
        return self._answer(Question(request, kind))

    def _answer(self, asking: Question[ReplyT]) -> ReplyT:
        try:
            return self._exchange(asking)
        except ControlError:
            raise
        except BaseException:  # Ctrl-C: the request may still be on its way
            self._forget()
            raise

    def _exchange(self, asking: Question[ReplyT]) -> ReplyT:
        deadline_s = time.monotonic() + self.timeout_s
        self._wait(zmq.POLLOUT, deadline_s)
        self._socket.send(asking.frame, zmq.NOBLOCK)
        while True:
            self._wait(zmq.POLLIN, deadline_s)
            reply = asking.read(self._socket.recv_multipart(zmq.NOBLOCK))
            if reply is not None:
                return reply

    def _wait(self, flags: int, deadline_s: float) -> None:
        left_ms = max(0, round((deadline_s - time.monotonic()) * 1_000))
        if not self._socket.poll(left_ms, flags):
            raise self._nobody()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

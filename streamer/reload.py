"""Reading the config again while sound goes on: on a thread of its own, until all is ready."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from streamer.config import SECTIONS, Config
from streamer.delivery.mailbox import Mailbox
from streamer.delivery.outlet import Command
from streamer.delivery.requests import ReloadReply, Reply, RequestError, error_reply, failed_reply
from streamer.errors import ConfigError, StreamerError
from streamer.inference.model import Model
from streamer.outgoing import check_endpoints, find_security
from streamer.security.allowed import AllowList
from streamer.systemd import Notifier
from streamer.tuned import TunedModel, open_tuned

log = logging.getLogger("streamer")

CHANGEABLE = {
    "model": ("bundle", "bundles", "variant"),
    "engine": ("hop_ms", "history_s"),
    "publish": ("heartbeat_s",),
    "ingest": ("history_s",),
    "log": ("level",),
}
"""What can be taken over while running, beside streams and labels; the rest needs a restart."""
ASKED_MAX = 100
"""Clients that wait: a disk may hang for ever, and they go on asking."""
END_MAX_S = 2.0
"""How long the end of the daemon waits for the thread."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Another config, ready to be put in force."""

    config: Config
    """As it will be in force: what needs a restart is as it was."""
    models: list[TunedModel]
    allowed: AllowList
    needs_restart: list[str]
    """Sections with changes that are not in force."""


def prepare(fresh: Config, in_force: Config, known: Sequence[Model]) -> Prepared:
    """Read and check all that a config names; raises StreamerError."""
    check_endpoints(fresh)  # what would keep a daemon from starting is no config to take over
    config, needs_restart = merged(in_force, fresh)
    models = open_tuned(config.model, config.labels, known)
    security = find_security(config)
    return Prepared(config, models, security.allowed if security else AllowList(), needs_restart)


def merged(in_force: Config, fresh: Config) -> tuple[Config, list[str]]:
    """The fresh config as far as it can be taken over, and the sections where it cannot."""
    sections, needs_restart = {}, []
    for name in SECTIONS:
        old, new = getattr(in_force, name), getattr(fresh, name)
        fixed = {
            field: getattr(old, field)
            for field in old.__struct_fields__
            if field not in CHANGEABLE.get(name, ())
        }
        sections[name] = msgspec.structs.replace(new, **fixed)
        if sections[name] != new:
            needs_restart.append(name)
    return msgspec.structs.replace(fresh, **sections), needs_restart


class Reloader:
    """One reload after another. Who asks while one is under way gets another one after it.

    `load` reads the config, on the thread; `put_in_force` is called on the main thread and may refuse.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        put_in_force: Callable[[Prepared], None],
        answer: Callable[[Command, Reply], None],
        notifier: Notifier,
    ) -> None:
        self._load = load
        self._put_in_force = put_in_force
        self._answer = answer
        self._notifier = notifier
        self._outcome: Mailbox[Prepared | StreamerError] = Mailbox()
        self._thread: threading.Thread | None = None
        self._is_wanted = False
        self._asked: list[Command] = []
        self._answering: list[Command] = []  # those whom the reload under way will satisfy

    def fileno(self) -> int:
        """Readable when `advance` has something to do."""
        return self._outcome.fileno()

    def ask(self, command: Command | None = None) -> None:
        """Somebody wants the config to be read again; a client gets its answer when that is done."""
        self._is_wanted = True
        if command and len(self._asked) >= ASKED_MAX:
            self._answer(
                command, error_reply(RequestError("busy", "too many wait for a reload", "ask later"))
            )
        elif command:
            self._asked.append(command)

    def advance(self, in_force: Config, models: Sequence[TunedModel]) -> None:
        """Put in force what is ready, and begin anew if that is wanted."""
        for outcome in self._outcome.take(1):
            self._thread = None
            self._reply(self._settle(outcome))
            self._notifier.ready()
        if self._is_wanted and self._thread is None:
            self._is_wanted = False
            self._answering, self._asked = self._asked, []
            self._notifier.reloading(time.monotonic_ns() // 1000)
            known = [tuned.model for tuned in models]
            self._thread = threading.Thread(
                target=self._work, args=(in_force, known), name="reload", daemon=True
            )
            self._thread.start()

    def _work(self, in_force: Config, known: Sequence[Model]) -> None:
        try:
            self._outcome.put(prepare(self._load(), in_force, known))
        except StreamerError as error:
            self._outcome.put(error)
        except Exception as error:  # whatever a broken file does to a library must not end the daemon
            log.debug("reload", exc_info=True)
            self._outcome.put(StreamerError(f"unexpected {type(error).__name__}: {error}"))
        self._outcome.ring()

    def _settle(self, outcome: Prepared | StreamerError) -> Reply:
        try:
            if isinstance(outcome, StreamerError):
                raise outcome
            self._put_in_force(outcome)
        except StreamerError as error:
            faults = error.faults if isinstance(error, ConfigError) else [str(error)]
            for fault in faults:
                log.error("config not taken over: %s", fault)
            return failed_reply(error)
        if outcome.needs_restart:
            log.warning("changes in %s need a restart", ", ".join(outcome.needs_restart))
        return ReloadReply(needs_restart=outcome.needs_restart)

    def _reply(self, reply: Reply) -> None:
        for command in self._answering:
            self._answer(command, reply)
        self._answering = []

    def end(self) -> None:
        """The daemon stops: whoever waits is told."""
        self._answering += self._asked
        self._asked = []
        self._reply(error_reply(RequestError("not-available", "the daemon is stopping")))

    def close(self) -> None:
        """Let go of everything; a thread that hangs is left behind."""
        if self._thread:
            self._thread.join(END_MAX_S)
        self._outcome.close()

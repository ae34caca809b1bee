"""The daemon: start, listen, stop. The one file that owns signals, waiting and the order of things.

Everything here happens on the main thread, which never waits for disk or network. A process of its own
fills a microphone's ring and makes a file descriptor readable; the delivery thread keeps and publishes what
this one leaves in its mailbox, and makes one readable when clients want something; so does a thread that
reads config and models again. This loop sleeps on those.
"""

from __future__ import annotations

import contextlib
import logging
import math
import selectors
import threading
import time
from collections.abc import Callable
from pathlib import Path

from streamer.capture import head_start
from streamer.commands import Commands
from streamer.config import Config
from streamer.delivery.endpoints import RuntimeDirectory, runtime_directory
from streamer.delivery.messages import new_run
from streamer.delivery.requests import Reload
from streamer.errors import SoundError, StreamerError
from streamer.heartbeat import Heartbeat
from streamer.logs import set_level
from streamer.memory import give_back
from streamer.outgoing import find_security, open_metrics, open_outlet, open_shelf
from streamer.reload import Prepared, Reloader
from streamer.signals import Signals
from streamer.streams import Streams, announce
from streamer.systemd import Notifier
from streamer.telling import Display, Teller
from streamer.tuned import TunedModel, joined_name, label_count, open_tuned

log = logging.getLogger("streamer")

LOADED_S = 1.0
"""After the start everything has run once, and what has not will hardly run again."""


class Service:
    """Listens to the configured streams and publishes what it hears, until it is told to stop."""

    def __init__(
        self,
        config: Config,
        *,
        load: Callable[[], Config],
        display: Display | None = None,
        for_s: float | None = None,
    ) -> None:
        self._config = config
        self._load = load
        self._display = display
        self._for_s = for_s
        self._notifier = Notifier()
        self._signals = Signals()
        self._orders: set[int] = set()  # descriptors of those who ask for more than to listen

    def run(self) -> None:
        """The life of the daemon; raises StreamerError where it cannot start or go on."""
        self._started_s = time.monotonic()
        self._end_s = math.inf if self._for_s is None else self._started_s + self._for_s
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._signals)
            stack.callback(head_start.end)  # should there be no start
            self._start(stack)
            try:
                self._serve()
            except StreamerError:
                self._stop()  # subscribers are owed the open ends and the last message all the same
                raise
            self._stop()
        dry = [stream.source.description for stream in self._streams.own if stream.dry]
        if dry:
            raise SoundError(f"{' and '.join(dry)} ended without any sound", "see that its writer runs")

    def _serve(self) -> None:
        while self._going_on():
            if not self._wait().isdisjoint(self._orders):
                self._obey_signals()
                self._obey_commands()
                self._reloader.advance(self._config, self._streams.models)
            self._listen()
            self._heartbeat.tick()
            self._outlet.flush()

    # -- start ---------------------------------------------------------------------------------------

    def _start(self, stack: contextlib.ExitStack) -> None:
        """Bring the parts up in the order in which they need each other; the stack takes them down."""
        config = self._config
        models = open_tuned(config.model, config.labels)
        directory = Path(config.runtime.directory or runtime_directory()).absolute()
        stack.enter_context(RuntimeDirectory(directory))
        run_id = new_run()
        metrics = stack.enter_context(open_metrics(config.metrics)) if config.metrics.listen else None
        self._outlet = open_outlet(config, directory, run_id, metrics)
        stack.callback(self._outlet.close)
        self._selector = stack.enter_context(contextlib.closing(selectors.DefaultSelector()))
        self._start_listening(stack, models, run_id)
        self._reloader = Reloader(self._load, self._take_over, self._outlet.answer, self._notifier)
        stack.callback(self._reloader.close)
        for waker in (self._signals, self._outlet, self._reloader):
            self._selector.register(waker.fileno(), selectors.EVENT_READ)
            self._orders.add(waker.fileno())
        self._commands = Commands(
            self._streams.all, stop=self._signals.ask_to_stop, later=self._streams.remote
        )
        self._announce()
        later = threading.Timer(LOADED_S, give_back)
        later.daemon = True
        later.start()
        stack.callback(later.cancel)

    def _start_listening(self, stack: contextlib.ExitStack, models: list[TunedModel], run_id: str) -> None:
        config = self._config
        shelf = stack.enter_context(open_shelf(config.clips)) if config.clips.enabled else None
        teller = self._teller = Teller(run_id, self._outlet, self._display, shelf)
        streams = self._streams = Streams(config, models, teller, self._selector)
        stack.callback(streams.close)
        streams.open()
        head_start.end()  # nobody listens to what is left
        if config.ingest.endpoints:
            from streamer.remote_streams import RemoteStreams  # most take no sound from elsewhere

            streams.remote = RemoteStreams(config, models, find_security(config))
        self._heartbeat = Heartbeat(
            teller,
            self._notifier,
            streams,
            started_s=self._started_s,
            heartbeat_s=config.publish.heartbeat_s,
        )

    def _announce(self) -> None:
        announce(self._streams.own)
        self._tell_models()
        log.info("publishing on %s", ", ".join(self._outlet.publishing_on))
        if self._outlet.control_on:
            log.info("requests are answered on %s", ", ".join(self._outlet.control_on))
        if self._streams.remote:
            log.info("remote microphones are taken on %s", ", ".join(self._streams.remote.endpoints))
        self._heartbeat.beat()
        self._outlet.flush()
        self._notifier.ready()

    def _tell_models(self) -> None:
        models = self._streams.models
        ways = "+".join(tuned.model.variant for tuned in models)
        log.info("model %s (%s), %d labels", joined_name(models), ways, label_count(models))

    # -- listen --------------------------------------------------------------------------------------

    def _going_on(self) -> bool:
        if time.monotonic() >= self._end_s:
            return False
        return self._streams.going_on and not self._signals.stop

    def _wait(self) -> set[int]:
        """Sleep until there is sound, a signal, or something due; which descriptors are readable."""
        at_once = self._streams.doze(min(self._heartbeat.calm_s, self._end_s))
        next_s = max(0.0, self._heartbeat.latest_s - time.monotonic())
        ready = self._selector.select(0.0 if at_once else min(next_s, self._streams.wait_s()))
        return {key.fd for key, _ in ready}

    def _listen(self) -> None:
        self._streams.listen()
        if self._streams.remote:
            self._streams.remote.acknowledge(self._teller.seq, self._outlet.kept_seq)

    # -- orders and stop -----------------------------------------------------------------------------

    def _obey_signals(self) -> None:
        if self._signals.take_reload():
            self._reloader.ask()

    def _obey_commands(self) -> None:
        for command in self._outlet.take_commands():
            level = logging.INFO if command.request.right == "control" else logging.DEBUG
            log.log(level, "a client says %s", command.request.verb)
            if isinstance(command.request, Reload):
                self._reloader.ask(command)
            else:
                self._outlet.answer(command, self._commands.obey(command.request))
            self._heartbeat.hurry()  # another state is told at once

    def _take_over(self, prepared: Prepared) -> None:
        """Go on with another config; raises StreamerError, and then everything is as it was."""
        before = [tuned.model for tuned in self._streams.models]
        self._streams.change(prepared.config, prepared.models)
        self._heartbeat.say_goodbye()
        self._config = prepared.config
        self._outlet.replace_allowed(prepared.allowed)
        if self._streams.remote:
            self._streams.remote.replace_allowed(prepared.allowed)
        set_level(prepared.config.log.level)
        self._heartbeat.heartbeat_s = prepared.config.publish.heartbeat_s
        self._heartbeat.hurry()
        log.info("config read again, and in force")
        if [tuned.model for tuned in prepared.models] != before:
            self._tell_models()

    def _stop(self) -> None:
        """Take what is still in the rings, tell the last events, say goodbye."""
        self._notifier.stopping()
        self._reloader.end()
        self._streams.finish()
        self._heartbeat.finish()
        self._outlet.flush()
        if self._streams.remote:
            self._outlet.wait_kept(self._teller.seq)
            self._streams.remote.acknowledge(self._teller.seq, self._outlet.kept_seq, at_once=True)
        log.info("stopped after %d events", self._teller.events)

"""The daemon: start, listen, stop. The one file that owns signals, waiting and the order of things.

Everything here happens on the main thread, which never waits for disk or network. PortAudio's thread fills
the microphone's ring and makes a file descriptor readable; the delivery thread keeps and publishes what this
one leaves in its mailbox, and makes one readable when clients want something. This loop sleeps on those.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from streamer.audio import Chunk
from streamer.commands import Commands
from streamer.config import Config, tuned_rules
from streamer.decoding.rules import LabelRule
from streamer.delivery.endpoints import RuntimeDirectory, runtime_directory
from streamer.delivery.messages import Event, Health, new_run
from streamer.errors import ConfigError, SoundError, StreamerError
from streamer.inference.model import open_model
from streamer.live_stream import LiveStream
from streamer.logs import set_level
from streamer.outgoing import find_security, open_outlet
from streamer.pipeline import Output, ScoreBlock, advance
from streamer.remote_streams import RemoteStreams
from streamer.security.allowed import AllowList
from streamer.signals import Signals
from streamer.systemd import Notifier

log = logging.getLogger("streamer")

STREAMS_TOLD_BY_NAME = 8
"""In the status line; more are counted."""
TICK_S = 0.25
"""How often states and the watchdog are looked at when nothing else happens."""


class Display(Protocol):
    """Somebody at the terminal who watches along."""

    def heard(self, stream: LiveStream, chunk: Chunk) -> None:
        """Sound has come in."""

    def scored(self, stream: LiveStream, labels: list[str], block: ScoreBlock) -> None:
        """The model has spoken."""

    def told(self, record: Event | Health) -> None:
        """A message has gone out."""


class Service:
    """Listens to the configured streams and publishes what it hears, until it is told to stop."""

    def __init__(
        self,
        config: Config,
        *,
        reload: Callable[[], Config] | None = None,
        display: Display | None = None,
        for_s: float | None = None,
    ) -> None:
        self._config = config
        self._reload = reload
        self._display = display
        self._for_s = for_s
        self._notifier = Notifier()
        self._run_id = new_run()
        self._seq = self._first_seq = 0
        self._own: list[LiveStream] = []
        self._streams: list[LiveStream] = []  # those that are sent as well, while they last
        self._remote: RemoteStreams | None = None
        self._signals = Signals()

    def run(self) -> None:
        """The life of the daemon; raises StreamerError where it cannot start or go on."""
        self._started_s = time.monotonic()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._signals)
            self._start(stack)
            try:
                self._serve()
            except StreamerError:
                self._stop()  # subscribers are owed the open ends and the last message all the same
                raise
            self._stop()
        dry = [stream.source.description for stream in self._own if stream.dry]
        if dry:
            raise SoundError(f"{' and '.join(dry)} ended without any sound", "see that its writer runs")

    def _serve(self) -> None:
        while self._going_on():
            self._wait()
            self._obey_signals()
            self._obey_commands()
            self._listen()
            self._tick()
            self._outlet.flush()

    # -- start ---------------------------------------------------------------------------------------

    def _start(self, stack: contextlib.ExitStack) -> None:
        """Bring the parts up in the order in which they need each other; the stack takes them down."""
        config = self._config
        self._model = open_model(config.model.bundle, config.model.variant)
        rules = tuned_rules(self._model.bundle.manifest.labels, config.labels)
        directory = Path(config.runtime.directory or runtime_directory()).absolute()
        stack.enter_context(RuntimeDirectory(directory))
        self._outlet = open_outlet(config, directory, self._run_id)
        stack.callback(self._outlet.close)
        self._seq = self._first_seq = self._outlet.head_seq
        self._selector = stack.enter_context(contextlib.closing(selectors.DefaultSelector()))
        self._selector.register(self._signals.fileno(), selectors.EVENT_READ)
        self._selector.register(self._outlet.fileno(), selectors.EVENT_READ)
        self._open_streams(stack, rules)
        if config.ingest.endpoints:
            self._remote = RemoteStreams(config, self._model, rules, find_security(config))
            stack.callback(self._remote.close)
        self._commands = Commands(self._streams, reload=self._reload_config, stop=self._signals.ask_to_stop)
        self._begin_heartbeat()
        self._announce()

    def _open_streams(self, stack: contextlib.ExitStack, rules: list[LabelRule]) -> None:
        for settings in self._config.streams:
            stream = LiveStream(settings, self._config.engine, self._model, rules)
            stack.callback(stream.close)
            stream.open()
            self._own.append(stream)
            self._streams.append(stream)
            descriptor = stream.source.fileno()
            if descriptor is not None:
                self._selector.register(descriptor, selectors.EVENT_READ, stream)

    def _announce(self) -> None:
        for stream in self._streams:
            log.info("stream %s: %s", stream.name, stream.source.description)
        log.info(
            "model %s, %d labels; publishing on %s",
            self._model.name,
            len(self._model.labels),
            ", ".join(self._outlet.publishing_on),
        )
        if self._outlet.control_on:
            log.info("requests are answered on %s", ", ".join(self._outlet.control_on))
        if self._remote:
            log.info("remote microphones are taken on %s", ", ".join(self._remote.endpoints))
        self._send_health(self._streams)
        self._send_own_health()
        self._outlet.flush()
        self._notifier.ready()

    # -- listen --------------------------------------------------------------------------------------

    def _going_on(self) -> bool:
        if self._for_s is not None and time.monotonic() - self._started_s >= self._for_s:
            return False
        listening = self._remote is not None or any(not stream.ended for stream in self._own)
        return listening and not self._signals.stop

    def _wait(self) -> None:
        """Sleep until there is sound, a signal, or something due."""
        due = [stream.source.next_due_s() for stream in self._own if self._must_poll(stream)]
        if self._remote:
            due.append(self._remote.wait_s(self._selector))
        next_s = min(self._next_tick_s, self._next_beat_s) - time.monotonic()
        self._selector.select(min([max(0.0, next_s), *due]))

    def _must_poll(self, stream: LiveStream) -> bool:
        return not stream.ended and stream.source.fileno() is None

    def _listen(self) -> None:
        active = [stream for stream in self._own if not stream.ended]
        for stream in active:
            self._read(stream)
        if self._remote:
            active += self._listen_to_senders(self._remote)
        self._classify(active)
        if self._remote:
            self._remote.acknowledge()

    def _listen_to_senders(self, remote: RemoteStreams) -> list[LiveStream]:
        """Streams come, give sound and go; those that may have sound are returned."""
        arrivals = remote.receive()
        for stream in arrivals.opened:
            log.info("stream %s: %s", stream.name, stream.source.description)
            self._streams.append(stream)
        for stream, why in arrivals.ended:
            self._part_with(stream, why)
        for stream in arrivals.ready:
            while self._read(stream):
                pass
        return arrivals.ready

    def _part_with(self, stream: LiveStream, why: str) -> None:
        """A remote stream has come to its end: its last events, its last health message."""
        while self._read(stream):
            pass
        stream.end(why)
        self._classify([stream])
        self._has_news(stream)
        self._send_health([stream])
        self._streams.remove(stream)
        stream.close()

    def _read(self, stream: LiveStream) -> bool:
        """Take what the source has, up to the next gap; False where there was nothing."""
        descriptor = stream.source.fileno()
        chunk = stream.read()
        if chunk is not None and self._display:
            self._display.heard(stream, chunk)
        if stream.ended and descriptor is not None:
            self._selector.unregister(descriptor)
        warning = stream.take_warning()
        if warning:
            log.warning("stream %s: %s", stream.name, warning)
        return chunk is not None

    def _classify(self, streams: list[LiveStream]) -> None:
        advance(self._model.classifier, [stream.pipeline for stream in streams])
        for stream in streams:
            self._publish(stream, stream.take_output())

    def _publish(self, stream: LiveStream, output: Output) -> None:
        if output.scores and self._outlet.wants_frames(stream.name):
            for block in output.scores:
                self._outlet.put(stream.frames(block, self._run_id))
        if output.scores and self._display:
            self._display.scored(stream, self._model.labels, output.scores[-1])
        for event in stream.events(output.detections, self._run_id, self._outlet.journal_name, self._seq):
            self._seq = event.seq
            self._tell(event)
            log.log(*_log_line(event))

    def _tell(self, record: Event | Health) -> None:
        self._outlet.put(record)
        if self._display:
            self._display.told(record)

    # -- now and then --------------------------------------------------------------------------------

    def _begin_heartbeat(self) -> None:
        self._next_tick_s = self._next_beat_s = self._next_feed_s = 0.0
        self._beat_at = (time.monotonic(), time.process_time())
        self._cpu_percent: float | None = None

    def _tick(self) -> None:
        now_s = time.monotonic()
        if now_s < min(self._next_tick_s, self._next_beat_s):
            return
        self._next_tick_s = now_s + TICK_S
        changed = [stream for stream in self._streams if self._has_news(stream)]
        if now_s >= self._next_beat_s or (changed and len(changed) == len(self._streams)):
            self._next_beat_s = now_s + self._config.publish.heartbeat_s
            self._measure_cpu()
            self._send_health(self._streams)
            self._send_own_health()
        elif changed:
            self._send_health(changed)
        self._feed_watchdog(now_s)

    def _has_news(self, stream: LiveStream) -> bool:
        """Log a loss or a change of state; either is also worth a health message at once."""
        loss = stream.take_loss()
        if loss:
            log.warning("stream %s: %s", stream.name, loss)
        changed = stream.check_state()
        if changed:
            self._report_state(stream)
        return changed or bool(loss)

    def _report_state(self, stream: LiveStream) -> None:
        level = logging.WARNING if stream.state in ("stalled", "no-device") else logging.INFO
        log.log(
            level, "stream %s: %s%s", stream.name, stream.state, f", {stream.detail}" if stream.detail else ""
        )

    def _measure_cpu(self) -> None:
        before_s, used_before_s = self._beat_at
        self._beat_at = now_s, used_s = time.monotonic(), time.process_time()
        if now_s > before_s:
            self._cpu_percent = round(100 * (used_s - used_before_s) / (now_s - before_s), 2)

    def _send_health(self, streams: list[LiveStream]) -> None:
        uptime_s = time.monotonic() - self._started_s
        heartbeat_s = self._config.publish.heartbeat_s
        for stream in streams:
            if not stream.said_goodbye:
                self._tell(stream.health(self._run_id, self._seq, uptime_s, heartbeat_s, self._cpu_percent))
        self._notifier.status(
            f"{_states(self._streams)}; {self._seq - self._first_seq} events in {uptime_s:.0f} s"
        )

    def _send_own_health(self, *, final: bool = False) -> None:
        """A daemon that waits for senders has a heartbeat, too, although there may be no stream at all."""
        if self._remote:
            uptime_s = time.monotonic() - self._started_s
            heartbeat_s = self._config.publish.heartbeat_s
            self._tell(self._remote.health(self._run_id, self._seq, uptime_s, heartbeat_s, final=final))

    def _feed_watchdog(self, now_s: float) -> None:
        """Only while sound moves: a daemon that has gone deaf is to be restarted."""
        period_s = self._notifier.watchdog_s
        moving = all(stream.state in ("listening", "muted", "stopping") for stream in self._own)
        if period_s and moving and now_s >= self._next_feed_s:
            self._next_feed_s = now_s + period_s / 4
            self._notifier.alive()

    # -- orders and stop -----------------------------------------------------------------------------

    def _obey_signals(self) -> None:
        if self._signals.take_reload():
            with contextlib.suppress(StreamerError):  # it has been logged
                self._reload_config()

    def _obey_commands(self) -> None:
        for command in self._outlet.take_commands():
            level = logging.INFO if command.request.right == "control" else logging.DEBUG
            log.log(level, "a client says %s", command.request.verb)
            self._outlet.answer(command, self._commands.obey(command.request))
            self._next_tick_s = 0.0  # another state is told at once

    def _reload_config(self) -> list[str]:
        """Take over what can change while running, the rest is returned; a bad config changes nothing."""
        if self._reload is None:
            return []
        self._notifier.reloading(time.monotonic_ns() // 1000)
        try:
            return self._take_over(self._reload())
        except StreamerError as error:
            faults = error.faults if isinstance(error, ConfigError) else [str(error)]
            for fault in faults:
                log.error("config not taken over: %s", fault)
            raise
        finally:
            self._notifier.ready()

    def _take_over(self, fresh: Config) -> list[str]:
        rules = tuned_rules(self._model.bundle.manifest.labels, fresh.labels)
        security = find_security(fresh)
        allowed = security.allowed if security else AllowList()
        for stream in self._streams:
            stream.retune(rules)
        self._outlet.replace_allowed(allowed)
        if self._remote:
            self._remote.retune(rules)
            self._remote.replace_allowed(allowed)
        set_level(fresh.log.level)
        old, self._config = self._config, fresh
        fixed = [
            name
            for name in ("streams", "model", "engine", "journal", "control", "ingest", "runtime", "security")
            if getattr(old, name) != getattr(fresh, name)
        ]
        if (
            old.publish.endpoints != fresh.publish.endpoints
            or old.publish.high_water != fresh.publish.high_water
        ):
            fixed.append("publish")
        log.info("config read again: labels, log level, heartbeat and list of clients are in force")
        if fixed:
            log.warning("changes in %s need a restart", ", ".join(fixed))
        return fixed

    def _stop(self) -> None:
        """Take what is still in the rings, tell the last events, say goodbye."""
        self._notifier.stopping()
        for stream in self._streams:
            while stream.source.live and not stream.ended and self._read(stream):
                pass
            stream.end()
        self._classify(self._streams)
        for stream in self._streams:
            self._has_news(stream)
        self._measure_cpu()
        self._send_health(self._streams)
        self._send_own_health(final=True)
        self._outlet.flush()
        if self._remote:
            self._remote.acknowledge(at_once=True)
        log.info("stopped after %d events", self._seq - self._first_seq)


def _states(streams: list[LiveStream]) -> str:
    """What the streams are doing: each by name, or, where they are many, how many do what."""
    if len(streams) <= STREAMS_TOLD_BY_NAME:
        return ", ".join(f"{stream.name} {stream.state}" for stream in streams) or "no streams"
    counts = Counter(stream.state for stream in streams)
    return ", ".join(f"{count} streams {state}" for state, count in counts.most_common())


def _log_line(event: Event) -> tuple[int, str, str, str, str, float]:
    # An end is no news to somebody who reads the log: it only matters to programs.
    level = logging.DEBUG if event.phase == "end" else logging.INFO
    return level, "stream %s: %s %s (%.2f)", event.stream, event.kind, event.label, event.score

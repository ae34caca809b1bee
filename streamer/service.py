"""The daemon: start, listen, stop. The one file that owns signals, waiting and the order of things.

Everything here happens on the main thread. The only other thread is PortAudio's, which fills the
microphone's ring and makes a file descriptor readable; this loop sleeps on those descriptors.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import selectors
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Protocol

from streamer.audio import Chunk
from streamer.config import Config, tuned_rules
from streamer.decoding.rules import LabelRule
from streamer.delivery.endpoints import RuntimeDirectory, default_publish_endpoints, runtime_directory
from streamer.delivery.messages import Event, Health, new_run
from streamer.delivery.publisher import Publisher
from streamer.errors import ConfigError, SoundError, StreamerError
from streamer.inference.model import open_model
from streamer.live_stream import LiveStream
from streamer.logs import set_level
from streamer.pipeline import Output, ScoreBlock, advance
from streamer.systemd import Notifier

log = logging.getLogger("streamer")

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
        self._seq = 0
        self._streams: list[LiveStream] = []
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
        dry = [stream.source.description for stream in self._streams if stream.dry]
        if dry:
            raise SoundError(f"{' and '.join(dry)} ended without any sound", "see that its writer runs")

    def _serve(self) -> None:
        while self._going_on():
            self._wait()
            self._obey_signals()
            self._listen()
            self._tick()

    # -- start ---------------------------------------------------------------------------------------

    def _start(self, stack: contextlib.ExitStack) -> None:
        """Bring the parts up in the order in which they need each other; the stack takes them down."""
        config = self._config
        self._model = open_model(config.model.bundle, config.model.variant)
        rules = tuned_rules(self._model.bundle.manifest.labels, config.labels)
        directory = Path(config.runtime.directory or runtime_directory()).absolute()
        stack.enter_context(RuntimeDirectory(directory))
        endpoints = config.publish.endpoints or default_publish_endpoints(directory)
        self._publisher = stack.enter_context(Publisher(endpoints, send_high_water=config.publish.high_water))
        self._selector = stack.enter_context(contextlib.closing(selectors.DefaultSelector()))
        self._selector.register(self._signals.fileno(), selectors.EVENT_READ)
        self._open_streams(stack, rules)
        self._begin_heartbeat()
        self._announce()

    def _open_streams(self, stack: contextlib.ExitStack, rules: list[LabelRule]) -> None:
        for settings in self._config.streams:
            stream = LiveStream(settings, self._config.engine, self._model, rules)
            stack.callback(stream.close)
            stream.open()
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
            ", ".join(self._publisher.endpoints),
        )
        self._send_health()
        self._notifier.ready()

    # -- listen --------------------------------------------------------------------------------------

    def _going_on(self) -> bool:
        if self._for_s is not None and time.monotonic() - self._started_s >= self._for_s:
            return False
        return not self._signals.stop and any(not stream.ended for stream in self._streams)

    def _wait(self) -> None:
        """Sleep until there is sound, a signal, or something due."""
        due = [stream.source.next_due_s() for stream in self._streams if self._must_poll(stream)]
        next_s = min(self._next_tick_s, self._next_beat_s) - time.monotonic()
        self._selector.select(min([max(0.0, next_s), *due]))

    def _must_poll(self, stream: LiveStream) -> bool:
        return not stream.ended and stream.source.fileno() is None

    def _listen(self) -> None:
        for stream in self._streams:
            if not stream.ended:
                self._read(stream)
        self._classify()

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

    def _classify(self) -> None:
        advance(self._model.classifier, [stream.pipeline for stream in self._streams])
        for stream in self._streams:
            self._publish(stream, stream.take_output())

    def _publish(self, stream: LiveStream, output: Output) -> None:
        if output.scores and self._publisher.wants_frames(stream.name):
            for block in output.scores:
                self._publisher.send(stream.frames(block, self._run_id))
        if output.scores and self._display:
            self._display.scored(stream, self._model.labels, output.scores[-1])
        for event in stream.events(output.detections, self._run_id, self._seq):
            self._seq = event.seq
            self._tell(event)
            log.log(*_log_line(event))

    def _tell(self, record: Event | Health) -> None:
        self._publisher.send(record)
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
        if now_s >= self._next_beat_s or changed:
            self._next_beat_s = now_s + self._config.publish.heartbeat_s
            self._measure_cpu()
            self._send_health()
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

    def _send_health(self) -> None:
        uptime_s = time.monotonic() - self._started_s
        heartbeat_s = self._config.publish.heartbeat_s
        for stream in self._streams:
            if not stream.said_goodbye:
                self._tell(stream.health(self._run_id, self._seq, uptime_s, heartbeat_s, self._cpu_percent))
        states = ", ".join(f"{stream.name} {stream.state}" for stream in self._streams)
        self._notifier.status(f"{states}; {self._seq} events in {uptime_s:.0f} s")

    def _feed_watchdog(self, now_s: float) -> None:
        """Only while sound moves: a daemon that has gone deaf is to be restarted."""
        period_s = self._notifier.watchdog_s
        moving = all(stream.state in ("listening", "stopping") for stream in self._streams)
        if period_s and moving and now_s >= self._next_feed_s:
            self._next_feed_s = now_s + period_s / 4
            self._notifier.alive()

    # -- signals and stop ----------------------------------------------------------------------------

    def _obey_signals(self) -> None:
        if self._signals.take_reload() and self._reload:
            self._notifier.reloading(time.monotonic_ns() // 1000)
            self._apply_reload(self._reload)
            self._notifier.ready()

    def _apply_reload(self, reload: Callable[[], Config]) -> None:
        """Take over what can change while running; a bad config changes nothing."""
        try:
            fresh = reload()
            rules = tuned_rules(self._model.bundle.manifest.labels, fresh.labels)
        except StreamerError as error:
            faults = error.faults if isinstance(error, ConfigError) else [str(error)]
            for fault in faults:
                log.error("config not taken over: %s", fault)
            return
        for stream in self._streams:
            stream.retune(rules)
        set_level(fresh.log.level)
        old, self._config = self._config, fresh
        fixed = [
            name
            for name in ("streams", "model", "engine", "runtime")
            if getattr(old, name) != getattr(fresh, name)
        ]
        if (
            old.publish.endpoints != fresh.publish.endpoints
            or old.publish.high_water != fresh.publish.high_water
        ):
            fixed.append("publish")
        log.info("config read again: labels, log level and heartbeat are in force")
        if fixed:
            log.warning("changes in %s need a restart", ", ".join(fixed))

    def _stop(self) -> None:
        """Take what is still in the rings, tell the last events, say goodbye."""
        self._notifier.stopping()
        for stream in self._streams:
            while stream.source.live and not stream.ended and self._read(stream):
                pass
            stream.end()
        self._classify()
        for stream in self._streams:
            self._has_news(stream)
        self._measure_cpu()
        self._send_health()
        log.info("stopped after %d events", self._seq)


def _log_line(event: Event) -> tuple[int, str, str, str, str, float]:
    # An end is no news to somebody who reads the log: it only matters to programs.
    level = logging.DEBUG if event.phase == "end" else logging.INFO
    return level, "stream %s: %s %s (%.2f)", event.stream, event.kind, event.label, event.score


class Signals:
    """SIGTERM and SIGINT stop (a second one at once), SIGHUP reloads, SIGUSR1 prints every thread's stack."""

    def __init__(self) -> None:
        self.stop = False
        self._reload = False
        self._former: dict[int, object] = {}

    def take_reload(self) -> bool:
        """True once after each SIGHUP; also empties the wake-up descriptor."""
        with contextlib.suppress(BlockingIOError):
            self._wake_in.recv(64)
        asked, self._reload = self._reload, False
        return asked

    def fileno(self) -> int:
        """Readable after a signal, so that a sleeping loop notices."""
        return self._wake_in.fileno()

    def __enter__(self) -> Signals:
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self._former_wakeup = signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._former[number] = signal.signal(number, self._on_stop)
        self._former[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_reload)
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no standard error to print on
            faulthandler.register(signal.SIGUSR1, all_threads=True)
        return self

    def __exit__(self, *error: object) -> None:
        faulthandler.unregister(signal.SIGUSR1)
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._former_wakeup)
        self._wake_in.close()
        self._wake_out.close()

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True

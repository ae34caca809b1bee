"""The metrics by name: what is known of each stream and of the daemon, as prometheus_client takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
)

from streamer.config import INGEST_NAME
from streamer.delivery.messages import Health, JournalState, State
from streamer.delivery.outlet import Totals

EventKey = tuple[str, str, str, str]
"""Stream, label, kind, phase."""


class _Metric(NamedTuple):
    name: str
    told: str
    value: Callable[[Health], float | None]
    """None: not known at present, and left out."""


_STREAM_COUNTERS = (
    _Metric("listened_seconds", "Sound processed since the run began.", lambda health: health.listened_s),
    _Metric(
        "overruns", "Times that sound was lost because nobody fetched it.", lambda health: health.overruns
    ),
    _Metric("lost_samples", "Samples lost, at the source's rate.", lambda health: health.lost_samples),
    _Metric("gaps", "Breaks in the sound.", lambda health: health.gaps),
    _Metric("bad_samples", "Samples that were NaN or infinite.", lambda health: health.bad_samples),
    _Metric("clipped_samples", "Samples at or over full scale.", lambda health: health.clipped_samples),
)
_STREAM_GAUGES = (
    _Metric(
        "level_dbfs", "RMS level between two heartbeats; none in silence.", lambda health: health.level_dbfs
    ),
    _Metric("peak_dbfs", "Highest sample between two heartbeats.", lambda health: health.peak_dbfs),
    _Metric("lag_seconds", "Age of the newest sound when it was processed.", lambda health: health.lag_s),
    _Metric(
        "last_sample_age_seconds",
        "Seconds from the last sample to the heartbeat.",
        lambda health: health.last_sample_age_s,
    ),
    _Metric(
        "drift_ppm", "How much faster than ours the microphone's clock runs.", lambda health: health.drift_ppm
    ),
)
_DAEMON_GAUGES = (
    _Metric("uptime_seconds", "From the run's beginning to the heartbeat.", lambda health: health.uptime_s),
    _Metric(
        "cpu_percent", "Processor time, recorders included, of one core.", lambda health: health.cpu_percent
    ),
    _Metric("labels", "Labels of all models together.", lambda health: health.label_count),
    _Metric("journal_seq", "Number of the last event before the heartbeat.", lambda health: health.seq),
    _Metric("journal_oldest_seq", "The journal keeps nothing before it.", lambda health: health.oldest_seq),
    _Metric("journal_pending", "Events that wait to be written.", lambda health: health.journal_pending),
)


def families(
    health: Mapping[str, tuple[Health, float]],
    events: Mapping[EventKey, int],
    totals: Totals,
    now_s: float,
) -> Iterator[Any]:
    """All of them, from the last health message of each stream and when it came."""
    streams = {name: told for name, (told, _) in health.items() if name != INGEST_NAME or told.listened_s}
    yield from _of_streams(streams)
    age = GaugeMetricFamily(
        "streamer_stream_health_age_seconds", "Since the last heartbeat of the stream.", labels=["stream"]
    )
    for name in streams:
        age.add_metric([name], max(0.0, now_s - health[name][1]))
    yield age
    yield _events(events)
    if health:
        newest, _ = max(health.values(), key=lambda told: told[1])
        yield from _of_daemon(newest)
    yield from _of_delivery(totals)


def _of_streams(streams: Mapping[str, Health]) -> Iterator[Any]:
    info = InfoMetricFamily("streamer_stream", "What the stream listens to.", labels=["stream"])
    state = StateSetMetricFamily("streamer_stream_state", "What the stream does.", labels=["stream"])
    for name, told in streams.items():
        info.add_metric([name], {"source": told.source, "model": told.model})
        state.add_metric([name], {known: known == told.state for known in get_args(State)})
    yield info
    yield state
    for family, metrics in ((CounterMetricFamily, _STREAM_COUNTERS), (GaugeMetricFamily, _STREAM_GAUGES)):
        for metric in metrics:
            made = family(f"streamer_stream_{metric.name}", metric.told, labels=["stream"])
            for name, told in streams.items():
                if (value := metric.value(told)) is not None:
                    made.add_metric([name], value)
            yield made


def _events(events: Mapping[EventKey, int]) -> Any:
    made = CounterMetricFamily(
        "streamer_events", "Events told in this run.", labels=["stream", "label", "kind", "phase"]
    )
    for key, count in events.items():
        made.add_metric(list(key), count)
    return made


def _of_daemon(newest: Health) -> Iterator[Any]:
    yield InfoMetricFamily(
        "streamer",
        "This run of the daemon.",
        value={
            "version": newest.version,
            "run": newest.run,
            "journal": newest.journal,
            "model": newest.model,
        },
    )
    for metric in _DAEMON_GAUGES:
        if (value := metric.value(newest)) is not None:
            yield GaugeMetricFamily(f"streamer_{metric.name}", metric.told, value)
    yield StateSetMetricFamily(
        "streamer_journal_state",
        "How the journal is.",
        value={known: known == newest.journal_state for known in get_args(JournalState)},
    )


def _of_delivery(totals: Totals) -> Iterator[Any]:
    yield GaugeMetricFamily("streamer_connections", "To the sockets for events.", totals.connections)
    yield GaugeMetricFamily(
        "streamer_subscriptions", "Prefixes that are subscribed to.", totals.subscriptions
    )
    yield CounterMetricFamily("streamer_messages_sent", "Messages published.", totals.sent)
    yield CounterMetricFamily(
        "streamer_subscriber_overflows", "Times that a slow subscriber began to lose.", totals.overflows
    )
    yield CounterMetricFamily(
        "streamer_frames_dropped", "Frame scores left out since delivery was behind.", totals.frames_dropped
    )

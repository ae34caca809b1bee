"""The way out as the config has it: journal, sockets, keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamer.config import ClipsConfig, Config, MetricsConfig
from streamer.delivery.endpoints import (
    CONTROL,
    INGEST,
    PUBLISH,
    check_bind_endpoint,
    default_publish_endpoints,
    local_endpoints,
    security_for,
)
from streamer.delivery.journal import Journal
from streamer.delivery.journal_place import default_journal_path, state_directory
from streamer.delivery.outlet import Outlet, Tap
from streamer.errors import MissingExtra
from streamer.security.setup import Security

if TYPE_CHECKING:
    from streamer.bridges.metrics import Metrics
    from streamer.clips.shelf import ClipShelf


def find_security(config: Config) -> Security | None:
    """The keys and the list of clients that the config names; None where nobody else can come in."""
    endpoints = [*config.publish.endpoints, *config.control.endpoints, *config.ingest.endpoints]
    return security_for(endpoints, config.security.keys, config.security.allowed)


def check_endpoints(config: Config) -> None:
    """Whether the addresses that the config names could be bound, keys included; raises StreamerError."""
    security = find_security(config)
    for use, section in ((PUBLISH, config.publish), (CONTROL, config.control), (INGEST, config.ingest)):
        for text in section.endpoints:
            check_bind_endpoint(text, use, security)
    if config.metrics.listen:
        open_metrics(config.metrics)


def open_metrics(config: MetricsConfig) -> Metrics:
    """What Prometheus asks, to be entered; raises StreamerError where it cannot be had."""
    from streamer.bridges.listening import check_listen

    listen = config.listen or ""
    check_listen(listen, "metrics.listen")
    try:
        from streamer.bridges.metrics import Metrics
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "prometheus_client", "metrics") from error
    return Metrics(listen)


def open_shelf(config: ClipsConfig) -> ClipShelf:
    """The directory of clips, to be entered."""
    from streamer.clips.shelf import ClipShelf  # most keep none

    directory = Path(config.directory) if config.directory else state_directory() / "clips"
    return ClipShelf(directory, config.max_mb, config.max_age_days)


def open_outlet(config: Config, directory: Path, run: str, tap: Tap | None = None) -> Outlet:
    """Journal and sockets as the config has them, running; raises StreamerError."""
    kept = config.journal
    journal = None
    if kept.enabled:
        path = Path(kept.path or default_journal_path())
        journal = Journal(path, sync=kept.sync, max_age_days=kept.max_age_days, max_mb=kept.max_mb)
    outlet = Outlet(
        run,
        journal,
        publish=config.publish.endpoints or default_publish_endpoints(directory),
        control=config.control.endpoints or local_endpoints(directory, CONTROL)[:1],
        send_high_water=config.publish.high_water,
        security=find_security(config),
        clients_max=config.security.max_clients,
        tap=tap,
    )
    outlet.start()
    return outlet

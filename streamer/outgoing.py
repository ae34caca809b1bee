"""The way out as the config has it: journal, sockets, keys."""

from __future__ import annotations

from pathlib import Path

from streamer.config import Config
from streamer.delivery.endpoints import CONTROL, default_publish_endpoints, local_endpoints, security_for
from streamer.delivery.journal import Journal
from streamer.delivery.journal_place import default_journal_path
from streamer.delivery.outlet import Outlet
from streamer.security.setup import Security


def find_security(config: Config) -> Security | None:
    """The keys and the list of clients that the config names; None where nobody else can come in."""
    endpoints = [*config.publish.endpoints, *config.control.endpoints, *config.ingest.endpoints]
    return security_for(endpoints, config.security.keys, config.security.allowed)


def open_outlet(config: Config, directory: Path, run: str) -> Outlet:
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
    )
    outlet.start()
    return outlet

"""`streamer doctor`: what a bug report needs, and what stands in the way of listening."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from streamer import __version__
from streamer.errors import EXIT_FAILURE, EXIT_OK, ConfigError, StreamerError

if TYPE_CHECKING:
    from streamer.config import Config

HELP = "Check everything that listening needs and print what a bug report needs."
EXAMPLE = "  streamer doctor"

PACKAGES = (
    "numpy",
    "onnxruntime",
    "pyzmq",
    "sounddevice",
    "soundfile",
    "soxr",
    "msgspec",
    "torch",
    "safetensors",
    "prometheus_client",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of doctor."""
    parser.add_argument("--config", metavar="FILE", help="check with these settings")


def run(options: argparse.Namespace) -> int:
    """Exit status 0 when nothing is wrong."""
    from streamer.config import load_config

    for line in _about():
        print(line)
    if not _check("config", lambda: _config(options.config)):
        print(f"{'the rest':<12} is not checked: it depends on the config")
        return EXIT_FAILURE
    config = load_config(options.config)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("model", lambda: _model(config)),
        ("microphone", lambda: _microphones(config)),
        ("runtime dir", lambda: _runtime_directory(config)),
        ("journal", lambda: _journal(config)),
        ("control", lambda: _control(config)),
        ("metrics", lambda: _metrics(config)),
        ("keys", lambda: _keys(config)),
        ("watchdog", _watchdog),
    ]
    failed = [not _check(name, check) for name, check in checks]  # all of them, not up to the first
    return EXIT_OK if sum(failed) == 0 else EXIT_FAILURE


def _check(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"{name:<12} ok    {check()}")
        return True
    except ConfigError as error:
        for fault in error.faults:
            print(f"{name:<12} FAULT {fault}")
    except StreamerError as error:
        print(f"{name:<12} FAULT {error}")
    return False


def _about() -> Iterator[str]:
    import platform

    system = platform.uname()
    yield f"{'streamer':<12} {__version__} in {Path(__file__).resolve().parent.parent}"
    yield f"{'python':<12} {sys.version.split()[0]} in {sys.prefix}"
    yield f"{'system':<12} {system.system} {system.release} {system.machine}, {_distribution()}"
    load = " ".join(f"{average:.2f}" for average in os.getloadavg())
    yield f"{'processor':<12} {os.cpu_count()} cores, load {load}"
    yield f"{'packages':<12} {', '.join(_versions())}"
    yield f"{'PortAudio':<12} {_portaudio()}"
    yield f"{'kernel':<12} {_kernel()}"
    variables = [
        f"{name}={text}" for name, text in sorted(os.environ.items()) if name.startswith("STREAMER_")
    ]
    yield f"{'environment':<12} {', '.join(variables) or 'no STREAMER_ variables'}"


def _metrics(config: Config) -> str:
    from streamer.outgoing import open_metrics

    if not config.metrics.listen:
        return "off"
    open_metrics(config.metrics)
    return config.metrics.listen


def _kernel() -> str:
    from streamer.kernel import why_none

    return why_none() or "built: resampling, features and LSTM models"


def _distribution() -> str:
    import platform

    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown distribution"


def _versions() -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version  # a third of what --help would take

    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} not installed"


def _portaudio() -> str:
    from streamer.capture.devices import load_sounddevice

    try:
        return str(load_sounddevice().get_portaudio_version()[1])
    except StreamerError as error:
        return str(error)


def _config(path: str | None) -> str:
    from streamer.config import default_config_path, load_config

    config = load_config(path)
    return f"{path or default_config_path() or 'defaults, no file'}, {len(config.streams)} stream(s)"


def _model(config: Config) -> str:
    from streamer.tuned import open_tuned

    return "; ".join(
        f"{tuned.model.name} {tuned.model.bundle.manifest.version}, {len(tuned.rules)} labels, "
        f"hashes good, in {tuned.model.bundle.folder}"
        for tuned in open_tuned(config.model, config.labels)
    )


def _microphones(config: Config) -> str:
    from streamer.live_stream import try_source

    wanted = [stream for stream in config.streams if stream.source == "microphone"]
    opened = [try_source(stream, config.engine) for stream in wanted]
    return ", ".join(opened) or "not needed by any stream"


def _runtime_directory(config: Config) -> str:
    from streamer.delivery.endpoints import RuntimeDirectory

    directory = _runtime_path(config)
    if not directory.exists():
        return f"{directory} will be made"
    with RuntimeDirectory(directory):
        return f"{directory}, free to use"


def _journal(config: Config) -> str:
    import contextlib

    from streamer.delivery.journal_place import JournalPlace, default_journal_path
    from streamer.delivery.store import Refusal, Store

    if not config.journal.enabled:
        return "off: what nobody receives is lost"
    place = JournalPlace(Path(config.journal.path or default_journal_path()))
    if not place.database.exists():
        return f"{place.database} will be made"
    try:
        place.take()
        with contextlib.closing(Store(place.database, read_only=True)) as store:
            store.check(every_event=True)
            numbers = f"events {store.pruned_through + 1} to {store.head_seq}"
    except Refusal as error:
        raise StreamerError(
            f"{place.database}: {error}", "a daemon that starts mends what can be mended, and says so"
        ) from None
    finally:
        place.release()
    return f"{place.database}, {numbers}, {place.size_bytes / 1e6:.1f} MB, whole"


def _control(config: Config) -> str:
    from streamer.delivery.endpoints import CONTROL, check_bind_endpoint, local_endpoints, security_for

    endpoints = config.control.endpoints
    security = security_for(endpoints, config.security.keys, config.security.allowed)
    for endpoint in endpoints:
        check_bind_endpoint(endpoint, CONTROL, security)
    return ", ".join(endpoints) or local_endpoints(_runtime_path(config), CONTROL)[0]


def _keys(config: Config) -> str:
    from streamer.errors import SecurityError
    from streamer.outgoing import find_security
    from streamer.security.keys import OWN_KEY
    from streamer.security.known import KNOWN_FILE, read_known
    from streamer.security.setup import open_security

    security = open_security(config.security.keys, config.security.allowed)
    lacks, remedy = security.lacking()
    if lacks and find_security(config):
        raise SecurityError(f"an address in the config can be reached from other machines: {lacks}", remedy)
    known = read_known(security.directory / KNOWN_FILE)
    if security.keys is None and not len(security.allowed) and not known:
        return f"none in {security.directory}: only this machine, which needs none"
    own = f"the pair of {security.keys.name}" if security.keys else f"no {OWN_KEY}"
    return (
        f"{own}, {len(security.allowed)} clients may come in, {len(known)} daemons are trusted, "
        f"in {security.directory}"
    )


def _runtime_path(config: Config) -> Path:
    from streamer.delivery.endpoints import runtime_directory

    return Path(config.runtime.directory or runtime_directory()).absolute()


def _watchdog() -> str:
    from streamer.systemd import Notifier

    period_s = Notifier().watchdog_s
    return f"fed every {period_s / 4:g} s" if period_s else "not run by systemd"

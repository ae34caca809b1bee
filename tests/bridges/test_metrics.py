"""What Prometheus gets, asked for as it asks: over HTTP, and read by its own parser."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from streamer.client import Control
from streamer.config import MetricsConfig
from streamer.delivery.messages import Event, Health
from streamer.delivery.outlet import Totals
from streamer.errors import MissingExtra, SocketError
from streamer.outgoing import open_metrics
from tests.support.daemon import ROOT, Daemon, run_command
from tests.support.tones import make_tone_scene

pytest.importorskip(
    "prometheus_client", reason="prometheus_client is not installed (pip install '.[metrics]')"
)

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from streamer.bridges import metrics as metrics_module
from streamer.bridges.metrics import Metrics

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
BUSY = 7
"""Exit status for an address that cannot be used."""


def fetch(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return str(answer.read().decode())


def scrape(url: str) -> Samples:
    """Every sample by its name and labels; each is there once."""
    found: Samples = {}
    for family in text_string_to_metric_families(fetch(url)):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def streams_in(samples: Samples) -> set[str]:
    return {text for _, labels in samples for name, text in labels if name == "stream"}


def make_health(stream: str = "kitchen", **changes: Any) -> Health:
    known: dict[str, Any] = {
        "run": "5f3a", "stream": stream, "state": "listening", "detail": "", "final": False,
        "time_utc": "2026-01-31T12:00:05.000Z", "uptime_s": 65.0, "heartbeat_s": 5.0, "seq": 3,
        "source": 'a "mic"\n', "listened_s": 64.5, "level_dbfs": -42.5, "peak_dbfs": -18.25,
        "overruns": 1, "lost_samples": 2, "gaps": 3,
        "bad_samples": 4, "clipped_samples": 5, "lag_s": 0.05, "last_sample_age_s": 0.03, "cpu_percent": 1.5,
        "drift_ppm": 12.5, "version": "0.1.0", "model": "default", "label_count": 12,
    }  # fmt: skip
    return Health(**{**known, **changes})


def make_event(stream: str = "kitchen", label: str = "dog_bark", phase: Any = "start") -> Event:
    return Event(
        run="5f3a", seq=1, stream=stream, kind="sound", label=label, phase=phase, onset_s=1.0, offset_s=None,
        detected_s=1.5, score=0.9, time_utc="2026-01-31T12:00:05.000Z", model="default",
    )  # fmt: skip


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    with Metrics("127.0.0.1:0") as made:
        yield made


def test_a_daemon_tells_all_that_health_tells(models: Path, tmp_path: Path) -> None:
    sound = make_tone_scene(16_000, 0.9, (("mid", 0.4, 0.6),))
    soundfile.write(tmp_path / "loop.wav", sound.samples, 16_000)
    arguments = ("--file", str(tmp_path / "loop.wav"), "--loop", "--stream", "kitchen")
    with Daemon(*arguments, models=models, environment={"STREAMER_METRICS_LISTEN": "127.0.0.1:0"}) as daemon:
        found = re.search(r"metrics are on (http\S+)", daemon.stderr)
        assert found, daemon.stderr
        url = found[1]
        daemon.hear_health(lambda health: health.listened_s > 2)
        before = scrape(url)
        daemon.hear_health(lambda health: health.listened_s > 4)
        while len(daemon.events) < 3:
            daemon.hear_event("mid", "hit")
        after = scrape(url)
        with Control(daemon.control) as control:
            health = control.status().streams[0]
        kitchen = {"stream": "kitchen"}
        hit = {**kitchen, "label": "mid", "kind": "keyword", "phase": "hit"}
        counters = ("streamer_stream_listened_seconds_total", "streamer_messages_sent_total")
        assert (
            value(before, counters[0], **kitchen) < value(after, counters[0], **kitchen) <= health.listened_s
        )
        assert value(before, counters[1]) < value(after, counters[1])
        assert value(before, "streamer_events_total", **hit) > 0
        assert len(daemon.events) <= value(after, "streamer_events_total", **hit) <= health.seq
        state = {**kitchen, "streamer_stream_state": "listening"}
        assert value(after, "streamer_stream_state", **state) == 1
        assert value(after, "streamer_journal_state", streamer_journal_state="ok") == 1
        assert value(after, "streamer_stream_level_dbfs", **kitchen) < 0
        assert value(after, "streamer_stream_health_age_seconds", **kitchen) < 5
        assert value(after, "streamer_subscriptions") >= 3
        assert value(after, "streamer_connections") >= 1
        about = {"version": health.version, "run": health.run, "journal": health.journal, "model": "tiny"}
        assert value(after, "streamer_info", **about) == 1
        assert value(after, "process_resident_memory_bytes") > 1e7
        assert daemon.stop() == 0
        with pytest.raises(urllib.error.URLError):
            fetch(url)
    assert "Traceback" not in daemon.stderr


def test_the_documented_names_are_all_there_is(metrics: Metrics) -> None:
    metrics.told(make_health())
    metrics.told(make_event())
    names = {name for name, _ in scrape(metrics.url) if not name.startswith("process_")}
    text = (ROOT / "docs/METRICS.md").read_text("utf-8")
    assert names == set(re.findall(r"^\| `(streamer_\w+)` \|", text, re.MULTILINE))


def test_values_of_health_events_and_totals(metrics: Metrics) -> None:
    metrics.told(make_health())
    for phase in ("start", "end", "start"):
        metrics.told(make_event(phase=phase))
    metrics.counted(Totals(connections=1, subscriptions=2, sent=3, overflows=4, frames_dropped=5))
    samples = scrape(metrics.url)
    kitchen = {"stream": "kitchen"}
    told = {
        name: value(samples, f"streamer_stream_{name}", **kitchen)
        for name in (
            *("overruns_total", "lost_samples_total", "gaps_total", "bad_samples_total"),
            *("clipped_samples_total", "level_dbfs", "peak_dbfs", "lag_seconds", "last_sample_age_seconds"),
            *("drift_ppm", "listened_seconds_total"),
        )
    }
    assert list(told.values()) == [1, 2, 3, 4, 5, -42.5, -18.25, 0.05, 0.03, 12.5, 64.5]
    sounds = {**kitchen, "label": "dog_bark", "kind": "sound"}
    counts = [value(samples, "streamer_events_total", **sounds, phase=phase) for phase in ("start", "end")]
    assert counts == [2, 1]
    totals = ("connections", "subscriptions", "messages_sent_total", "subscriber_overflows_total")
    assert [value(samples, f"streamer_{name}") for name in totals] == [1, 2, 3, 4]
    assert value(samples, "streamer_frames_dropped_total") == 5
    assert value(samples, "streamer_stream_info", **kitchen, source='a "mic"\n', model="default") == 1
    states = [labels for name, labels in samples if name == "streamer_stream_state"]
    assert len(states) == 6


def test_a_stream_that_goes_away_vanishes_and_what_is_not_known_is_left_out(metrics: Metrics) -> None:
    assert streams_in(scrape(metrics.url)) == set()
    for stream in ("kitchen", "attic"):
        metrics.told(make_health(stream, level_dbfs=None, drift_ppm=None))
        metrics.told(make_event(stream))
    samples = scrape(metrics.url)
    assert streams_in(samples) == {"kitchen", "attic"}
    assert "streamer_stream_level_dbfs" not in {name for name, _ in samples}
    metrics.told(make_health("kitchen", final=True, state="stopping"))
    assert streams_in(scrape(metrics.url)) == {"attic"}
    metrics.told(make_health("ingest", listened_s=0.0, source="remote microphones"))
    assert streams_in(scrape(metrics.url)) == {"attic"}, "that stands for no stream"
    metrics.told(make_health("kitchen", listened_s=0.5))
    samples = scrape(metrics.url)
    assert value(samples, "streamer_stream_listened_seconds_total", stream="kitchen") == 0.5
    assert not [
        labels
        for name, labels in samples
        if name == "streamer_events_total" and ("stream", "kitchen") in labels
    ]


def test_openmetrics_is_to_be_had_and_well_formed(metrics: Metrics) -> None:
    metrics.told(make_health())
    text = fetch(metrics.url, Accept="application/openmetrics-text; version=1.0.0")
    families = {family.name for family in openmetrics.text_string_to_metric_families(text)}
    assert {"streamer_stream_overruns", "streamer_stream_state", "streamer"} <= families


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9469", "10.0.0.1:9469", ""])
def test_nobody_is_found_by_the_name_of_another_host(metrics: Metrics, host: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(metrics.url, Host=host)
    assert refused.value.code == 403
    refused.value.close()


@pytest.mark.parametrize("host", ["localhost:9469", "localhost", "[::1]:9469", "127.0.0.1"])
def test_names_of_this_machine_will_do(metrics: Metrics, host: str) -> None:
    assert "streamer_connections" in fetch(metrics.url, Host=host)


def test_there_is_nothing_else(metrics: Metrics) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(metrics.url.replace("/metrics", "/"))
    assert refused.value.code == 404
    refused.value.close()


def test_whoever_says_nothing_keeps_nobody_waiting(metrics: Metrics) -> None:
    """While some do, others are answered; only so many are let in."""
    address = http.client.urlsplit(metrics.url)
    assert address.hostname is not None
    with contextlib.ExitStack() as stack:
        for _ in range(metrics_module.SCRAPES_AT_ONCE - 1):
            silent = stack.enter_context(socket.create_connection((address.hostname, address.port)))
        assert "streamer_connections" in fetch(metrics.url)
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.recv(1)  # it is still waited for


def test_whoever_says_nothing_does_not_keep_others_out_for_ever(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module._Handler, "timeout", 0.5)
    address = http.client.urlsplit(metrics.url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port)) as silent:
        silent.sendall(b"GET /metrics")
        assert "streamer_connections" in fetch(metrics.url)
    with socket.create_connection((address.hostname, address.port)) as gone:
        gone.sendall(b"\x16\x03\x01\x00nonsense\r\n\r\n")
    assert "streamer_connections" in fetch(metrics.url)


def test_it_ends_although_somebody_is_connected() -> None:
    with Metrics("[::1]:0") as made:
        assert made.url.startswith("http://[::1]:")
        with socket.create_connection(("::1", int(made.url.split(":")[-1].split("/")[0]))):
            time.sleep(0.1)
            began_s = time.monotonic()
            made.__exit__(None, None, None)
            assert time.monotonic() - began_s < 10


def test_a_port_that_is_taken_is_one_clear_line(models: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command(
            *("run", "--model", "tiny", "--demo", "--runtime-dir", str(tmp_path / "r"), "--no-live"),
            models=models,
            environment={"STREAMER_METRICS_LISTEN": f"127.0.0.1:{port}"},
        )
    assert done.returncode == BUSY
    assert done.stderr.splitlines()[-1] == (
        f"streamer: metrics cannot be had on 127.0.0.1:{port}: Address already in use; "
        "choose another port with metrics.listen; is another daemon running?"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9469", "[::]:9469", "192.168.1.2:9469", "*:9469", "lab.local:9469"]
)
def test_other_machines_are_kept_out(models: Path, tmp_path: Path, listen: str) -> None:
    path = tmp_path / "streamer.toml"
    path.write_text(f'[model]\nbundle = "tiny"\n[metrics]\nlisten = "{listen}"\n')
    done = run_command("check-config", "--config", str(path), models=models)
    assert done.returncode == BUSY
    assert f"metrics.listen: other machines can reach {listen}" in done.stderr


@pytest.mark.parametrize("listen", ["9469", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:9469", ":9469"])
def test_what_is_no_address(listen: str) -> None:
    with pytest.raises(SocketError, match="is no address; expected HOST:PORT"):
        open_metrics(MetricsConfig(listen=listen))


def test_without_the_package_its_install_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("streamer.bridges.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtra, match=r"pip install 'streamer\[metrics\]'"):
        open_metrics(MetricsConfig(listen="127.0.0.1:9469"))

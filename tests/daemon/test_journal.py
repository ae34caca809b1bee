"""Whole daemons with a journal and a control socket: restarts, kills, replay, and what clients may want."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from streamer.delivery.messages import Event, decode
from streamer.errors import EXIT_JOURNAL
from tests.daemon.conftest import Write
from tests.support.daemon import Daemon, run_command
from tests.support.tones import make_tone_scene

Ask = Any


@pytest.fixture
def blips(write_wav: Write) -> Path:
    """The keyword "mid" again and again, played in a loop."""
    return write_wav(make_tone_scene(16_000, 0.8, (("mid", 0.4, 0.6),)).samples)


@contextmanager
def control(daemon: Daemon) -> Iterator[Ask]:
    """Ask by keyword: ask("mute", stream="kitchen") gives the reply and the frames after it."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, 20_000)
    socket.connect(daemon.control)

    def ask(do: str, **fields: Any) -> tuple[dict[str, Any], list[bytes]]:
        socket.send(json.dumps({"v": 1, "id": do, "do": do, **fields}).encode())
        first, *rest = socket.recv_multipart()
        reply = json.loads(first)
        assert reply["id"] == do
        return reply, rest

    try:
        yield ask
    finally:
        socket.close()
        context.term()


def replayed(ask: Ask, **fields: Any) -> list[Event]:
    """All that the journal gives, page by page."""
    events: list[Event] = []
    since = fields.pop("since_seq", 0)
    while True:
        reply, bodies = ask("replay", since_seq=since, limit=3, **fields)
        assert reply["ok"], reply
        assert reply["lost"] == []
        for body in bodies:
            told = json.loads(body)
            topic = f"{told['kind']}.{told['label']}.{told['stream']}".encode()
            record = decode([topic, body])
            assert isinstance(record, Event)
            events.append(record)
        since = reply["through_seq"]
        if not reply["more"]:
            return events


def hear(daemon: Daemon, count: int) -> None:
    for _ in range(count):
        daemon.hear_event("mid", "hit")


def test_numbers_go_on_and_replay_gives_what_was_published(
    models: Path, blips: Path, rng: np.random.Generator
) -> None:
    with Daemon("--file", str(blips), "--loop", models=models) as daemon:
        hear(daemon, 2)
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            if number == signal.SIGTERM:
                assert daemon.stop() == 0
                daemon.hear_final()
            else:
                hear(daemon, int(rng.integers(1, 3)))
                daemon.stop(number)
            daemon.restart()
            hear(daemon, 2)
        with control(daemon) as ask:
            kept = replayed(ask)
        assert [event.seq for event in kept] == list(range(1, len(kept) + 1))
        assert len({event.journal for event in kept}) == 1
        by_seq = {event.seq: event for event in kept}
        assert len(daemon.events) >= 9
        for event in daemon.events:
            assert by_seq[event.seq] == event
        assert len({event.run for event in kept}) == 4
        health = daemon.hear_health(lambda health: True)
        assert (health.journal, health.journal_state, health.oldest_seq) == (kept[0].journal, "ok", 1)
        assert daemon.stop() == 0
        assert "stopped after" in daemon.stderr
    assert not [line for line in daemon.stderr.splitlines() if "WARNING" in line or "ERROR" in line]


def test_every_verb(models: Path, blips: Path, tmp_path: Path) -> None:
    config = tmp_path / "streamer.toml"
    config.write_text("")
    with Daemon("--file", str(blips), "--loop", "--config", str(config), models=models) as daemon:
        hear(daemon, 1)
        with control(daemon) as ask:
            reply, _ = ask("ping")
            assert reply["ok"]
            assert reply["run"] == daemon.events[0].run
            assert reply["seq"] >= 1
            reply, _ = ask("status")
            assert [health["stream"] for health in reply["streams"]] == ["default"]
            assert reply["journal"]["path"] == str(daemon.journal)
            assert sorted(reply["subscriptions"]) == ["health.", "keyword.", "sound."]
            reply, _ = ask("streams")
            assert [(info["stream"], info["state"]) for info in reply["streams"]] == [
                ("default", "listening")
            ]
            reply, _ = ask("labels")
            rules = {rule["label"]: rule for rule in reply["labels"]}
            assert list(rules) == ["low", "mid", "high"]
            before = rules["mid"]["threshold"]

            assert ask("threshold", label="mid", value=0.999)[0]["threshold"] == 0.999
            assert _rule(ask, "mid")["threshold"] == 0.999
            assert _rule(ask, "low") == rules["low"]
            assert ask("threshold", label="mid", value=None)[0]["threshold"] == before
            assert _rule(ask, "mid") == rules["mid"]
            reply, _ = ask("threshold", label="nobody", value=0.5)
            assert reply["error"]["code"] == "bad-request"
            assert "low, mid, high" in reply["error"]["remedy"]
            reply, _ = ask("mute", stream="nowhere")
            assert reply["error"]["message"] == "there is no stream nowhere"

            ask("threshold", label="mid", value=0.9)
            config.write_text("[labels.low]\nthreshold = 0.77\n[engine]\nring_s = 40\n")
            assert ask("reload")[0]["needs_restart"] == ["engine"]
            assert _rule(ask, "low")["threshold"] == 0.77
            assert _rule(ask, "mid") == rules["mid"], "a reload ends what was set over the socket"
            config.write_text("[labels.low]\nthreshold = 7\n")
            reply, _ = ask("reload")
            assert reply["error"]["code"] == "failed"
            assert "labels.low.threshold: 7" in reply["error"]["message"]
            assert _rule(ask, "low")["threshold"] == 0.77

            reply, _ = ask("shutdown")
            assert reply == {"v": 1, "id": "shutdown", "ok": True}
        assert daemon.wait() == 0
        assert daemon.hear_final().state == "stopping"


def _rule(ask: Ask, label: str) -> dict[str, Any]:
    return next(rule for rule in ask("labels")[0]["labels"] if rule["label"] == label)


def test_mute_ends_what_is_on_and_unmute_listens_again(models: Path, write_wav: Write) -> None:
    path = write_wav(make_tone_scene(16_000, 4, (("high", 0.5, 3.9),)).samples)
    with Daemon("--file", str(path), "--loop", models=models) as daemon, control(daemon) as ask:
        start = daemon.hear_event("high", "start")
        assert ask("mute")[0]["streams"] == ["default"]
        end = daemon.hear_event("high", "end")
        assert (end.reason, end.onset_s) == ("muted", start.onset_s)
        daemon.hear_health(lambda health: health.state == "muted")
        assert ask("streams")[0]["streams"][0]["state"] == "muted"
        known = len(daemon.events)
        for _ in range(12):  # heartbeats, of a fifth of a second
            health = daemon.hear_health(lambda health: True)
            assert (health.state, health.level_dbfs) == ("muted", None)
        assert len(daemon.events) == known
        assert ask("unmute", stream="default")[0]["streams"] == ["default"]
        again = daemon.hear_event("high", "start")
        assert again.seq == end.seq + 1
        assert again.onset_s > end.detected_s + 2, "the clock went on"
        health = daemon.hear_health(lambda health: health.state == "listening")
        assert (health.gaps, health.lost_samples) == (0, 0), "what one did not want to hear is not lost"
        assert daemon.stop() == 0


def test_muted_all_the_time(models: Path, scene_wav: Path) -> None:
    """A file that nobody wanted to hear is no file without sound."""
    with Daemon("--file", str(scene_wav), models=models) as daemon, control(daemon) as ask:
        ask("mute")
        assert daemon.hear_final().seq == 0
        assert daemon.wait() == 0


def test_without_a_journal(models: Path, blips: Path) -> None:
    with Daemon("--file", str(blips), "--loop", "--no-journal", models=models) as daemon:
        hear(daemon, 6)
        event = daemon.events[-1]
        assert (event.journal, event.seq >= 6) == ("", True)
        health = daemon.hear_health(lambda health: True)
        assert (health.journal, health.journal_state, health.oldest_seq) == ("", "off", 0)
        with control(daemon) as ask:
            assert ask("replay")[0]["error"]["code"] == "not-available"
        assert not daemon.journal.parent.exists()
        daemon.stop(signal.SIGKILL)
        daemon.restart()
        again = daemon.hear(lambda record: isinstance(record, Event) and record.run != event.run)
        assert isinstance(again, Event)
        assert again.seq < event.seq, "the numbers begin anew"
        assert daemon.stop() == 0


def test_two_daemons_want_two_journals(models: Path, scene_wav: Path) -> None:
    arguments = [
        "run",
        "--file",
        str(scene_wav),
        "--fast",
        "--model",
        "tiny",
        "--publish",
        "tcp://127.0.0.1:*",
    ]
    with Daemon("--file", str(scene_wav), "--loop", models=models) as daemon:
        own = [*arguments, "--runtime-dir", str(daemon.runtime / "other")]
        state = {"XDG_STATE_HOME": str(daemon.runtime / "state")}
        refused = run_command(*own, models=models, environment=state)
        assert refused.returncode == EXIT_JOURNAL
        assert refused.stderr.count("\n") == 1, refused.stderr
        assert f"another streamer keeps its journal in {daemon.journal}" in refused.stderr
        assert "`--journal PATH` or `--no-journal`" in refused.stderr
        for more in (["--journal", str(daemon.runtime / "two/two.db")], ["--no-journal"]):
            done = run_command(*own, *more, models=models, environment=state)
            assert done.returncode == 0, done.stderr
        assert (daemon.runtime / "two/two.db").stat().st_mode & 0o777 == 0o600
        assert daemon.stop() == 0


def test_a_journal_open_to_others_is_refused(models: Path, scene_wav: Path, tmp_path: Path) -> None:
    place = tmp_path / "state"
    arguments = [
        "run",
        "--file",
        str(scene_wav),
        "--fast",
        "--model",
        "tiny",
        "--publish",
        "tcp://127.0.0.1:*",
    ]
    arguments += ["--runtime-dir", str(tmp_path / "run"), "--journal", str(place / "journal.db")]
    assert run_command(*arguments, models=models).returncode == 0
    (place / "journal.db").chmod(0o644)
    refused = run_command(*arguments, models=models)
    assert refused.returncode == EXIT_JOURNAL
    assert f"`chmod 600 {place / 'journal.db'}`" in refused.stderr
    (place / "journal.db").chmod(0o600)
    place.chmod(0o755)
    assert f"`chmod 700 {place}`" in run_command(*arguments, models=models).stderr


def test_a_damaged_journal_is_told_and_mended(models: Path, blips: Path) -> None:
    with Daemon("--file", str(blips), "--loop", models=models) as daemon:
        hear(daemon, 3)
        assert daemon.stop() == 0
        head = daemon.hear_final().seq
        data = daemon.journal.read_bytes()
        daemon.journal.write_bytes(data[: len(data) // 2])
        daemon.restart()
        health = daemon.hear_health(lambda health: health.run != daemon.events[0].run)
        assert "was damaged" in health.journal_detail
        assert health.journal_state == "ok"
        assert health.seq >= head
        assert health.journal == daemon.events[0].journal
        assert daemon.hear_event("mid", "hit").seq > head
        daemon.wait_log("was damaged")
        assert list(daemon.journal.parent.glob("journal.db.corrupt-*"))
        assert daemon.stop() == 0


def test_a_journal_that_cannot_be_written_silences_nobody(models: Path, blips: Path, tmp_path: Path) -> None:
    (tmp_path / "no-directory").write_text("")
    unusable = tmp_path / "no-directory/state/journal.db"
    with Daemon("--file", str(blips), "--loop", "--journal", str(unusable), models=models) as daemon:
        event = daemon.hear_event("mid", "hit")
        assert (event.seq, len(event.journal)) == (1, 16)
        health = daemon.hear_health(lambda health: health.journal_pending > 0)
        assert health.journal_state == "failing"
        assert "cannot be written" in health.journal_detail
        with control(daemon) as ask:
            assert replayed(ask)[0] == event
        assert daemon.stop() == 0
        assert "could not be written to the journal" in daemon.stderr

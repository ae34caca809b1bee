"""A daemon that other machines can reach: who may do what, with keys made by the commands that people use."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from streamer.cli import main
from streamer.client import ControlError, Subscriber, knocking
from streamer.client.control import Control
from streamer.security.keys import OWN_KEY, KeyPair, read_pair, write_pair
from streamer.security.known import Credentials, secure_client, trust
from streamer.security.watch import REFUSED
from tests.support.daemon import HEAR_TIMEOUT_S, ROOT, Daemon, run_command

SHORT_S = 0.4
REFUSAL_S = 3.0
"""Time for a refusal to arrive on a busy machine."""
EVERYWHERE = "tcp://0.0.0.0:*"
CLIENTS = {"bob": ["--listen"], "boss": ["--listen", "--control"], "mic": ["--send"], "eve": []}
SOCKET, CONFIG = 7, 3


def keys(*arguments: str, directory: Path) -> str:
    """`streamer keys`; what it prints."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert main(["keys", *arguments, "--keys", str(directory)]) == 0
    return shown.getvalue()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, KeyPair]:
    """Keys of the daemon and of all clients, each made on its own machine."""
    base = tmp_path_factory.mktemp("keys")
    made = {}
    for name in ("daemon", *CLIENTS):
        keys("new", name, directory=base / name)
        pair = read_pair(base / name / OWN_KEY)
        assert pair is not None
        made[name] = pair
    return made


@pytest.fixture
def house(tmp_path: Path, pairs: dict[str, KeyPair]) -> Path:
    """The daemon's directory of keys."""
    directory = tmp_path / "house"
    directory.mkdir(mode=0o700)
    (directory / OWN_KEY).touch(0o600)
    daemon = pairs["daemon"]
    (directory / OWN_KEY).write_text(
        f'public-key = "{daemon.public}"\nsecret-key = "{daemon.secret}"\n'  # as other programs write it
    )
    for name, rights in CLIENTS.items():
        if rights:
            keys("allow", name, pairs[name].public, *rights, directory=directory)
    return directory


class House:
    """The daemon and its addresses."""

    def __init__(self, daemon: Daemon, pairs: dict[str, KeyPair]) -> None:
        self.daemon = daemon
        self.pairs = pairs
        daemon.wait_log("requests are answered on")
        self.events = self._port("publishing on")
        self.requests = self._port("requests are answered on")

    def _port(self, words: str) -> str:
        found = re.search(rf"{words} .*tcp://0\.0\.0\.0:(\d+)", self.daemon.stderr)
        assert found, self.daemon.stderr
        return f"tcp://127.0.0.1:{found[1]}"

    def credentials(self, who: str) -> Credentials:
        return Credentials(self.pairs["daemon"].public, self.pairs[who].public, self.pairs[who].secret)

    def listen(self, who: str) -> Subscriber:
        return Subscriber(
            self.events, topics=("keyword.", "sound.", "health."), credentials=self.credentials(who)
        )

    def control(self, who: str, timeout_s: float = HEAR_TIMEOUT_S) -> Control:
        return Control(self.requests, credentials=self.credentials(who), timeout_s=timeout_s)

    def code(self, who: str, verb: str, timeout_s: float = HEAR_TIMEOUT_S) -> str:
        """The error that this client gets; "" if it is obeyed."""
        with self.control(who, timeout_s) as control:
            try:
                getattr(control, verb)()
            except ControlError as error:
                return error.code
        return ""


@pytest.fixture
def open_house(house: Path, pairs: dict[str, KeyPair], models: Path, scene_wav: Path) -> Iterator[House]:
    """A daemon that every machine can reach, with a tone that comes again and again."""
    with Daemon(
        "--file",
        str(scene_wav),
        "--loop",
        "--control",
        EVERYWHERE,
        models=models,
        publish=["ipc", EVERYWHERE],
        environment={"STREAMER_SECURITY_KEYS": str(house), "STREAMER_SECURITY_MAX_CLIENTS": "16"},
    ) as daemon:
        yield House(daemon, pairs)


def test_each_may_do_what_his_key_allows(open_house: House, caplog: pytest.LogCaptureFixture) -> None:
    with open_house.listen("bob") as bob:
        assert next(bob.events()).label in {"low", "mid", "high"}
    assert [open_house.code("bob", verb) for verb in ("status", "mute", "shutdown")] == [
        "",
        "forbidden",
        "forbidden",
    ]
    assert [open_house.code("boss", verb) for verb in ("status", "mute", "unmute")] == ["", "", ""]
    for who in ("mic", "eve"):
        with open_house.control(who, REFUSAL_S) as control:
            with pytest.raises(ControlError, match="the daemon refuses this key") as caught:
                control.status()
            assert caught.value.code == "no-answer"
        with open_house.listen(who) as deaf:
            assert deaf.receive(REFUSAL_S) is None
            assert deaf.trouble is REFUSED
    assert caplog.text.count("the daemon refuses this key; let it in on the daemon's machine") == 2
    log = open_house.daemon.stderr
    for who, why in (("mic", "mic has no right to listen"), ("eve", "unknown key")):
        lines = [line for line in log.splitlines() if open_house.pairs[who].public in line]
        # once at each of the two sockets, however often they tried
        assert [line.count(why) for line in lines] == [1, 1], log
    assert not any(pair.secret in log for pair in open_house.pairs.values())
    assert open_house.daemon.stop() == 0


def test_the_list_is_read_again(open_house: House, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knocking, "AGAIN_S", 1.0)
    assert open_house.code("bob", "ping") == ""
    with contextlib.ExitStack() as stack:
        bob, boss = (stack.enter_context(open_house.listen(who)) for who in ("bob", "boss"))
        assert bob.receive(HEAR_TIMEOUT_S) is not None
        assert boss.receive(HEAR_TIMEOUT_S) is not None
        patient = stack.enter_context(open_house.listen("eve"))
        assert patient.receive(SHORT_S) is None
        keys("revoke", "bob", directory=house)
        keys("allow", "eve", open_house.pairs["eve"].public, directory=house)
        open_house.daemon.signal(signal.SIGHUP)
        open_house.daemon.wait_log("config read again")
        while bob.receive(SHORT_S) is not None:  # what was on its way
            pass
        assert bob.receive(SHORT_S) is None
        assert patient.receive(HEAR_TIMEOUT_S) is not None, "who was refused tries again"
        health = boss.health
        while boss.health is health:
            assert boss.receive(HEAR_TIMEOUT_S) is not None, "whoever may stay is back by himself"
    assert open_house.code("bob", "ping", SHORT_S) == "no-answer"
    assert open_house.code("eve", "ping") == ""
    (house / "allowed.toml").chmod(0o644)
    open_house.daemon.signal(signal.SIGHUP)
    open_house.daemon.wait_log("is open to others (mode 0644)")
    assert open_house.code("eve", "ping") == "", "a list that cannot be trusted changes nothing"


def test_who_asks_without_end_keeps_nobody_waiting(open_house: House) -> None:
    context = zmq.Context()
    bob = context.socket(zmq.DEALER)
    try:
        bob.setsockopt(zmq.LINGER, 0)
        secure_client(bob, open_house.credentials("bob"))
        bob.connect(open_house.requests)
        bob.send(b'{"v":1,"do":"ping"}')
        assert bob.poll(HEAR_TIMEOUT_S * 1000)
        refused = False
        with open_house.control("boss") as boss, open_house.listen("boss") as subscriber:
            for _ in range(100):
                with contextlib.suppress(zmq.Again):  # even ZeroMQ makes him wait
                    for _ in range(500):
                        bob.send(b'{"v":1,"do":"ping"}', zmq.NOBLOCK)
                while bob.poll(10):
                    refused |= b'"busy"' in bob.recv()
                assert boss.ping().run
                if refused:
                    break
            assert subscriber.receive(HEAR_TIMEOUT_S) is not None
        assert refused
    finally:
        bob.close()
        context.term()


@pytest.mark.parametrize("size", [70_000, 3_000_000])
def test_a_request_that_is_too_long(open_house: House, size: int) -> None:
    context = zmq.Context()
    bob = context.socket(zmq.DEALER)
    try:
        bob.setsockopt(zmq.LINGER, 0)
        secure_client(bob, open_house.credentials("bob"))
        bob.connect(open_house.requests)
        bob.send(b'{"v":1,"do":"ping","id":"' + b"x" * size + b'"}')
        if size < 1_000_000:
            assert bob.poll(HEAR_TIMEOUT_S * 1000)
            assert b'"too-large"' in bob.recv()
        else:  # the connection is closed without reading it
            assert not bob.poll(SHORT_S * 1000)
        assert open_house.code("boss", "ping") == ""
    finally:
        bob.close()
        context.term()


def test_one_key_does_not_take_all_places(open_house: House) -> None:
    greedy = [open_house.control("bob") for _ in range(4)]  # a quarter of the 16 places
    try:
        assert all(control.ping() for control in greedy)
        assert open_house.code("bob", "ping", SHORT_S) == "no-answer"
        assert open_house.code("boss", "ping") == ""
    finally:
        for control in greedy:
            control.close()


def test_on_loopback_everybody_may_listen_and_nobody_control(models: Path, scene_wav: Path) -> None:
    with Daemon(
        "--file", str(scene_wav), "--loop", "--control", "tcp://127.0.0.1:*", models=models, publish=["ipc"]
    ) as daemon:
        daemon.wait_log("requests are answered on")
        found = re.search(r"answered on (tcp://127\.0\.0\.1:\d+)", daemon.stderr)
        assert found
        with Control(found[1]) as control:
            assert control.status().streams
            with pytest.raises(ControlError, match="has no right to control") as caught:
                control.mute()
            assert caught.value.code == "forbidden"


# -- what a daemon does not start with ---------------------------------------------------------------


class Attempt:
    """A daemon that is to be reached from everywhere."""

    def __init__(self, option: str, tmp_path: Path, models: Path, scene_wav: Path) -> None:
        self.house = tmp_path / "keys"
        self._models = models
        self._arguments = [
            "--model",
            "tiny",
            "--file",
            str(scene_wav),
            "--no-journal",
            option,
            "tcp://*:7799",
        ]
        self._arguments += ["--runtime-dir", str(tmp_path / "r")]
        self._arguments += [] if option == "--publish" else ["--publish", f"ipc://{tmp_path}/e"]

    def refusal(self, status: int, lines: int = 1) -> str:
        environment = {"STREAMER_SECURITY_KEYS": str(self.house)}
        done = run_command("run", *self._arguments, models=self._models, environment=environment)
        assert (done.returncode, done.stderr.count("\n")) == (status, lines), done.stderr
        return done.stderr


@pytest.mark.parametrize("option", ["--publish", "--control", "--ingest"])
def test_without_keys_nobody_else_can_reach_it(
    tmp_path: Path, models: Path, scene_wav: Path, option: str
) -> None:
    attempt = Attempt(option, tmp_path, models, scene_wav)
    told = attempt.refusal(SOCKET)
    assert (
        f"tcp://*:7799 is not on loopback: it needs a key pair, and there is none in {attempt.house}" in told
    )
    assert "`streamer keys new`, then `streamer keys allow NAME KEY`" in told


def test_what_else_it_lacks_is_told_step_by_step(tmp_path: Path, models: Path, scene_wav: Path) -> None:
    attempt = Attempt("--publish", tmp_path, models, scene_wav)
    house = attempt.house
    keys("new", "daemon", directory=house)
    assert f"a list of clients, and there is none in {house}/allowed.toml" in attempt.refusal(SOCKET)
    keys("allow", "bob", keys("show", "--plain", directory=house).strip(), directory=house)
    (house / OWN_KEY).chmod(0o640)
    told = attempt.refusal(CONFIG)
    assert f"{house}/own.key is open to others (mode 0640); `chmod 600 {house}/own.key`" in told
    (house / OWN_KEY).chmod(0o600)
    (house / "allowed.toml").write_text('[clients.bob]\nkey = "x"\nrights = ["dance"]\n')
    attempt.refusal(CONFIG, lines=2)  # every fault of the list


def test_a_daemon_of_this_machine_alone_asks_for_no_keys(
    models: Path, scene_wav: Path, tmp_path: Path
) -> None:
    loose = tmp_path / "keys"
    keys("new", directory=loose)
    (loose / OWN_KEY).chmod(0o666)
    with Daemon(
        "--file", str(scene_wav), models=models, environment={"STREAMER_SECURITY_KEYS": str(loose)}
    ) as daemon:
        daemon.hear_event("low", "hit")


def test_check_config_sees_what_run_would(tmp_path: Path, models: Path) -> None:
    config = tmp_path / "streamer.toml"
    house = tmp_path / "keys"
    for section in ("publish", "control", "ingest"):
        config.write_text(
            f'[model]\nbundle = "tiny"\n[security]\nkeys = "{house}"\n[{section}]\nendpoints = ["tcp://*:7799"]\n'
        )
        done = run_command("check-config", "--config", str(config), models=models)
        assert (done.returncode, "it needs a key pair" in done.stderr) == (SOCKET, True), done.stderr
    keys("new", directory=house)
    keys("allow", "bob", keys("show", "--plain", directory=house).strip(), directory=house)
    done = run_command("check-config", "--config", str(config), models=models)
    assert (done.returncode, done.stderr) == (0, "")


# -- the six commands of docs/SECURITY.md ------------------------------------------------------------


def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the way
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


def test_the_six_commands_of_the_book(tmp_path: Path, models: Path, scene_wav: Path) -> None:
    """As they stand in docs/SECURITY.md, with real keys, and this machine's address for the lab's."""
    book = (ROOT / "docs/SECURITY.md").read_text()
    lines = [shlex.split(line) for line in re.findall(r"^(?:lab|laptop)\$ .*", book, re.MULTILINE)]
    assert [line[1] for line in lines] == ["streamer"] * 6
    address, (events, requests) = own_address(), two_ports_in_a_row()
    here = {
        "KEY OF LAPTOP": "",
        "KEY OF LAB": "",
        "lab.local": address,
        "tcp://*:7790": f"tcp://*:{events}",
        "tcp://*:7791": f"tcp://*:{requests}",
        "tcp://lab.local:7790": f"tcp://{address}:{events}",
    }

    def run(line: list[str], *more: str) -> str:
        arguments = [here.get(word, word) for word in line[2:]]
        done = run_command(*arguments, *more, environment=machine(line[0]), timeout_s=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def machine(prompt: str) -> dict[str, str]:
        return {
            "STREAMER_SECURITY_KEYS": str(tmp_path / prompt.rstrip("$")),
            "XDG_RUNTIME_DIR": str(tmp_path),
        }

    for line, whose in ((lines[0], "KEY OF LAB"), (lines[1], "KEY OF LAPTOP")):
        here[whose] = re.findall(r"public key: (.*)", run(line))[0]
    run(lines[2])
    assert lines[3][:3] == ["lab$", "streamer", "run"]
    given = [here[word] for word in lines[3] if word in here]
    with Daemon(
        "--file",
        str(scene_wav),
        "--loop",
        "--control",
        given[1],
        models=models,
        publish=[given[0]],
        environment=machine("lab$"),
    ):
        run(lines[4])
        shown = run(lines[5], "--count", "3", "--json")
    labels = [json.loads(line)["label"] for line in shown.splitlines()]
    assert len(labels) == 3
    assert set(labels) <= {"low", "mid", "high"}


def test_the_commands_find_keys_where_the_settings_say(
    tmp_path: Path, models: Path, scene_wav: Path, house: Path, pairs: dict[str, KeyPair]
) -> None:
    """As the daemon does: `streamer keys` has put them there, too."""
    address = own_address()
    for name in ("boss", "mic"):
        write_pair(tmp_path / name / OWN_KEY, pairs[name])
        trust(tmp_path / name, address, pairs["daemon"].public)
        (tmp_path / f"{name}.toml").write_text(f'[security]\nkeys = "{tmp_path / name}"\n')
    broken = tmp_path / "broken.toml"
    broken.write_text("nonsense")
    with Daemon(
        *("--file", str(scene_wav), "--loop", "--control", EVERYWHERE, "--ingest", EVERYWHERE),
        *("--control", f"ipc://{tmp_path}/c"),
        models=models,
        publish=["ipc", EVERYWHERE],
        environment={"STREAMER_SECURITY_KEYS": str(house)},
    ) as daemon:
        daemon.wait_log("remote microphones are taken on")
        opened = [f"tcp://{address}:{port}" for port in re.findall(r"tcp://0\.0\.0\.0:(\d+)", daemon.stderr)]
        events, requests, ingest = opened

        def status(config: str, *arguments: str) -> tuple[int, str]:
            settings = {"STREAMER_CONFIG": str(tmp_path / config), "HOME": str(tmp_path)}
            done = run_command(*arguments, environment=settings, timeout_s=60)
            return done.returncode, done.stderr

        subscribe = ("subscribe", "--connect", events, "--control", requests, "--count", "1")
        send = ("send", "--to", ingest, "--file", str(scene_wav), "--stream", "mic")
        assert status("boss.toml", "ctl", "mute", "--endpoint", requests) == (0, "")
        assert status("boss.toml", "ctl", "unmute", "--endpoint", requests) == (0, "")
        assert status("boss.toml", *subscribe) == (0, "")
        assert status("mic.toml", *send)[0] == 0
        assert status("broken.toml", "ctl", "ping", "--endpoint", f"ipc://{tmp_path}/c") == (0, "")
        assert status("broken.toml", "ctl", "ping", "--endpoint", requests)[0] == CONFIG
        nowhere = status("boss.toml", "ctl", "ping", "--endpoint", requests, "--keys", str(tmp_path / "no"))
        assert nowhere[0] == CONFIG
        assert "is not known" in nowhere[1]
        assert daemon.stop() == 0


def two_ports_in_a_row() -> tuple[int, int]:
    """Free ones, the second one above the first."""
    for _ in range(100):
        with socket.create_server(("", 0)) as first:
            port = int(first.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError), socket.create_server(("", port + 1)):
                return port, port + 1
    raise AssertionError("no two ports are free")

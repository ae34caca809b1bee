"""Each example, run as a program against a real publisher; what is not installed is a visible skip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
import zmq

from streamer.delivery.publisher import Publisher
from streamer.security.allowed import AllowList, Client
from streamer.security.guard import Guard, GuardThread
from streamer.security.keys import OWN_KEY, make_pair, write_pair
from streamer.security.setup import Security
from tests.support.fake_daemon import FakeDaemon

EXAMPLES = Path(__file__).parents[2] / "examples"
ROOT = EXAMPLES.parent
DEADLINE_S = 30.0
COUNT = 3


@pytest.fixture
def endpoint() -> str:
    """The examples' own sort of address, on any free port."""
    return "tcp://127.0.0.1:*"


@pytest.fixture
def events(make_event: Any) -> list[Any]:
    """What the examples are to hear: a keyword and a whole sound."""
    return [
        make_event(kind="keyword", label="hello", phase="hit", offset_s=12.75),
        make_event(seq=2),
        make_event(seq=3, phase="end", offset_s=13.0),
    ]


def _environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {"PYTHONPATH": path} | more


def _run(
    command: Sequence[str],
    publisher: Publisher,
    events: Sequence[Any],
    env: dict[str, str],
    keys: Sequence[str] = (),
) -> str:
    """Run until it has heard all events and has left by itself; its standard output."""
    full = [*command, publisher.endpoints[0], str(COUNT), *keys]
    with subprocess.Popen(
        full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        try:
            for topic in ("keyword.", "sound."):
                if not publisher.wait_wanted(topic, DEADLINE_S):
                    pytest.fail(f"it never subscribed to {topic}: {_ending(process)}")
            for event in events:
                publisher.send(event)
            out, err = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    return out


def _ending(process: subprocess.Popen[str]) -> tuple[str, str]:
    process.kill()
    return process.communicate(timeout=DEADLINE_S)


SPOKEN = ["kitchen keyword hello hit", "kitchen sound dog-bark start", "kitchen sound dog-bark end"]


def _assert_lines(out: str, beginnings: Sequence[str]) -> None:
    lines = out.splitlines()
    assert len(lines) == len(beginnings), out
    for line, beginning in zip(lines, beginnings, strict=True):
        assert line.startswith(beginning), out


@pytest.mark.parametrize("script", ["subscribe.py", "subscribe_async.py"])
def test_python(script: str, publisher: Publisher, events: list[Any]) -> None:
    out = _run([sys.executable, str(EXAMPLES / script)], publisher, events, _environment())
    _assert_lines(out, SPOKEN)
    assert "0.875" in out


def test_python_exactly_once(runtime: Path, tmp_path: Path) -> None:
    """It ends after two events, and goes on with the third the next time."""
    with FakeDaemon(runtime) as daemon:
        daemon.hear(5, unsent=True)
        command = [sys.executable, str(EXAMPLES / "exactly_once.py"), daemon.endpoint, "2"]
        lines = []
        for _ in range(2):
            done = subprocess.run(
                command,
                cwd=tmp_path,
                env=_environment(),
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
            lines += done.stdout.splitlines()
    assert lines == ["noted hello 1", "noted hello 2", "noted stop 3", "noted hello 4"]


def test_python_async_tells_of_health(publisher: Publisher, events: list[Any], make_health: Any) -> None:
    class WithHealth(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            assert publisher.wait_wanted("health.", DEADLINE_S)
            return super().__iter__()

    records = WithHealth([make_health(seq=0, detail="all is well"), *events])
    out = _run([sys.executable, str(EXAMPLES / "subscribe_async.py")], publisher, records, _environment())
    _assert_lines(out, ["kitchen listening all is well", *SPOKEN])


def test_shell(publisher: Publisher, events: list[Any]) -> None:
    streamer = f"{sys.executable} -m streamer"
    env = _environment(STREAMER=streamer)
    out = _run(["sh", str(EXAMPLES / "subscribe.sh")], publisher, events, env)
    assert out.splitlines() == [
        "kitchen: somebody said hello",
        "kitchen: dog-bark begins",
        "kitchen: dog-bark ends",
    ]


class Everywhere:
    """A publisher that other machines can reach, and the keys of the one that may listen."""

    def __init__(self, folder: Path) -> None:
        daemon, own = make_pair("daemon"), make_pair("me")
        self.key_file = folder / OWN_KEY
        write_pair(self.key_file, own)
        allowed = AllowList([Client(name="me", key=own.public, rights=frozenset({"listen"}))])
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._guard = Guard(self._context, allowed)
        self.publisher = Publisher(
            ["tcp://0.0.0.0:*"],
            context=self._context,
            guard=self._guard,
            security=Security(folder, folder / "allowed.toml", daemon, allowed),
        )
        self.publisher.endpoints[0] = self.publisher.endpoints[0].replace("0.0.0.0", "127.0.0.1")
        self.keys = (daemon.public, str(self.key_file))

    def __enter__(self) -> Self:
        self._door = GuardThread(self._guard).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._door.__exit__()
        self.publisher.close()
        self._guard.close()
        self._context.term()


@pytest.fixture
def everywhere(tmp_path: Path) -> Iterator[Everywhere]:
    """It lets in who has the right keys."""
    with Everywhere(tmp_path) as made:
        yield made


@pytest.fixture
def c_program(tmp_path: Path) -> str:
    """The C example, compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) is installed")
    probe = subprocess.run(
        [compiler, "-E", "-"],
        input="#include <zmq.h>\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if probe.returncode != 0:
        pytest.skip("zmq.h is not installed (libzmq3-dev)")
    program = tmp_path / "subscribe"
    build = [
        compiler,
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        str(program),
        str(EXAMPLES / "subscribe.c"),
        "-lzmq",
    ]
    subprocess.run(build, check=True, timeout=60)
    return str(program)


def test_c(publisher: Publisher, events: list[Any], c_program: str) -> None:
    out = _run([c_program], publisher, events, _environment())
    _assert_lines(out, ["keyword.hello.kitchen {", "sound.dog-bark.kitchen {", "sound.dog-bark.kitchen {"])
    assert [json.loads(line.partition(" ")[2])["seq"] for line in out.splitlines()] == [1, 2, 3]


def test_c_with_keys(everywhere: Everywhere, events: list[Any], c_program: str) -> None:
    out = _run([c_program], everywhere.publisher, events, _environment(), everywhere.keys)
    _assert_lines(out, ["keyword.hello.kitchen {", "sound.dog-bark.kitchen {", "sound.dog-bark.kitchen {"])


def test_c_without_its_key_file(c_program: str) -> None:
    command = [c_program, "tcp://127.0.0.1:1", "1", make_pair("x").public, "/nowhere/own.key"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stderr) == (1, "/nowhere/own.key: No such file or directory\n")


@pytest.fixture
def node_program(tmp_path: Path) -> list[str]:
    """The Node example beside the package that it needs."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    ask = [node, "-p", "require.resolve('zeromq/package.json')"]
    found = subprocess.run(ask, cwd=EXAMPLES, capture_output=True, text=True, timeout=60, check=False)
    if found.returncode != 0:
        pytest.skip("the npm package zeromq is not installed (npm install in examples/, or NODE_PATH)")
    # import, unlike require, does not look where NODE_PATH says: put the package beside a copy
    (tmp_path / "node_modules").symlink_to(Path(found.stdout.strip()).parents[1])
    return [node, str(shutil.copy(EXAMPLES / "subscribe.mjs", tmp_path))]


def test_node(publisher: Publisher, events: list[Any], node_program: list[str]) -> None:
    _assert_lines(_run(node_program, publisher, events, _environment()), SPOKEN)


def test_node_with_keys(everywhere: Everywhere, events: list[Any], node_program: list[str]) -> None:
    out = _run(node_program, everywhere.publisher, events, _environment(), everywhere.keys)
    _assert_lines(out, SPOKEN)

"""Addresses, the runtime directory and its lock."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamer.delivery import endpoints
from streamer.delivery.endpoints import (
    CONTROL,
    INGEST,
    IPC_PATH_MAX_BYTES,
    PUBLISH,
    RuntimeDirectory,
    Use,
    check_bind_endpoint,
    check_connect_endpoint,
    check_publish_endpoint,
    check_subscribe_endpoint,
    default_connect_endpoint,
    default_publish_endpoints,
    default_subscribe_endpoint,
    local_endpoints,
    runtime_directory,
    security_for,
)
from streamer.errors import EXIT_SOCKET, SecurityError, SocketError
from streamer.security.allowed import AllowList, Client
from streamer.security.keys import KeyPair
from streamer.security.setup import Security

LONGEST = "/" + "x" * (IPC_PATH_MAX_BYTES - 1)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("tcp://127.0.0.1:7790", "tcp://127.0.0.1:7790"),
        ("tcp://127.8.9.1:1", "tcp://127.8.9.1:1"),
        ("tcp://localhost:65535", "tcp://127.0.0.1:65535"),
        ("tcp://[::1]:7790", "tcp://[::1]:7790"),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:*"),
        ("ipc:///run/streamer/events.sock", "ipc:///run/streamer/events.sock"),
        ("ipc://" + LONGEST, "ipc://" + LONGEST),
    ],
)
def test_addresses_to_publish_on(text: str, bound: str) -> None:
    assert check_publish_endpoint(text).text == bound


REACHABLE = ["*", "0.0.0.0", "[::]", "192.168.1.7", "[fe80::1]", "[::ffff:192.168.1.7]"]
KEYS = KeyPair("daemon", "p" * 40, "s" * 40)
LIST = AllowList([Client(name="bob", key="b" * 40, rights=frozenset({"listen"}))])
USES = [PUBLISH, CONTROL, INGEST]


def security(keys: KeyPair | None, allowed: AllowList) -> Security:
    return Security(Path("/keys"), Path("/keys/allowed.toml"), keys, allowed)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("host", REACHABLE)
def test_what_others_can_reach_needs_keys_and_a_list(host: str, use: Use) -> None:
    text = f"tcp://{host}:7777"
    for given, lacking, remedy in (
        (None, "keys and a list of clients", "`streamer keys new`, then `streamer keys allow"),
        (security(None, LIST), "a key pair, and there is none in /keys", "`streamer keys new`, then"),
        (
            security(KEYS, AllowList()),
            "a list of clients, and there is none",
            "`streamer keys allow NAME KEY`",
        ),
    ):
        with pytest.raises(SocketError) as caught:
            check_bind_endpoint(text, use, given)
        assert caught.value.message.startswith(f"{text} is not on loopback: it needs {lacking}")
        assert remedy in caught.value.remedy
    endpoint = check_bind_endpoint(text, use, security(KEYS, LIST))
    assert (endpoint.text, endpoint.is_local) == (text, False)


@pytest.mark.parametrize(
    "host", ["eth0", "lo", "example.org", "127.1", "[127.0.0.1.9]", "localhost.example.org"]
)
def test_names_are_nothing_to_bind_to(host: str) -> None:
    for given in (None, security(KEYS, LIST)):
        with pytest.raises(SocketError, match=r"is no number of an address; .* tcp://\*:7790"):
            check_publish_endpoint(f"tcp://{host}:7790", given)


@pytest.mark.parametrize("use", USES)
def test_this_machine_alone_needs_no_keys(use: Use, runtime: Path) -> None:
    for text in (*local_endpoints(runtime, use), "tcp://[::1]:*", "tcp://localhost:1", "tcp://127.255.0.1:1"):
        endpoint = check_bind_endpoint(text, use)
        assert endpoint.is_local
        assert check_bind_endpoint(text, use, security(KEYS, LIST)) == endpoint


def test_keys_are_only_read_where_an_address_wants_them(tmp_path: Path) -> None:
    loose = tmp_path / "own.key"
    loose.touch(0o666)
    loose.chmod(0o666)
    local = ["tcp://127.0.0.1:1", "tcp://[::1]:1", "tcp://localhost:1", "ipc:///x", "nonsense"]
    assert security_for(local, tmp_path) is None
    assert security_for([], tmp_path) is None
    for host in (*REACHABLE, "example.org"):
        with pytest.raises(SecurityError, match="open to others"):
            security_for([*local, f"tcp://{host}:1"], tmp_path)
    loose.unlink()
    found = security_for(["tcp://*:1"], tmp_path)
    assert found is not None
    assert (found.keys, len(found.allowed), found.directory) == (None, 0, tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is no address"),
        ("127.0.0.1:7790", "is no address"),
        ("udp://127.0.0.1:7790", "is no address"),
        ("inproc://here", "is no address"),
        ("tcp://127.0.0.1", "is no TCP address"),
        ("tcp://127.0.0.1:", "is no TCP address"),
        ("tcp://:7790", "is no TCP address"),
        ("tcp://127.0.0.1:http", "is no TCP address"),
        ("tcp://127.0.0.1:-1", "is no TCP address"),
        ("tcp://127.0.0.1:\u0667", "is no TCP address"),
        ("tcp://127.0.0.1:7790\n", "is no TCP address"),
        ("tcp://::1:7790", "is no TCP address"),
        ("tcp://eth0;127.0.0.1:7790", "is no TCP address"),
        ("tcp://127.0.0.1:65536", "there is no port 65536"),
        ("ipc://", "names no absolute path"),
        ("ipc://*", "names no absolute path"),
        ("ipc://@streamer", "names no absolute path"),
        ("ipc://events.sock", "names no absolute path"),
        ("ipc:///run/streamer/", "names no absolute path"),
        ("ipc:///run/a\0b", "names no absolute path"),
        ("ipc:///run/\udcff", "is not UTF-8"),
        ("ipc://" + LONGEST + "x", "too long: 108 bytes of path, 107 at most"),
        ("ipc:///" + "ä" * 54, "too long: 109 bytes of path, 107 at most"),
    ],
)
def test_what_is_no_address_is_told_in_one_line(text: str, fault: str) -> None:
    for check in (check_publish_endpoint, check_subscribe_endpoint):
        with pytest.raises(SocketError, match=fault) as caught:
            check(text)
        assert caught.value.remedy
        assert caught.value.status == EXIT_SOCKET
        assert "\n" not in str(caught.value)


def test_one_may_subscribe_elsewhere_but_not_everywhere() -> None:
    assert check_subscribe_endpoint("tcp://example.org:7790").port == 7790
    for text in ("tcp://*:7790", "tcp://127.0.0.1:*", "tcp://127.0.0.1:0"):
        with pytest.raises(SocketError, match="no address to connect to"):
            check_subscribe_endpoint(text)


def test_the_runtime_directory_is_the_service_managers_then_the_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = {"RUNTIME_DIRECTORY": "/run/one:/run/two", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert runtime_directory(both) == Path("/run/one")
    assert runtime_directory({"XDG_RUNTIME_DIR": "/run/user/7"}) == Path("/run/user/7/streamer")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert runtime_directory({}) == Path("/run/streamer")
    assert runtime_directory({"XDG_RUNTIME_DIR": "relative"}) == Path("/run/streamer")
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    monkeypatch.setattr(endpoints.tempfile, "gettempdir", lambda: "/tmp")
    assert runtime_directory({}) == Path("/tmp/streamer-7")


def test_default_addresses(runtime: Path) -> None:
    expected = {
        PUBLISH: ("events.sock", 7790),
        CONTROL: ("control.sock", 7791),
        INGEST: ("ingest.sock", 7792),
    }
    for use, (file, port) in expected.items():
        assert local_endpoints(runtime, use) == (f"ipc://{runtime}/{file}", f"tcp://127.0.0.1:{port}")
        environ = {"RUNTIME_DIRECTORY": str(runtime)}
        assert default_connect_endpoint(use, environ) == f"tcp://127.0.0.1:{port}"
        with pytest.raises(SocketError, match=f"name host and port: tcp://127.0.0.1:{port}"):
            check_connect_endpoint("tcp://*:1", use)
    assert default_publish_endpoints(runtime) == [*local_endpoints(runtime, PUBLISH)]


def test_subscribers_take_the_socket_file_if_there_is_one(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"RUNTIME_DIRECTORY": str(runtime)}
    path = runtime / "events.sock"
    assert default_subscribe_endpoint(environ) == "tcp://127.0.0.1:7790"
    path.write_text("no socket")
    assert default_subscribe_endpoint(environ) == "tcp://127.0.0.1:7790"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert default_subscribe_endpoint(environ) == f"ipc://{path}"
        owner = runtime.stat().st_uid
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)  # somebody else's directory proves nothing
        assert default_subscribe_endpoint(environ) == "tcp://127.0.0.1:7790"


def test_the_directory_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down"
    with RuntimeDirectory(path) as directory:
        assert directory.path == path
        assert path.stat().st_mode & 0o777 == 0o700
        assert (path / "streamer.lock").stat().st_mode & 0o777 == 0o600
        assert (path / "streamer.lock").read_text() == f"{os.getpid()}\n"
        directory.acquire()  # twice is once


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o710, 0o701, 0o777])
def test_an_open_directory_is_refused(runtime: Path, mode: int) -> None:
    runtime.chmod(mode)
    with pytest.raises(SocketError, match=rf"open to others \(mode {mode:04o}\); `chmod 700 {runtime}`"):
        RuntimeDirectory(runtime).acquire()
    assert not (runtime / "streamer.lock").exists()


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SocketError, match="is not a directory"):
        RuntimeDirectory(tmp_path / "file").acquire()
    with pytest.raises(SocketError, match="cannot be used: Not a directory"):
        RuntimeDirectory(tmp_path / "file" / "below").acquire()


def test_a_link_is_no_directory(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "link").symlink_to(runtime)
    with pytest.raises(SocketError, match="is not a directory"):
        RuntimeDirectory(tmp_path / "link").acquire()


def test_anothers_directory_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = runtime.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(SocketError, match=rf"belongs to another user \(uid {owner}\)"):
        RuntimeDirectory(runtime).acquire()


def test_an_unwritable_directory_is_refused(unwritable: Path) -> None:
    for path in (unwritable, unwritable / "below"):
        with pytest.raises(SocketError, match=r"cannot be used: Permission denied; .*--runtime-dir DIR"):
            RuntimeDirectory(path).acquire()


def test_a_full_or_read_only_disk_is_told(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "ftruncate", refuse)
    directory = RuntimeDirectory(runtime)
    with pytest.raises(SocketError, match=r"cannot be used: Read-only file system; .*--runtime-dir DIR"):
        directory.acquire()
    monkeypatch.undo()
    directory.acquire()  # the failed attempt left no lock behind
    directory.release()


def test_a_second_daemon_is_refused_and_told_by_whom(runtime: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from streamer.delivery.endpoints import RuntimeDirectory\n"
        "with RuntimeDirectory(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(runtime)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        told = rf"another streamer \(pid {holder.pid}\) already runs here; .* `--runtime-dir DIR`"
        with pytest.raises(SocketError, match=told) as caught:
            RuntimeDirectory(runtime).acquire()
        assert caught.value.status == EXIT_SOCKET
    finally:
        holder.kill()  # as a crash would
        holder.communicate(timeout=10)
    with RuntimeDirectory(runtime):  # the dead hold no locks
        assert (runtime / "streamer.lock").read_text() == f"{os.getpid()}\n"


def test_a_released_directory_may_be_had_again(runtime: Path) -> None:
    first, second = RuntimeDirectory(runtime), RuntimeDirectory(runtime)
    first.acquire()
    with pytest.raises(SocketError, match=re.escape(f"(pid {os.getpid()})")):
        second.acquire()
    first.release()
    first.release()
    with second:
        assert (runtime / "streamer.lock").exists()

"""`streamer keys` as people type it: what it prints, what it writes, and every mistake in one line."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from streamer.cli import main
from streamer.security.allowed import read_allowed
from streamer.security.keys import make_pair, read_pair
from streamer.security.known import find_known, read_known

OTHER, THIRD = make_pair("other").public, make_pair("third").public
Keys = Callable[..., tuple[int, str, str]]


@pytest.fixture
def keys(private: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Run a verb; exit status, output, errors."""
    monkeypatch.setenv("STREAMER_CONFIG", os.devnull)

    def run(*arguments: str, directory: Path = private / "keys") -> tuple[int, str, str]:
        status = main(["keys", *arguments, "--keys", str(directory)])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_a_pair_is_made_once_and_never_shown(keys: Keys, private: Path) -> None:
    status, out, err = keys("new", "laptop")
    path = private / "keys/own.key"
    pair = read_pair(path)
    assert pair is not None
    assert (status, err, pair.name) == (0, "", "laptop")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for shown in (out, keys("show")[1], keys("list")[1]):
        assert pair.public in shown
        assert pair.secret not in shown
    assert keys("show", "--plain")[1] == f"{pair.public}\n"
    status, out, err = keys("new", "laptop")
    assert (status, out) == (3, "")
    assert "is there already" in err
    assert "--force" in err
    assert read_pair(path) == pair
    assert keys("new", "--force")[0] == 0
    assert read_pair(path) != pair


def test_the_lines_to_type_elsewhere_do_what_they_say(keys: Keys, private: Path, tmp_path: Path) -> None:
    """Copied as they stand into a shell on the other machine."""
    here, there = private / "here", private / "there"
    out = keys("new", "laptop", directory=here)[1]
    lines = [shlex.split(line) for line in out.splitlines() if line.startswith("  streamer keys ")]
    assert [line[2] for line in lines] == ["allow", "trust"]
    for line in lines:
        status, _, err = keys(*line[2:], directory=there)
        assert (status, err) == (0, "")
    pair = read_pair(here / "own.key")
    assert pair is not None
    client = read_allowed(there / "allowed.toml").find(pair.public)
    assert client is not None
    assert (client.name, client.rights) == ("laptop", {"listen"})
    assert list(read_known(there / "known.toml").values()) == [pair.public]


def test_rights(keys: Keys, private: Path) -> None:
    assert "bob may now: listen\n" in keys("allow", "bob", OTHER)[1]
    assert "bob may now: listen, control\n" in keys("allow", "bob", "--control")[1]
    assert (
        "bob may now: listen, control, send (as hall, attic)\n"
        in keys("allow", "bob", "--stream", "hall", "--stream", "attic")[1]
    )
    assert "bob may now: listen, control\n" in keys("revoke", "bob", "--send")[1]
    status, out, _ = keys("list")
    assert (status, f"  bob                      {OTHER}  listen, control\n" in out) == (0, True)
    assert "bob may come in no more" in keys("revoke", "bob")[1]
    assert len(read_allowed(private / "keys/allowed.toml")) == 0
    assert "SIGHUP" in keys("allow", "bob", OTHER, "--send")[1], "what a running daemon needs is told"


def test_trust_is_pinned(keys: Keys, private: Path) -> None:
    known = private / "keys/known.toml"
    status, out, _ = keys("trust", "Lab.Local", OTHER)
    assert status == 0
    assert "`streamer keys new`" in out, "the daemon will ask who this is"
    assert keys("trust", "lab.local", OTHER)[0] == 0
    status, _, err = keys("trust", "lab.local", THIRD)
    assert (status, "is known with another key" in err, "--force" in err) == (3, True, True)
    assert keys("trust", "lab.local:7790", THIRD)[0] == 0
    found = read_known(known)
    assert [find_known(found, host, port) for host, port in (("LAB.local", 7790), ("lab.local", 7791))] == [
        THIRD,
        OTHER,
    ]
    assert find_known(found, "other.local", 7790) is None
    assert keys("trust", "lab.local", THIRD, "--force")[0] == 0
    assert find_known(read_known(known), "lab.local", 7791) == THIRD
    assert keys("trust", "[fe80::1]:7790", OTHER)[0] == 0
    assert stat.S_IMODE(known.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["allow", "bob"], "there is no client 'bob' yet, and a new one needs its key"),
        (["allow", "bob", "key"], "'key' is no public key"),
        (["allow", "b.b", OTHER], "'b.b' is no name"),
        (
            ["allow", "bob", OTHER, "--listen", "--stream", "hall"],
            "clients.bob.streams: needs the right to send",
        ),
        (["allow", "bob", OTHER, "--send", "--stream", "a b"], "clients.bob.streams: ['a b'], expected"),
        (["revoke", "bob"], "there is no client 'bob' in"),
        (["show"], "there is no key pair in"),
        (["new", "a b"], "'a b' is no name"),
        (["trust", "lab", "key"], "'key' is no public key"),
        (["trust", "lab:x", OTHER], "'lab:x' is no host"),
        (["trust", "lab:65536", OTHER], "'lab:65536' is no host"),
        (["trust", "", OTHER], "'' is no host"),
    ],
)
def test_mistakes(keys: Keys, private: Path, arguments: list[str], told: str) -> None:
    status, out, err = keys(*arguments)
    assert (status, out) == (3, "")
    assert told in err
    assert err.count("\n") == 1
    written = [path.name for path in (private / "keys").glob("*")] if (private / "keys").exists() else []
    assert written == [], "a mistake leaves nothing behind"


def test_loose_files_are_told_by_every_verb(keys: Keys, private: Path) -> None:
    keys("new", "laptop")
    keys("allow", "bob", OTHER)
    keys("trust", "lab", OTHER)
    for name, verbs in {
        "own.key": (["show"], ["list"]),
        "allowed.toml": (["allow", "eve", THIRD], ["revoke", "bob"], ["list"]),
        "known.toml": (["trust", "lab", OTHER], ["list"]),
    }.items():
        path = private / "keys" / name
        before = path.read_text()
        path.chmod(0o664)
        for verb in verbs:
            status, _, err = keys(*verb)
            assert (status, f"`chmod 600 {path}`" in err) == (3, True), err
        assert path.read_text() == before
        path.chmod(0o600)
        assert keys(*verbs[0])[0] == 0


def test_known_servers_that_are_damaged(keys: Keys, private: Path) -> None:
    keys("trust", "lab", OTHER)
    path = private / "keys/known.toml"
    for text in ("servers = 3", "[servers]\nlab = 3", '[servers]\nlab = "x"', "[servers"):
        path.write_text(text)
        status, _, err = keys("list")
        assert (status, "mend it, or remove it" in err) == (3, True)


def test_the_settings_say_where_keys_are(
    private: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = private / "streamer.toml"
    config.write_text(f'[security]\nkeys = "{private}/k"\nallowed = "{private}/list/a.toml"\n')
    monkeypatch.setenv("STREAMER_CONFIG", str(config))
    assert main(["keys", "new", "x"]) == 0
    assert main(["keys", "allow", "bob", OTHER]) == 0
    assert (private / "k/own.key").exists()
    assert len(read_allowed(private / "list/a.toml")) == 1
    monkeypatch.setenv("STREAMER_SECURITY_KEYS", str(private / "other"))
    capsys.readouterr()
    assert main(["keys", "list"]) == 0
    assert f"own key ({private}/other/own.key)" in capsys.readouterr().out


def test_debug_before_or_after_the_verb(private: Path) -> None:
    for arguments in (["--debug", "show"], ["show", "--debug"]):
        with pytest.raises(Exception, match="there is no key pair"):
            main(["keys", *arguments, "--keys", str(private)])

"""Key pairs: what is a key, how it is kept, and that the secret one shows nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq.auth
from hypothesis import given, settings
from hypothesis import strategies as st
from zmq.utils import z85

from streamer.errors import SecurityError
from streamer.security import keys
from streamer.security.keys import (
    KeyPair,
    default_keys_directory,
    is_key,
    key_text,
    make_pair,
    read_pair,
    write_pair,
)
from streamer.security.known import Credentials


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_the_text_of_a_key_is_zeromqs(raw: bytes) -> None:
    assert key_text(raw) == z85.encode(raw).decode()
    assert is_key(key_text(raw)) == any(raw)


@settings(deadline=None)
@given(st.text(max_size=45))
def test_what_is_no_key_is_told_from_one(text: str) -> None:
    try:
        good = len(text) == 40 and any(z85.decode(text))
    except Exception:
        good = False
    assert is_key(text) == good


@pytest.mark.parametrize(
    "text", ["", "0" * 40, "#" * 40, "a" * 39, "a" * 41, "a" * 39 + "~", "a" * 39 + "\n"]
)
def test_these_are_no_keys(text: str) -> None:
    assert not is_key(text)


def test_a_pair_fits_together_and_is_kept(private: Path) -> None:
    pair = make_pair("kitchen")
    assert zmq.curve_public(pair.secret.encode()).decode() == pair.public
    path = private / "own.key"
    assert read_pair(path) is None
    write_pair(path, pair)
    assert read_pair(path) == pair
    assert path.stat().st_mode & 0o777 == 0o600
    assert zmq.auth.load_certificate(path) == (pair.public.encode(), pair.secret.encode())


def test_zeromqs_own_certificates_are_read(private: Path) -> None:
    before = os.umask(0o077)
    try:
        _, secret = zmq.auth.create_certificates(private, "kitchen")
    finally:
        os.umask(before)
    public, _ = zmq.auth.load_certificate(secret)
    pair = read_pair(Path(secret))
    assert pair is not None
    assert (pair.name, pair.public) == ("kitchen", public.decode())


def test_a_pair_is_never_overwritten_in_passing(private: Path) -> None:
    first, second = make_pair("one"), make_pair("two")
    write_pair(private / "own.key", first)
    with pytest.raises(SecurityError, match="is there already"):
        write_pair(private / "own.key", second)
    assert read_pair(private / "own.key") == first
    write_pair(private / "own.key", second, replace=True)
    assert read_pair(private / "own.key") == second


def test_the_secret_shows_nowhere() -> None:
    pair = make_pair("one")
    credentials = Credentials(make_pair("daemon").public, pair.public, pair.secret)
    for shown in (repr(pair), str(pair), f"{credentials}", repr([credentials])):
        assert pair.secret not in shown
        assert pair.public in shown


def test_a_damaged_pair_is_refused(private: Path) -> None:
    path = private / "own.key"
    good, other = make_pair("one"), make_pair("two")
    write_pair(path, good)
    text = path.read_text()
    for damaged in (
        "",
        text.replace(good.secret, other.secret),
        text.replace(good.public, other.public),
        text.replace(good.secret, good.secret[:-1]),
        text.replace("secret-key", "secret"),
        text[: text.index("secret-key") + 20],
    ):
        path.write_text(damaged)
        with pytest.raises(SecurityError, match="holds no key pair") as caught:
            read_pair(path)
        assert good.secret not in str(caught.value)


def test_no_public_key_looks_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([(b"-" + b"a" * 39, b"b" * 40), (b"a-" + b"a" * 38, b"b" * 40)])
    monkeypatch.setattr(keys.zmq, "curve_keypair", lambda: next(made))
    assert make_pair("x") == KeyPair("x", "a-" + "a" * 38, "b" * 40)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "-x", "ä", "a" * 65, "a\n"])
def test_names(name: str) -> None:
    with pytest.raises(SecurityError, match="is no name"):
        make_pair(name)


def test_where_keys_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_keys_directory({"XDG_CONFIG_HOME": "/x"}) == Path("/var/lib/streamer/keys")
    assert default_keys_directory({"STREAMER_SECURITY_KEYS": "/y"}) == Path("/y")
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    monkeypatch.setenv("HOME", "/home/bob")
    assert default_keys_directory({"XDG_CONFIG_HOME": "/x"}) == Path("/x/streamer/keys")
    assert default_keys_directory({"XDG_CONFIG_HOME": "x"}) == Path("/home/bob/.config/streamer/keys")
    assert default_keys_directory({}) == Path("/home/bob/.config/streamer/keys")

"""The allow list: read strictly, changed by commands without losing what people wrote, private."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import ConfigError, SecurityError
from streamer.security.allowed import RIGHTS, Client, parse_allowed, read_allowed
from streamer.security.edit import allow, revoke
from streamer.security.keys import make_pair
from streamer.security.setup import open_security

KEYS = [make_pair("x").public for _ in range(6)]
LIST = f"""# friends
[clients.laptop]  # Ann's
key = "{KEYS[0]}"
rights = ["listen", "control"]

# the microphones upstairs
[clients.attic]
key = "{KEYS[1]}"
rights = ["send"]
streams = ["attic", "roof"]
"""


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_allowed(text, "a.toml")
    assert all(fault.startswith("a.toml: ") and "\n" not in fault for fault in caught.value.faults)
    return [fault.removeprefix("a.toml: ") for fault in caught.value.faults]


def test_a_list_is_read() -> None:
    allowed = parse_allowed(LIST)
    assert len(allowed) == 2
    assert allowed.find(KEYS[0]) == Client(
        name="laptop", key=KEYS[0], rights=frozenset({"listen", "control"})
    )
    assert allowed.find(KEYS[2]) is None
    assert allowed.rights_of("laptop") == {"listen", "control"}
    assert allowed.rights_of("nobody") == frozenset()
    assert [allowed.may_send("attic", stream) for stream in ("attic", "roof", "cellar")] == [
        True,
        True,
        False,
    ]
    assert not allowed.may_send("laptop", "laptop")
    assert not allowed.may_send("nobody", "nobody")


def test_without_names_a_sender_has_its_own() -> None:
    allowed = parse_allowed(f'[clients.mic]\nkey = "{KEYS[0]}"\nrights = ["send"]')
    assert allowed.may_send("mic", "mic")
    assert not allowed.may_send("mic", "kitchen")


def test_every_fault_is_told_at_once() -> None:
    told = faults(
        f"""
        note = 1
        [clients.one]
        key = "short"
        rights = ["listen", "dance"]
        [clients.two]
        keys = "{KEYS[0]}"
        rights = "listen"
        streams = ["a b"]
        [clients."a b"]
        key = "{KEYS[1]}"
        rights = []
        [clients.three]
        key = "{KEYS[1]}"
        rights = ["listen"]
        streams = ["kitchen"]
        [clients.four]
        key = 7
        rights = ["listen"]
        [clients.five]
        key = "{KEYS[2]}"
        rights = ["listen"]
        [clients.six]
        key = "{KEYS[2]}"
        rights = ["send"]
        [clients]
        seven = 7
        """
    )
    assert told == [
        "note: unknown, expected only tables [clients.NAME]",
        "clients.one.key: 'short', expected the client's public key, 40 characters",
        "clients.one.rights: ['listen', 'dance'], expected a list of listen, control, send",
        "clients.two.keys: unknown, legal: key, rights, streams",
        "clients.two.key: missing, expected the client's public key, 40 characters",
        "clients.two.rights: 'listen', expected a list of listen, control, send",
        "clients.two.streams: ['a b'], expected a list of names of letters, digits, _ and - (64 at most)",
        "clients.'a b': no name, use 1 to 64 letters, digits, _ and -",
        "clients.three.streams: needs the right to send",
        "clients.four.key: 7, expected the client's public key, 40 characters",
        "clients.seven: expected a table, [clients.seven]",
        "clients.six.key: clients.five has the same",
    ]


@pytest.mark.parametrize("text", ["clients = 3", "clients = []", "[[clients]]\nkey = 'x'"])
def test_what_is_no_table_of_clients(text: str) -> None:
    assert faults(text) == ["clients: expected tables [clients.NAME]"]


@settings(deadline=None)
@given(st.text(max_size=60) | st.sampled_from([LIST[: 7 * n] for n in range(len(LIST) // 7)]))
def test_any_text_is_a_list_or_a_fault(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_allowed(text)


def test_a_list_that_is_not_private_is_refused(private: Path) -> None:
    path = private / "allowed.toml"
    assert len(read_allowed(path)) == 0
    path.write_text(LIST)
    path.chmod(0o640)
    with pytest.raises(SecurityError, match="open to others"):
        read_allowed(path)
    path.chmod(0o600)
    assert len(read_allowed(path)) == 2
    private.chmod(0o770)
    with pytest.raises(SecurityError, match="can be changed by others"):
        read_allowed(path)


def test_commands_keep_what_people_wrote(private: Path) -> None:
    path = private / "allowed.toml"
    path.write_text(LIST)
    path.chmod(0o600)
    allow(path, "desk", KEYS[2], ["listen"])
    assert path.read_text() == LIST + f'\n[clients.desk]\nkey = "{KEYS[2]}"\nrights = ["listen"]\n'
    assert path.stat().st_mode & 0o777 == 0o600
    revoke(path, "desk")
    assert path.read_text() == LIST
    revoke(path, "laptop")
    assert path.read_text() == "# friends\n\n" + LIST[LIST.index("# the micro") :]
    revoke(path, "attic")
    assert path.read_text() == "# friends\n\n# the microphones upstairs\n"


def test_rights_are_added_and_taken_away(private: Path) -> None:
    path = private / "allowed.toml"
    assert allow(path, "mic", KEYS[0], ["listen"]).rights == {"listen"}
    assert allow(path, "mic", None, ["send"], ["kitchen"]).rights == {"listen", "send"}
    assert allow(path, "mic", KEYS[0], ["send"], ["attic", "kitchen"]).streams == ("kitchen", "attic")
    left = revoke(path, "mic", ["send"])
    assert (
        left
        == read_allowed(path).clients["mic"]
        == Client(name="mic", key=KEYS[0], rights=frozenset({"listen"}))
    )
    assert revoke(path, "mic", ["listen"]) is None
    assert len(read_allowed(path)) == 0


def test_what_the_commands_refuse(private: Path) -> None:
    path = private / "allowed.toml"
    allow(path, "laptop", KEYS[0], ["listen"])
    before = path.read_text()
    for name, key, told in (
        ("other", None, "a new one needs its key"),
        ("other", "short", "is no public key"),
        ("laptop", KEYS[1], "laptop has another key"),
        ("other", KEYS[0], "this is the key of laptop"),
        ("a b", KEYS[1], "is no name"),
        ("x" * 65, KEYS[1], "is no name"),
    ):
        with pytest.raises(SecurityError, match=told):
            allow(path, name, key, ["listen"])
    with pytest.raises(ConfigError, match="needs the right to send"):
        allow(path, "laptop", None, ["listen"], ["kitchen"])
    with pytest.raises(SecurityError, match="did you mean laptop"):
        revoke(path, "laptp")
    assert path.read_text() == before


def test_a_layout_that_cannot_be_edited_is_left_alone(private: Path) -> None:
    path = private / "allowed.toml"
    path.write_text(f'clients = {{ laptop = {{ key = "{KEYS[0]}", rights = ["listen"] }} }}\n')
    path.chmod(0o600)
    before = path.read_text()
    for change in (lambda: revoke(path, "laptop"), lambda: allow(path, "desk", KEYS[1], ["listen"])):
        with pytest.raises(SecurityError, match="cannot be changed safely; edit it by hand"):
            change()
        assert path.read_text() == before


def test_any_sequence_of_commands_gives_what_it_says(private: Path, rng: np.random.Generator) -> None:
    path = private / "allowed.toml"
    model: dict[str, tuple[str, set[str]]] = {}
    for _ in range(150):
        number = int(rng.integers(len(KEYS)))
        name, rights = f"client-{number}", [right for right in RIGHTS if rng.random() < 0.5]
        if rng.random() < 0.6 and rights:
            allow(path, name, KEYS[number], rights)
            model.setdefault(name, (KEYS[number], set()))[1].update(rights)
        elif name in model:
            revoke(path, name, rights)
            left = model.pop(name)[1] - set(rights or RIGHTS)
            if left:
                model[name] = (KEYS[number], left)
        found = read_allowed(path).clients.values()
        assert {client.name: (client.key, set(client.rights)) for client in found} == model


def test_what_a_daemon_lacks_before_it_may_be_reached(private: Path) -> None:
    from streamer.security.keys import write_pair

    security = open_security(private)
    assert security.lacking()[0] == f"it needs a key pair, and there is none in {private}"
    write_pair(private / "own.key", make_pair("daemon"))
    security = open_security(private)
    assert security.lacking()[0] == f"it needs a list of clients, and there is none in {private}/allowed.toml"
    allow(private / "allowed.toml", "bob", KEYS[0], ["listen"])
    assert open_security(private).lacking() == ("", "")
    (private / "own.key").chmod(0o644)
    with pytest.raises(SecurityError, match="open to others"):
        open_security(private)

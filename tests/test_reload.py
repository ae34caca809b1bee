"""Reloads one after another: what is taken over, who is answered when, and what a fault changes (nothing)."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from streamer.config import SECTIONS, Config, load_config
from streamer.delivery.outlet import Command
from streamer.delivery.requests import ErrorReply, Reload, ReloadReply, Reply
from streamer.errors import ConfigError, StreamerError
from streamer.inference.model import Model, load_bundles, open_models
from streamer.reload import ASKED_MAX, CHANGEABLE, Prepared, Reloader, merged, prepare
from streamer.systemd import Notifier
from tests.support.tiny_bundle import make_tiny_bundle

WAIT_S = 15.0


class Bench:
    """A reloader whose config, main thread and clients are the test's."""

    def __init__(self, in_force: Config) -> None:
        self.in_force = in_force
        self.load: Callable[[], Config] = lambda: in_force
        self.refusal: StreamerError | None = None
        self.taken: list[Prepared] = []
        self.answers: list[tuple[str, Reply]] = []
        self.reloader = Reloader(
            self._load,
            self._put_in_force,
            lambda command, reply: self.answers.append((command.request.id, reply)),
            Notifier(),
        )

    def _load(self) -> Config:
        return self.load()

    def _put_in_force(self, prepared: Prepared) -> None:
        assert threading.current_thread() is threading.main_thread()
        if self.refusal:
            raise self.refusal
        self.taken.append(prepared)

    def ask(self, name: str) -> None:
        self.reloader.ask(Command(Reload(id=name), (0, b"")))  # type: ignore[arg-type]
        self.advance()

    def advance(self) -> None:
        self.reloader.advance(self.in_force, [])

    def finish(self) -> None:
        """One reload comes to its end."""
        readable, _, _ = select.select([self.reloader.fileno()], [], [], WAIT_S)
        assert readable, "the reload did not end"
        self.advance()


@pytest.fixture
def in_force(tiny_bundle: Path) -> Config:
    return load_config(environment={}, flags={"model": {"bundle": str(tiny_bundle)}})


@pytest.fixture
def bench(in_force: Config) -> Iterator[Bench]:
    bench = Bench(in_force)
    yield bench
    bench.reloader.close()


def test_who_asks_is_answered_when_it_is_done(bench: Bench) -> None:
    bench.ask("one")
    assert bench.answers == []
    bench.finish()
    assert bench.answers == [("one", ReloadReply(needs_restart=[]))]
    assert [tuned.model.name for tuned in bench.taken[0].models] == ["tiny"]


def test_who_asks_in_the_middle_gets_a_reload_of_their_own(bench: Bench) -> None:
    """What they have changed may not have been read: a reload begins after they have asked."""
    gate = threading.Event()
    loads: list[int] = []

    def load() -> Config:
        loads.append(len(loads))
        gate.wait(WAIT_S)
        return bench.in_force

    bench.load = load
    bench.ask("one")
    for name in ("two", "three"):
        bench.ask(name)
    gate.set()
    bench.finish()
    assert [name for name, _ in bench.answers] == ["one"]
    bench.finish()
    assert [name for name, _ in bench.answers] == ["one", "two", "three"]
    assert loads == [0, 1]


def test_no_more_wait_than_there_is_room_for(bench: Bench) -> None:
    gate = threading.Event()

    def load() -> Config:
        gate.wait(WAIT_S)
        return bench.in_force

    bench.load = load
    bench.ask("first")
    for number in range(ASKED_MAX + 2):
        bench.ask(f"later {number}")
    refused = [name for name, reply in bench.answers if isinstance(reply, ErrorReply)]
    assert refused == [f"later {ASKED_MAX}", f"later {ASKED_MAX + 1}"]
    gate.set()
    bench.finish()
    bench.finish()
    assert len(bench.answers) == ASKED_MAX + 3


def fault_of(bench: Bench) -> str:
    bench.ask("x")
    bench.finish()
    (_, reply) = bench.answers[-1]
    assert isinstance(reply, ErrorReply)
    assert reply.error.code == "failed"
    assert bench.taken == []
    return reply.error.message


def test_faults_are_answered_and_the_next_reload_may_succeed(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("streamer"), "propagate", True)

    def raises(error: Exception) -> Callable[[], Config]:
        def load() -> Config:
            raise error

        return load

    bench.load = raises(ConfigError(["a.b: 1", "c.d: 2"]))
    assert fault_of(bench) == "a.b: 1; c.d: 2"
    bench.load = raises(ZeroDivisionError("oh"))
    assert fault_of(bench) == "unexpected ZeroDivisionError: oh"
    nowhere = msgspec.structs.replace(bench.in_force.model, bundle="nowhere")
    bench.load = lambda: msgspec.structs.replace(bench.in_force, model=nowhere)
    assert "nowhere" in fault_of(bench)
    bench.load = lambda: bench.in_force
    bench.refusal = StreamerError("no such file", "look for it")
    assert fault_of(bench) == "no such file"
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [line.removeprefix("config not taken over: ") for line in told[:3]] == [
        "a.b: 1",
        "c.d: 2",
        "unexpected ZeroDivisionError: oh",
    ]
    bench.refusal = None
    bench.ask("y")
    bench.finish()
    assert bench.answers[-1] == ("y", ReloadReply(needs_restart=[]))


def test_the_end_of_the_daemon_is_an_answer_too(bench: Bench) -> None:
    gate = threading.Event()

    def load() -> Config:
        gate.wait(WAIT_S)
        return bench.in_force

    bench.load = load
    bench.ask("one")
    bench.ask("two")
    bench.reloader.end()
    gate.set()
    replies = dict(bench.answers)
    assert set(replies) == {"one", "two"}
    assert all(
        isinstance(reply, ErrorReply) and reply.error.code == "not-available" for reply in replies.values()
    )


def test_every_setting_is_in_force_or_named(in_force: Config) -> None:
    """Changed one at a time: it is taken over, or its section is named and it stays as it was."""
    others = {int: 77, float: 7.5, str: "other", list: ["other"], type(None): "other"}
    for section in SECTIONS:
        old = getattr(in_force, section)
        for field in old.__struct_fields__:
            before = getattr(old, field)
            value = not before if isinstance(before, bool) else others[type(before)]
            changed = msgspec.structs.replace(old, **{field: value})
            config, needs_restart = merged(in_force, msgspec.structs.replace(in_force, **{section: changed}))
            taken = field in CHANGEABLE.get(section, ())
            assert getattr(getattr(config, section), field) == (value if taken else getattr(old, field))
            assert needs_restart == ([] if taken else [section]), field
    unknown = {
        (section, field)
        for section, fields in CHANGEABLE.items()
        for field in fields
        if field not in getattr(in_force, section).__struct_fields__
    }
    assert not unknown


# --- Models


def test_what_has_not_changed_is_not_loaded_again(
    tiny_model: Model, tiny_bundle: Path, tmp_path: Path
) -> None:
    other = make_tiny_bundle(tmp_path / "other", name="other", prefix="o-")
    names = [other, tiny_bundle]
    first = open_models(names, "auto", [tiny_model])
    assert first[1] is tiny_model
    again = open_models(names[::-1], "auto", first)
    assert [model is known for model, known in zip(again, first[::-1], strict=True)] == [True, True]
    assert open_models([tiny_bundle], "torch", first)[0] is not tiny_model
    make_tiny_bundle(other, name="other", prefix="o-", stride=3)
    changed = open_models(names, "auto", first)
    assert [model is known for model, known in zip(changed, first, strict=True)] == [False, True]


def test_a_known_bundle_is_checked_all_the_same(tiny_model: Model, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny")
    (bundle / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(StreamerError, match="wrong hash"):
        open_models([bundle], "onnx", [tiny_model])


def test_labels_and_names_are_apart(tiny_bundle: Path, tmp_path: Path) -> None:
    twin = make_tiny_bundle(tmp_path / "twin", name="twin")
    namesake = make_tiny_bundle(tmp_path / "namesake", name="tiny", prefix="n-")
    fine = make_tiny_bundle(tmp_path / "fine", name="fine", prefix="f-")
    assert [bundle.manifest.name for bundle in load_bundles([tiny_bundle, fine])] == ["tiny", "fine"]
    with pytest.raises(ConfigError) as raised:
        load_bundles([tiny_bundle, fine, twin, namesake])
    assert raised.value.faults == [
        "model.bundles: tiny and twin both have the labels low, mid, high",
        f"model.bundles: {tiny_bundle} and {namesake} are both called tiny",
    ]


def test_rules_go_to_the_models_that_have_the_labels(
    in_force: Config, tiny_bundle: Path, tmp_path: Path
) -> None:
    other = make_tiny_bundle(tmp_path / "other", name="other", prefix="o-")
    flags = {
        "model": {"bundles": [str(other), str(tiny_bundle)]},
        "labels": {"o-mid": {"threshold": 0.9}, "low": {"enabled": False}},
    }
    first, second = prepare(load_config(environment={}, flags=flags), in_force, []).models
    assert [(rule.name, rule.threshold) for rule in first.rules] == [
        ("o-low", 0.5),
        ("o-mid", 0.9),
        ("o-high", 0.5),
    ]
    assert [(rule.name, rule.enabled) for rule in second.rules] == [
        ("low", False),
        ("mid", True),
        ("high", True),
    ]
    flags["labels"] = {"nobody": {"enabled": False}}
    with pytest.raises(ConfigError, match=r"labels\.nobody: the model has no such label"):
        prepare(load_config(environment={}, flags=flags), in_force, [])

"""A recording that a real sound server moves to another source, by itself or because somebody says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamer.capture import sound_server
from streamer.capture.microphone import Microphone
from streamer.capture.recorder_wire import ServerSource
from streamer.capture.whereabouts import Whereabouts
from tests.capture.test_recovery import Listener, possessions
from tests.support import virtual_microphone
from tests.support.virtual_microphone import VirtualMicrophone

missing = virtual_microphone.available()

DESK = ServerSource("desk", "Desk", is_monitor=False)
SHELF = ServerSource("shelf", "Shelf", is_monitor=False)
PLAYED = ServerSource("played", "Monitor of Loudspeaker", is_monitor=True)
PLAYED_TOO = ServerSource("played2", "Monitor of Headphones", is_monitor=True)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMicrophone]:
    """One with three sources: virtmic, other, and what is played into them."""
    with VirtualMicrophone(tmp_path) as made:
        made.add_other()
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def named(server: VirtualMicrophone) -> Iterator[Listener]:
    """Who asked for one device."""
    yield from listen_to(Microphone("virtmic"))


@pytest.fixture
def default(server: VirtualMicrophone) -> Iterator[Listener]:
    """Who takes what the server chooses."""
    yield from listen_to(Microphone())


def listen_to(microphone: Microphone) -> Iterator[Listener]:
    with closing(microphone):
        microphone.open()
        listener = Listener(microphone)
        listener.hear()
        yield listener


def stays_away(listener: Listener, seconds: float) -> None:
    """Nothing is heard for so long."""
    heard, began_s = listener.end_sample, time.monotonic()
    listener.until(lambda: time.monotonic() - began_s > seconds, seconds + 5)
    assert listener.end_sample == heard


def follows(listener: Listener, name: str) -> None:
    """Another source is told, and heard; a server may hold back sound for so long that it is opened anew."""
    listener.until(lambda: listener.microphone.description.endswith(f' of "{name}"'), 8)
    listener.hear()
    assert (listener.microphone.trouble, listener.microphone.warning) == (None, None)


def described(server: VirtualMicrophone, source: str) -> str:
    """A source's name for people."""
    listing = server.list_sources().split("Source #")
    (entry,) = (entry for entry in listing if f"Name: {source}\n" in entry)
    return entry.partition("Description: ")[2].partition("\n")[0]


@pytest.mark.virtmic
@pytest.mark.skipif(missing is not None, reason=str(missing))
class TestForReal:
    def test_a_named_device_is_had_back_from_somebody_who_moves_it(
        self, server: VirtualMicrophone, named: Listener
    ) -> None:
        before = possessions()
        server.move("other")
        assert named.noticed() == "no-device"
        assert named.microphone.trouble is not None
        assert 'the sound server has moved it to "Other"' in named.microphone.trouble.detail
        named.back()
        assert named.microphone.description.startswith('microphone "virtmic"')
        assert server.source_of_recording() == "virtmic"
        assert possessions() == before

    def test_a_named_device_goes_and_nothing_else_is_heard_in_its_place(
        self, server: VirtualMicrophone, named: Listener
    ) -> None:
        server.unplug()
        assert named.noticed() == "no-device"
        stays_away(named, 2.5)
        server.plug()
        named.back()
        assert server.source_of_recording() == "virtmic"

    def test_a_named_device_is_kept_when_another_becomes_the_default(
        self, server: VirtualMicrophone, named: Listener
    ) -> None:
        """Which moves it, where it had been the default."""
        server.set_default("other")
        named.until(lambda: bool(named.news), 6)
        named.hear()
        assert server.source_of_recording() == "virtmic"

    def test_a_move_by_somebody_is_followed(self, server: VirtualMicrophone, default: Listener) -> None:
        server.move("other")
        follows(default, "Other")
        assert default.news[0] == 'the sound server has moved it to "Other"'

    def test_the_default_is_followed_there_and_back(
        self, server: VirtualMicrophone, default: Listener
    ) -> None:
        server.set_default("other")
        follows(default, "Other")
        assert default.news[0] == 'the sound server has moved it to "Other"'
        server.set_default("virtmic")
        follows(default, described(server, "virtmic"))

    def test_what_the_server_plays_is_no_microphone(
        self, server: VirtualMicrophone, default: Listener
    ) -> None:
        """The last microphone goes, and the server has us record what it plays."""
        server.remove_other()
        server.unplug()
        assert default.noticed() == "no-device"
        assert "no microphone" in default.microphone.trouble.detail
        stays_away(default, 2.5)
        assert default.microphone.trouble is not None
        server.plug()
        default.back()
        assert len(default.gaps()) == 1

    def test_somebody_moves_it_to_what_the_server_plays(
        self, server: VirtualMicrophone, default: Listener
    ) -> None:
        """Which the server remembers, and would do again at the next opening."""
        server.remember_moves()
        server.move("other_in.monitor")
        assert default.noticed() == "no-device"
        default.back()
        assert server.source_of_recording() == "virtmic"

    def test_a_server_that_has_nothing_else_is_listened_to_with_a_warning(
        self, server: VirtualMicrophone
    ) -> None:
        server.remove_other()
        server.unplug()
        with closing(Microphone()) as microphone:
            microphone.open()
            Listener(microphone).hear()
            assert microphone.warning == (
                'listens to "Monitor of Null Output", which is what the sound server plays: no microphone'
            )


def test_nothing_happens_where_no_sound_server_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_server, "USERS", ("libnosuch.so.0",))
    assert sound_server.watch(lambda source: None) is None


@pytest.mark.parametrize(
    ("device", "any_device", "follows_it"),
    [("default", True, True), ("hw:0", True, True), ("Pulse", False, True), ("virtmic", False, False)],
)
def test_the_servers_choice_is_followed_where_no_device_was_named(
    device: str, any_device: bool, follows_it: bool
) -> None:
    where = Whereabouts(any_device=any_device)
    assert where.begin(device, DESK) == ""
    assert where.followed == ("Desk" if follows_it else "")
    fault = where.move(SHELF)
    assert bool(fault) is not follows_it
    assert where.take_news() == ('the sound server has moved it to "Shelf"' if follows_it else "")
    assert where.take_news() == ""


def test_who_came_back_on_another_source_stays_there() -> None:
    """ALSA's name may stand for whatever the server chooses, or be given to another device."""
    where = Whereabouts(any_device=False)
    assert where.begin("mine", DESK) == ""
    assert where.move(SHELF)
    assert where.begin("mine", SHELF) == ""
    assert where.move(SHELF) == ""
    assert where.move(DESK)


@pytest.mark.parametrize("any_device", [True, False])
def test_what_is_played_is_had_only_by_who_began_with_it(any_device: bool) -> None:
    began_with_it = Whereabouts(any_device=any_device)
    for source in (PLAYED, PLAYED, PLAYED_TOO):
        assert began_with_it.begin("mine", source) == ""
    assert bool(began_with_it.warning) is any_device
    assert bool(began_with_it.move(PLAYED)) is not any_device

    other = Whereabouts(any_device=any_device)
    assert other.begin("mine", DESK) == ""
    for _ in range(3):
        assert "no microphone" in other.begin("mine", PLAYED)
        assert other.move(PLAYED)
    assert other.begin("mine", SHELF) == ""
    assert other.warning is None


def test_without_a_sound_server_nothing_is_known() -> None:
    where = Whereabouts(any_device=True)
    for _ in range(2):
        assert where.begin("hw:0", None) == ""
    assert (where.followed, where.warning, where.take_news()) == ("", None, "")


def test_a_move_is_told_in_the_order_of_the_sound() -> None:
    from streamer.capture.recorder_wire import Moved, RecordReader, Sound, moved_record, sound_record

    told = sound_record(1, 0) + moved_record(**DESK._asdict()) + sound_record(2, 0)
    for cut in range(len(told)):
        reader = RecordReader()
        messages = [*reader.feed(told[:cut]), *reader.feed(told[cut:])]
        assert [type(message) for message in messages] == [Sound, Moved, Sound]
        assert ServerSource(**messages[1].facts) == DESK

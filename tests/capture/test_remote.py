"""Hellos, limits and goodbyes; a remote stream's clock; and bytes that make no sense."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio import Chunk
from streamer.capture.codecs import encode_block, quantise
from streamer.capture.reception import Limits, Reception
from streamer.capture.remote import RemoteSource
from streamer.capture.remote_messages import (
    Again,
    Alive,
    Audio,
    Bye,
    FromDaemon,
    FromSender,
    Gap,
    Hello,
    Refused,
    Welcome,
    encode,
)
from tests.capture.conftest import FakeClock

SESSION, OTHER = "ab" * 16, "cd" * 16
SOUND = np.random.default_rng(5).integers(-(2**15), 2**15, 200_000).astype(np.int16)


def hello(stream: str = "kitchen", session: str = SESSION, first: int = 0, **more: object) -> Hello:
    fields = {"stream": stream, "session": session, "codec": "pcm16", "first_sample": first, "age_ms": 0.0}
    return Hello(**{**fields, **more})  # type: ignore[arg-type]


def audio(first: int, samples: int = 1280, session: str = SESSION, age_ms: float = 0.0) -> Audio:
    return Audio(session=session, first_sample=first, samples=samples, age_ms=age_ms)


class Desk:
    """A reception, its clock, and short ways to speak to it."""

    def __init__(self, clock: FakeClock, **options: object) -> None:
        limits = {name: options.pop(name) for name in list(options) if name in Limits.__dataclass_fields__}
        self.clock = clock
        self.reception = Reception(
            Limits(**limits),  # type: ignore[arg-type]
            clock_s=clock,
            utc_clock_s=clock,
            **options,  # type: ignore[arg-type]
        )

    def say(self, message: FromSender, peer: bytes = b"\0one", user: str | None = None) -> FromDaemon | None:
        payload = None
        if isinstance(message, Audio):
            payload = encode_block(SOUND[message.first_sample :][: message.samples], "pcm16")
        return self.reception.handle(peer, encode(message), payload, user)

    def source(self, name: str = "kitchen") -> RemoteSource:
        return self.reception._by_name[name].source

    def read(self, name: str = "kitchen") -> list[Chunk]:
        chunks = []
        while (chunk := self.source(name).read()) is not None:
            chunks.append(chunk)
        return chunks


@pytest.fixture
def desk(clock: FakeClock) -> Desk:
    return Desk(clock)


def refusal(answer: FromDaemon | None) -> str:
    assert isinstance(answer, Refused)
    return answer.code


# -- hello -----------------------------------------------------------------------------------------


def test_a_hello_makes_a_stream_and_sound_comes_out(desk: Desk) -> None:
    assert desk.say(hello(source="desk microphone", first=4000)) == Welcome(next_sample=4000)
    (source,) = desk.reception.take_news().opened
    assert source.name == "kitchen"
    assert source.description == "sender (desk microphone, pcm16)"
    assert (source.live, source.rate_hz) == (True, 16_000)
    assert source.read() is None
    desk.say(audio(4000))
    desk.say(audio(5280))
    assert list(desk.reception.take_news().ready) == ["kitchen"]
    (chunk,) = desk.read()
    assert (chunk.first_sample, len(chunk.samples), chunk.samples.dtype) == (0, 2560, np.float32)
    np.testing.assert_array_equal(quantise(chunk.samples), SOUND[4000:6560])


def test_sound_before_a_hello_is_asked_for_one(desk: Desk) -> None:
    for message in (
        audio(0),
        Gap(session=SESSION, first_sample=0, samples=5),
        Bye(session=SESSION, next_sample=0),
    ):
        assert desk.say(message) == Again()
    desk.say(hello())
    assert desk.say(audio(0, session=OTHER)) == Again(), "the session is what a sender is known by"
    assert desk.say(audio(0), peer=b"\0two") == Again()
    assert desk.source().next_sample == 0


def test_the_name_of_a_live_stream_is_taken(desk: Desk) -> None:
    desk.say(hello())
    assert refusal(desk.say(hello(session=OTHER), peer=b"\0two")) == "taken"
    desk.say(audio(0))
    assert desk.source().next_sample == 1280
    assert isinstance(desk.say(hello("hall", OTHER), peer=b"\0two"), Welcome)


def test_the_name_of_a_stream_of_the_daemons_own_is_taken(clock: FakeClock) -> None:
    desk = Desk(clock, reserved=["kitchen"])
    assert refusal(desk.say(hello())) == "taken"


def test_one_connection_sends_one_stream(desk: Desk) -> None:
    """Else one client could take all the places there are."""
    desk.say(hello())
    assert refusal(desk.say(hello("hall"))) == "bad-request"


def test_a_key_may_send_what_its_list_says(clock: FakeClock) -> None:
    desk = Desk(clock, may_send=lambda user, stream: (user, stream) == ("pi", "kitchen"))
    assert refusal(desk.say(hello())) == "forbidden"
    assert refusal(desk.say(hello("hall"), user="pi")) == "forbidden"
    assert isinstance(desk.say(hello(), user="pi"), Welcome)


def test_another_key_cannot_take_a_live_stream_over_with_its_session(desk: Desk) -> None:
    desk.say(hello(), user="pi")
    assert refusal(desk.say(hello(), peer=b"\0two", user="thief")) == "taken"
    assert isinstance(desk.say(hello(), peer=b"\0two", user="pi"), Welcome)


def test_there_are_only_so_many_streams(clock: FakeClock) -> None:
    desk = Desk(clock, max_streams=2)
    for number in range(2):
        assert isinstance(desk.say(hello(f"s{number}"), peer=b"\0%d" % number), Welcome)
    assert refusal(desk.say(hello("s3"), peer=b"\0three")) == "full"
    desk.say(Bye(session=SESSION, next_sample=0), peer=b"\0" + b"0")
    assert isinstance(desk.say(hello("s3"), peer=b"\0three"), Welcome)


# -- coming back -----------------------------------------------------------------------------------


def test_a_sender_that_connects_again_goes_on_where_it_was(desk: Desk) -> None:
    desk.say(hello())
    desk.say(audio(0))
    assert desk.say(hello(), peer=b"\0two") == Welcome(next_sample=1280)
    assert desk.say(audio(1280)) == Again(), "the former connection has nothing to say any more"
    desk.say(audio(1280), peer=b"\0two")
    (chunk,) = desk.read()
    assert len(chunk.samples) == 2560
    assert desk.reception.names == ["kitchen"]
    assert len(desk.reception._by_peer) == 1


def test_a_sender_that_begins_anew_goes_on_after_a_gap_as_long_as_the_pause(desk: Desk) -> None:
    desk.say(hello())
    desk.say(audio(0, 16_000))
    desk.clock.advance(10)
    first = 700
    # It captured its first sample half a second ago, so 9.5 s after the last one.
    assert desk.say(hello(session=OTHER, first=first, age_ms=500), peer=b"\0two") == Welcome(
        next_sample=first
    )
    desk.say(audio(first, 1000, OTHER), peer=b"\0two")
    before, after = desk.read()
    assert (before.first_sample, before.end_sample) == (0, 16_000)
    assert after.first_sample == 16_000 + 152_000
    np.testing.assert_array_equal(quantise(after.samples), SOUND[first : first + 1000])
    assert (desk.source().overruns, desk.source().lost_samples) == (1, 152_000)
    assert desk.source().taken_sample == first + 1000


def test_however_short_the_pause_two_runs_are_never_glued_together(desk: Desk) -> None:
    desk.say(hello())
    desk.say(audio(0))
    desk.clock.advance(2)
    desk.say(hello(session=OTHER, age_ms=1e9), peer=b"\0two")  # a clock that must be wrong
    desk.say(audio(0, session=OTHER), peer=b"\0two")
    assert [chunk.first_sample for chunk in desk.read()] == [0, 1281]


def test_a_sender_that_restarts_before_any_sound_leaves_no_gap(desk: Desk) -> None:
    desk.say(hello())
    desk.clock.advance(5)
    desk.say(hello(session=OTHER, first=80), peer=b"\0two")
    desk.say(audio(80, session=OTHER), peer=b"\0two")
    assert [chunk.first_sample for chunk in desk.read()] == [0]
    assert desk.source().overruns == 0


def test_the_wall_clock_is_the_daemons_own(desk: Desk) -> None:
    """Told as an age, the time of a sample does not depend on the sender's clock being right."""
    desk.say(hello())
    desk.say(audio(0, age_ms=250))
    desk.clock.advance(1)
    (chunk,) = desk.read()
    assert chunk.captured_utc_s == pytest.approx(desk.clock() - 1.25)


# -- losses ----------------------------------------------------------------------------------------


def test_a_stated_gap_is_a_jump_of_the_clock(desk: Desk) -> None:
    desk.say(hello())
    desk.say(audio(0))
    desk.say(Gap(session=SESSION, first_sample=1280, samples=5000))
    desk.say(audio(6280))
    assert [chunk.first_sample for chunk in desk.read()] == [0, 6280]
    assert (desk.source().overruns, desk.source().lost_samples) == (1, 5000)


def test_a_hole_is_asked_for_but_not_with_every_message(desk: Desk) -> None:
    desk.say(hello())
    desk.clock.advance(1)
    assert desk.say(audio(1280)) == Welcome(next_sample=0)
    assert desk.say(audio(2560)) is None
    desk.clock.advance(0.6)
    assert desk.say(audio(3840)) == Welcome(next_sample=0)
    desk.say(audio(0))
    (chunk,) = desk.read()
    assert chunk.end_sample == 5120


def test_what_is_missing_at_the_end_is_asked_for_too(desk: Desk) -> None:
    desk.say(hello())
    desk.say(audio(0))
    desk.clock.advance(1)
    assert desk.say(Alive(session=SESSION, next_sample=2560)) == Welcome(next_sample=1280)
    assert desk.say(Alive(session=SESSION, next_sample=1280)) is None


def test_only_what_was_listened_to_is_acknowledged(desk: Desk) -> None:
    desk.say(hello())
    desk.say(audio(0))
    desk.clock.advance(1)
    ((peer, ack),) = desk.reception.take_acks()
    assert (peer, ack.next_sample) == (b"\0one", 0)
    desk.read()
    assert desk.reception.take_acks() == [], "nothing new was said"
    desk.say(audio(1280))
    desk.clock.advance(1)
    ((_, ack),) = desk.reception.take_acks()
    assert ack.next_sample == 1280


def test_no_sender_can_drive_a_clock_out_of_range(desk: Desk) -> None:
    """Numbers of 64 bits go into messages: what nobody can have captured is left out."""
    desk.say(hello())
    for session in (OTHER, SESSION, OTHER):
        desk.clock.advance(3)
        desk.say(hello(session=session))
        desk.say(Gap(session=session, first_sample=0, samples=2**53 - 2))
        desk.say(Gap(session=session, first_sample=0, samples=2**51))
    assert desk.source().lost_samples < 2**53


# -- too much --------------------------------------------------------------------------------------


def test_a_sender_that_floods_gets_no_further_than_its_share(desk: Desk) -> None:
    """What is too much is left out as if it had been lost on the way, and not taken for heard."""
    desk.say(hello())
    for number in range(2000):
        desk.say(audio(number * 100 % 100_000, 1))
    assert desk.reception._by_name["kitchen"].budget_samples < 160
    assert desk.source().warning is not None
    before = desk.source().next_sample
    assert desk.say(audio(before)) is None
    assert desk.source().next_sample == before
    desk.clock.advance(0.1)
    desk.say(audio(before))
    assert desk.source().next_sample > before


def test_sound_that_nobody_reads_is_bounded(clock: FakeClock) -> None:
    desk = Desk(clock, waiting_s=1.0)
    desk.say(hello())
    for number in range(20):
        desk.clock.advance(0.1)
        desk.say(audio(number * 1280))
    assert desk.source().waiting_samples <= 16_000
    assert desk.source().next_sample == desk.source().waiting_samples
    desk.read()
    desk.say(audio(desk.source().next_sample))
    assert desk.source().lost_samples == 0


def test_catching_up_fits_into_the_share(desk: Desk) -> None:
    """Eight times as fast as real time, for half a minute, after a full window at once."""
    desk.say(hello())
    at = 0
    for _ in range(25):
        desk.say(audio(at % 100_000, 1280))
        at += 1280
    for _ in range(375):
        desk.clock.advance(0.01)
        desk.say(audio(at % 100_000, 1280))
        at += 1280
    assert desk.source().warning is None


# -- going away ------------------------------------------------------------------------------------


def test_a_goodbye_ends_the_stream_after_its_last_sound(desk: Desk) -> None:
    desk.say(hello())
    desk.say(audio(0))
    source = desk.source()
    desk.say(Bye(session=SESSION, next_sample=1280))
    assert desk.reception.take_news().ended == [(source, "the sender said goodbye")]
    assert desk.reception.names == []
    chunk = source.read()
    assert chunk is not None
    assert chunk.end_sample == 1280
    assert source.read() is None
    assert desk.say(audio(1280)) == Again()


def test_a_sender_that_says_a_word_a_second_is_there(clock: FakeClock) -> None:
    """However soon a microphone is called stalled."""
    desk = Desk(clock, stream_timeout_s=60, stall_s=0.5)
    desk.say(hello())
    desk.clock.advance(1.5)
    assert not desk.source().finished
    desk.clock.advance(0.5)
    assert desk.source().finished


def test_silence_ends_it_too_in_the_end(clock: FakeClock) -> None:
    desk = Desk(clock, stream_timeout_s=60, stall_s=2)
    desk.say(hello())
    desk.say(audio(0))
    assert not desk.source().finished
    desk.clock.advance(3)
    assert desk.source().finished
    assert isinstance(desk.say(hello(session=OTHER), peer=b"\0two"), Welcome), "its name is free for another"
    desk.clock.advance(59)
    desk.reception.expire()
    assert desk.reception.names == ["kitchen"]
    desk.clock.advance(1)
    desk.reception.expire()
    ((source, why),) = desk.reception.take_news().ended
    assert (source.name, why) == ("kitchen", "no word from the sender for 60 s")
    assert (desk.reception.names, desk.reception._by_peer) == ([], {})


def test_a_stream_that_never_had_sound_does_not_stay(desk: Desk) -> None:
    """Names cost nothing: whoever says hello and no more shall not hold the places of others for an hour."""
    desk.say(hello())
    desk.clock.advance(30)
    desk.reception.expire()
    assert desk.reception.names == []


# -- nonsense --------------------------------------------------------------------------------------

NONSENSE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"{}",
    b'{"type":"hello"}',
    b'{"type":"dance","v":1}',
    b"\xff" * 100,
    b"[" * 100_000,
    b'{"type":"audio","v":0,"session":"abababababababab","first_sample":0,"samples":1,"age_ms":0}',
    encode(hello()).replace(b"kitchen", b"../etc"),
    encode(hello()).replace(b"kitchen", b""),
    encode(hello()).replace(b"pcm16", b"opus"),
    encode(hello()).replace(b"16000", b"48000"),
    encode(hello()).replace(SESSION.encode(), b"me"),
    encode(hello(first=7)).replace(b"7", b"-7"),
    encode(hello(first=7)).replace(b":7", b":9007199254740992"),
    encode(hello(first=7)).replace(b":7", b":1e400"),
    encode(hello(first=7)).replace(b":7", b":" + b"9" * 5000),
    encode(hello(source="x" * 200)).replace(b"xx", b"xxx"),
]


@pytest.mark.parametrize("header", NONSENSE, ids=range(len(NONSENSE)))
def test_what_makes_no_sense_is_refused_and_changes_nothing(header: bytes, desk: Desk) -> None:
    assert refusal(desk.reception.handle(b"\0one", header, None)) == "bad-request"
    assert desk.reception.unreadable == 1
    assert desk.reception.names == []
    desk.say(hello())
    desk.say(audio(0))
    desk.reception.handle(b"\0one", header, None)
    assert len(desk.read()) == 1


def test_nobody_writes_into_our_log_or_onto_our_terminal(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("streamer"), "propagate", True)
    answer = desk.reception.handle(b"\0one", b'{"type":"\\u001b[2J\\nERROR fire"}', None)
    assert isinstance(answer, Refused)
    desk.say(hello(source="nice\nERROR \x1b[31mmicrophone\u202e"))
    for text in (answer.message, desk.source().description, *caplog.messages):
        assert text.isprintable()
    assert desk.source().description == "sender (nice?ERROR ?[31mmicrophone?, pcm16)"


def test_a_later_version_is_told_apart_from_nonsense(desk: Desk) -> None:
    for header in (b'{"v":2,"type":"greeting","to":[]}', encode(hello()).replace(b'"v":1', b'"v":2')):
        assert refusal(desk.reception.handle(b"\0one", header, None)) == "version"
    assert desk.reception.unreadable == 0


def test_sound_that_is_not_as_announced_is_refused(desk: Desk) -> None:
    desk.say(hello())
    for payload in (None, b"", b"x", bytes(2558), bytes(2562)):
        assert refusal(desk.reception.handle(b"\0one", encode(audio(0)), payload)) == "bad-request"
    too_long = json.loads(encode(audio(0))) | {"samples": 32_001}
    answer = desk.reception.handle(b"\0one", json.dumps(too_long).encode(), bytes(64_002))
    assert refusal(answer) == "bad-request"
    assert desk.source().next_sample == 0


def test_a_refusal_is_logged_once_a_minute(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("streamer"), "propagate", True)
    for _ in range(100):
        desk.reception.handle(b"\0one", b"nonsense", None, None, "10.0.0.7")
        desk.clock.advance(0.1)
    assert len(caplog.records) == 1
    assert "refused a sender at 10.0.0.7 (bad-request): " in caplog.text
    desk.clock.advance(60)
    desk.reception.handle(b"\0one", b"nonsense", None, None, "10.0.0.7")
    assert len(caplog.records) == 2


messages = st.one_of(
    st.builds(
        hello, st.sampled_from(["a", "b", "c"]), st.sampled_from([SESSION, OTHER]), st.integers(0, 9999)
    ),
    st.builds(audio, st.integers(0, 60_000), st.integers(1, 32_000), st.sampled_from([SESSION, OTHER])),
    st.builds(
        Gap,
        session=st.sampled_from([SESSION, OTHER]),
        first_sample=st.integers(0, 2**53 - 1),
        samples=st.integers(1, 2**53 - 1),
    ),
    st.builds(Alive, session=st.sampled_from([SESSION, OTHER]), next_sample=st.integers(0, 2**53 - 1)),
    st.builds(Bye, session=st.sampled_from([SESSION, OTHER]), next_sample=st.integers(0, 2**53 - 1)),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_sequence_of_messages_breaks_it(data: st.DataObject) -> None:
    """Real ones, damaged ones and noise, from several connections: no exception, no growth, clocks go on."""
    desk = Desk(FakeClock(), max_streams=2, waiting_s=3.0)
    ends: dict[RemoteSource, int] = {}
    for _ in range(data.draw(st.integers(0, 40))):
        message = data.draw(messages)
        header = bytearray(encode(message))
        payload = bytes(2 * message.samples) if isinstance(message, Audio) else None
        damage = data.draw(st.integers(0, 3))
        if damage == 0:
            header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
        elif damage == 1 and payload:
            payload = payload[: data.draw(st.integers(0, len(payload)))]
        peer = b"\0%d" % data.draw(st.integers(0, 3))
        desk.reception.handle(peer, bytes(header), payload)
        desk.clock.advance(data.draw(st.sampled_from([0.0, 0.01, 0.3, 3.0])))
        desk.reception.expire()
        desk.reception.take_acks()
        news = desk.reception.take_news()
        for source in [*news.ready.values(), *(source for source, _ in news.ended)]:
            while (chunk := source.read()) is not None:
                assert chunk.first_sample >= ends.get(source, 0)
                assert np.isfinite(chunk.samples).all()
                ends[source] = chunk.end_sample
        assert len(desk.reception.names) <= 2
        assert len(desk.reception._by_peer) <= 2
        assert all(desk.source(name).waiting_samples <= 3.1 * 16_000 for name in desk.reception.names)

"""The messages between sender and daemon: both ways, as PROTOCOL.md has them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.capture import remote_messages
from streamer.capture.remote_messages import (
    Ack,
    Again,
    Alive,
    Audio,
    Bye,
    Gap,
    Hello,
    Refused,
    RemoteMessageError,
    Welcome,
    decode_from_daemon,
    decode_from_sender,
    encode,
)

PROTOCOL = (Path(__file__).parents[2] / "PROTOCOL.md").read_text()
SECTION = PROTOCOL.split("\n## Sending sound\n")[1].split("\n## ")[0]
SESSION = "ab" * 16
FROM_SENDER = (
    Hello(stream="kitchen", session=SESSION, codec="flac", first_sample=5, age_ms=1.5, source="here"),
    Audio(session=SESSION, first_sample=0, samples=1280, age_ms=80.0),
    Gap(session=SESSION, first_sample=2**53 - 1, samples=7, reason="why not"),
    Alive(session=SESSION, next_sample=3),
    Bye(session=SESSION, next_sample=3),
)
FROM_DAEMON = (Welcome(next_sample=3), Ack(next_sample=4), Again(), Refused(code="full", message="no"))


@pytest.mark.parametrize("message", [*FROM_SENDER, *FROM_DAEMON], ids=lambda message: type(message).__name__)
def test_every_message_comes_back_and_stands_in_the_protocol(message: msgspec.Struct) -> None:
    decode = decode_from_sender if message in FROM_SENDER else decode_from_daemon
    frame = encode(message)  # type: ignore[arg-type]
    assert decode(frame) == message
    fields = json.loads(frame)
    assert fields.pop("v") == 1
    kind = fields.pop("type")
    (row,) = re.findall(rf"^\| `{kind}` \| (.*?) \|", SECTION, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(fields)


def test_the_bytes_of_a_message_do_not_change() -> None:
    assert encode(FROM_SENDER[1]) == (
        b'{"type":"audio","v":1,"session":"abababababababababababababababab",'
        b'"first_sample":0,"samples":1280,"age_ms":80.0}'
    )


def test_limits_and_codes_stand_in_the_protocol() -> None:
    for limit in (remote_messages.LARGEST_FRAME_BYTES, remote_messages.LONGEST_BLOCK_SAMPLES):
        assert f"{limit:,}" in SECTION
    for code in ("taken", "full", "forbidden", "bad-request", "version"):
        assert f"`{code}`" in SECTION


def test_fields_of_later_versions_are_ignored() -> None:
    frame = encode(FROM_SENDER[3]).replace(b'"v":1', b'"v":1,"mood":"good"')
    assert decode_from_sender(frame) == FROM_SENDER[3]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_an_error(frame: bytes) -> None:
    for decode in (decode_from_sender, decode_from_daemon):
        with pytest.raises(RemoteMessageError):
            decode(frame)

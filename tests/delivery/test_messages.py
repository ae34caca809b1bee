"""The bytes of the messages, and that no bytes can break a reader."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.delivery.messages import (
    VERSION,
    Event,
    Frames,
    Health,
    MessageError,
    Name,
    decode,
    encode,
    new_run,
    pack_scores,
    utc_ms,
    utc_text,
)

PROTOCOL = Path(__file__).parents[2] / "PROTOCOL.md"

EVENT_JSON = (
    b'{"v":1,"type":"event","run":"5f3a9c0e12b4d678","journal":"c0ffee1234567890","seq":1,"stream":"kitchen","kind":"sound","label":"dog-bark",'
    b'"phase":"start","onset_s":12.5,"offset_s":null,"detected_s":12.75,"score":0.875,'
    b'"time_utc":"2026-01-31T12:00:00.123Z","reason":"","clip":"","model":"default"}'
)
FRAMES_JSON = (
    b'{"v":1,"type":"frames","run":"5f3a9c0e12b4d678","stream":"kitchen","first_row":400,"first_s":8.0075,"row_s":0.02,'
    b'"labels":["hello","dog-bark"],"rows":2,"dtype":"<f2","model":"default"}'
)
FRAMES_DATA = bytes.fromhex("0000 0034 0038 003c")  # 0, 0.25, 0.5, 1
HEALTH_JSON = (
    b'{"v":1,"type":"health","run":"5f3a9c0e12b4d678","stream":"kitchen","state":"listening","detail":"","final":false,'
    b'"time_utc":"2026-01-31T12:00:05.000Z","uptime_s":65.0,"heartbeat_s":5.0,'
    b'"journal":"c0ffee1234567890","seq":3,"oldest_seq":1,"journal_state":"ok","journal_detail":"","journal_pending":0,'
    b'"source":"microphone \\"USB Audio\\" (48000 Hz, 1 channel)","listened_s":64.5,"level_dbfs":-42.5,'
    b'"peak_dbfs":-18.25,"overruns":0,"lost_samples":0,"gaps":0,"bad_samples":0,"clipped_samples":0,"lag_s":0.05,'
    b'"last_sample_age_s":0.03,"cpu_percent":1.5,"drift_ppm":null,"version":"0.1.0","model":"default",'
    b'"label_count":12}'
)

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
seconds = st.floats(min_value=-1e9, max_value=1e9)
counts = st.integers(min_value=0, max_value=2**53)


def test_bytes_of_an_event(make_event: Any) -> None:
    assert encode(make_event()) == [b"sound.dog-bark.kitchen", EVENT_JSON]


def test_bytes_of_frames(make_frames: Any) -> None:
    assert encode(make_frames()) == [b"frame.kitchen", FRAMES_JSON, FRAMES_DATA]


def test_bytes_of_health(make_health: Any) -> None:
    assert encode(make_health()) == [b"health.kitchen", HEALTH_JSON]


def test_messages_of_a_daemon_that_knew_no_journal_are_read(make_event: Any, make_health: Any) -> None:
    for record in (make_event(), make_health()):
        topic, text = encode(record)
        fields = json.loads(text)
        old = {
            name: value for name, value in fields.items() if "journal" not in name and name != "oldest_seq"
        }
        read = decode([topic, json.dumps(old).encode()])
        assert read.journal == ""
        assert read.seq == record.seq
    assert read.journal_state == "off"


def test_silence_has_no_level(make_health: Any) -> None:
    parts = encode(make_health(level_dbfs=float("-inf")))
    assert b'"level_dbfs":null' in parts[1]
    decoded = decode(parts)
    assert isinstance(decoded, Health)
    assert decoded.level_dbfs is None


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.builds(
        Event,
        run=names,
        journal=st.just("") | names,
        seq=st.integers(min_value=1, max_value=2**53),
        stream=names,
        kind=st.sampled_from(["keyword", "sound"]),
        label=names,
        phase=st.sampled_from(["hit", "start", "end"]),
        onset_s=seconds,
        offset_s=st.none() | seconds,
        detected_s=seconds,
        score=st.floats(0, 1),
        time_utc=st.floats(0, 4e9).map(utc_text),
        reason=st.sampled_from(["", "gap", "max-duration", "stop"]),
        model=st.text(),
    )
)
def test_events_come_back_as_they_went(event: Event) -> None:
    assert decode(encode(event)) == event


@settings(deadline=None)
@given(
    labels=st.lists(names, min_size=1, max_size=9), rows=st.integers(0, 40), seed=st.integers(0, 2**32 - 1)
)
def test_frames_come_back_as_they_went(labels: list[str], rows: int, seed: int) -> None:
    scores = np.random.default_rng(seed).random((rows, len(labels)), dtype=np.float32)
    sent = Frames(
        run="0",
        stream="s",
        first_row=seed,
        first_s=0.5,
        row_s=0.01,
        labels=labels,
        rows=rows,
        data=pack_scores(scores),
    )
    got = decode(encode(sent))
    assert isinstance(got, Frames)
    assert got == sent
    unpacked = got.scores()
    assert unpacked.dtype == np.float32
    assert unpacked.shape == scores.shape
    np.testing.assert_array_equal(unpacked, scores.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(unpacked, scores, atol=2.5e-4)


maybe = st.none() | seconds


@settings(deadline=None)
@given(
    st.builds(
        Health,
        run=names,
        stream=names,
        journal=st.just("") | names,
        seq=counts,
        oldest_seq=counts,
        journal_state=st.sampled_from(["ok", "off", "failing"]),
        journal_detail=st.text(),
        journal_pending=counts,
        uptime_s=seconds,
        heartbeat_s=st.floats(min_value=0.01, max_value=3600),
        listened_s=seconds,
        level_dbfs=maybe,
        peak_dbfs=maybe,
        overruns=counts,
        lost_samples=counts,
        gaps=counts,
        bad_samples=counts,
        clipped_samples=counts,
        label_count=counts,
        lag_s=maybe,
        last_sample_age_s=maybe,
        cpu_percent=maybe,
        drift_ppm=maybe,
    )
)
def test_health_comes_back_as_it_went(health: Health) -> None:
    assert decode(encode(health)) == health


def test_scores_are_packed_row_by_row_whatever_the_memory_order() -> None:
    matrix = np.asarray([[0.0, 0.25], [0.5, 1.0]], dtype=np.float64)
    assert pack_scores(np.asfortranarray(matrix)) == pack_scores(matrix) == FRAMES_DATA


def test_unpacked_scores_may_be_written(make_frames: Any) -> None:
    scores = make_frames().scores()
    scores[0, 0] = 1.0
    assert make_frames().scores()[0, 0] == 0.0


@pytest.mark.parametrize("text", [EVENT_JSON, HEALTH_JSON])
def test_unknown_fields_are_ignored(text: bytes) -> None:
    topic = b"sound.dog-bark.kitchen" if text is EVENT_JSON else b"health.kitchen"
    grown = text[:-1] + b',"later":{"added":[1,2,null]}}'
    assert decode([topic, grown]) == decode([topic, text])


def test_scores_in_the_json_do_not_replace_the_binary_part() -> None:
    got = decode([b"frame.kitchen", FRAMES_JSON[:-1] + b',"data":"AAAA"}', FRAMES_DATA])
    assert isinstance(got, Frames)
    assert got.data == FRAMES_DATA


def test_a_newer_version_says_so() -> None:
    newer = EVENT_JSON.replace(b'"v":1', b'"v":%d' % (VERSION + 1))
    with pytest.raises(
        MessageError, match="version 2 is newer than this client, which reads 1; install a newer"
    ):
        decode([b"sound.dog-bark.kitchen", newer])


def _changed(**changes: Any) -> bytes:
    return json.dumps(json.loads(EVENT_JSON) | changes).encode()


EVENT_TOPIC = b"sound.dog-bark.kitchen"
MALFORMED: dict[str, list[bytes]] = {
    "nothing": [],
    "topic only": [EVENT_TOPIC],
    "empty JSON": [EVENT_TOPIC, b""],
    "half": [EVENT_TOPIC, EVENT_JSON[:100]],
    "not an object": [EVENT_TOPIC, b"[]"],
    "no UTF-8": [EVENT_TOPIC, b'{"v":1,"type":"\xff\xfe"}'],
    "no version": [EVENT_TOPIC, b'{"type":"event"}'],
    "version 0": [EVENT_TOPIC, _changed(v=0)],
    "version text": [EVENT_TOPIC, _changed(v="1")],
    "version huge": [EVENT_TOPIC, _changed(v=10**40)],
    "unknown type": [EVENT_TOPIC, _changed(type="weather")],
    "missing field": [EVENT_TOPIC, b'{"v":1,"type":"event"}'],
    "null score": [EVENT_TOPIC, _changed(score=None)],
    "score out of range": [EVENT_TOPIC, EVENT_JSON.replace(b"0.875", b"1e999")],
    "seq 0": [EVENT_TOPIC, _changed(seq=0)],
    "unknown phase": [EVENT_TOPIC, _changed(phase="middle")],
    "dot in a name": [b"sound.dog.bark.kitchen", _changed(label="dog.bark")],
    "newline in a name": [b"sound.dog-bark.kitchen\n", _changed(stream="kitchen\n")],
    "another topic": [b"sound.cat.kitchen", EVENT_JSON],
    "one part too many": [EVENT_TOPIC, EVENT_JSON, b""],
    "deep": [EVENT_TOPIC, _changed()[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
    "frames without scores": [b"frame.kitchen", FRAMES_JSON],
    "frames too short": [b"frame.kitchen", FRAMES_JSON, FRAMES_DATA[:-1]],
    "frames too long": [b"frame.kitchen", FRAMES_JSON, FRAMES_DATA + b"\0\0"],
    "frames of another number": [b"frame.kitchen", FRAMES_JSON.replace(b"<f2", b"<f4"), FRAMES_DATA],
    "frames of less than nothing": [
        b"frame.kitchen",
        FRAMES_JSON.replace(b'"rows":2', b'"rows":-2'),
        FRAMES_DATA,
    ],
    "frames beyond memory": [b"frame.kitchen", FRAMES_JSON.replace(b'"rows":2', b'"rows":%d' % 2**62), b""],
}


@pytest.mark.parametrize("parts", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_messages_are_told_in_one_line(parts: list[bytes]) -> None:
    with pytest.raises(MessageError) as caught:
        decode(parts)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
whole = {"e": json.loads(EVENT_JSON), "f": json.loads(FRAMES_JSON), "h": json.loads(HEALTH_JSON)}
one_field_wrong = st.sampled_from(sorted(whole)).flatmap(
    lambda kind: st.tuples(st.sampled_from(sorted(whole[kind])), json_like).map(
        lambda change: json.dumps(whole[kind] | {change[0]: change[1]}).encode()
    )
)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4))
def test_arbitrary_bytes_never_break_the_reader(parts: list[bytes]) -> None:
    with pytest.raises(MessageError):
        decode(parts)


@settings(deadline=None)
@given(
    st.sampled_from([EVENT_TOPIC, b"frame.kitchen", b"health.kitchen"]),
    one_field_wrong | json_like.map(lambda value: json.dumps(value).encode()),
    st.lists(st.binary(max_size=16), max_size=2),
)
def test_nearly_right_messages_never_break_the_reader(topic: bytes, text: bytes, rest: list[bytes]) -> None:
    try:
        record = decode([topic, text, *rest])
    except MessageError:
        return
    assert encode(record)[0] == topic
    if isinstance(record, Frames):
        assert record.scores().shape == (record.rows, len(record.labels))


@pytest.mark.parametrize("name", ["a", "0", "dog-bark", "Dog_Bark", "x" * 64])
def test_good_names(name: str) -> None:
    assert msgspec.convert(name, Name) == name


@pytest.mark.parametrize("name", ["", ".", "a.b", "a b", "a\n", "-a", "_a", "ä", "a/b", "x" * 65, None, 3])
def test_bad_names_are_refused(name: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, Name)


def test_times_are_written_with_milliseconds_and_z() -> None:
    assert utc_text(0) == "1970-01-01T00:00:00.000Z"
    assert utc_text(1_769_860_800.1239) == "2026-01-31T12:00:00.123Z"


def test_moments_are_read_as_they_are_written() -> None:
    assert utc_ms("2026-01-31T12:00:00.123Z") == 1_769_860_800_123
    assert utc_ms("2026-01-31T13:00:00.123+01:00") == 1_769_860_800_123
    assert utc_ms("2026-01-31 12:00") == 1_769_860_800_000, "without a zone it is UTC"
    for nonsense in ("", "yesterday", "12:00", "2026-13-01"):
        with pytest.raises(ValueError, match=r".*"):
            utc_ms(nonsense)


def test_runs_have_names_of_their_own() -> None:
    runs = {new_run() for _ in range(100)}
    assert len(runs) == 100
    assert all(re.fullmatch("[0-9a-f]{16}", run) for run in runs)


def test_the_samples_in_the_protocol_are_real() -> None:
    samples = re.findall(r"```\n(\S+)\n(\{.*?\})\n(?:([0-9a-f ]+)\n)?```", PROTOCOL.read_text(), re.DOTALL)
    seen = set()
    for topic, text, data in samples:
        record = decode([topic.encode(), text.encode(), *([bytes.fromhex(data)] if data else [])])
        assert set(json.loads(text)) == set(json.loads(encode(record)[1])), f"fields of {topic}"
        seen.add(type(record))
    assert seen == {Event, Frames, Health}


@pytest.mark.parametrize("record", [Event, Frames, Health])
def test_the_protocol_names_every_field(record: type[msgspec.Struct]) -> None:
    section = PROTOCOL.read_text().split(f"## {record.__name__}")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert documented == set(record.__struct_fields__) - {"data"}

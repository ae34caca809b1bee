"""Keywords that a run before this one has told already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamer.delivery.journal import Journal
from streamer.delivery.lately import SAME_MS, Lately
from streamer.delivery.messages import Event, encode, utc_ms, utc_text
from streamer.delivery.store import Entry

BEGAN_S = 1_769_860_800.0


def keep(journal: Journal, event: Event) -> None:
    topic, body = encode(event)
    journal.append([Entry(event.seq, topic.decode(), utc_ms(event.time_utc), body)])


def test_the_last_hits_of_former_runs(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    journal = Journal(tmp_path / "state" / "journal.db")
    journal.open()
    said = [
        ("kitchen", "keyword", "hello", "hit", 0.0),
        ("kitchen", "keyword", "hello", "hit", 5.0),
        ("kitchen", "sound", "dog-bark", "start", 5.0),
        ("hall", "keyword", "stop", "hit", 5.0),
    ]
    for seq, (stream, kind, label, phase, at_s) in enumerate(said, start=1):
        keep(
            journal,
            make_event(
                journal=journal.name,
                seq=seq,
                stream=stream,
                kind=kind,
                label=label,
                phase=phase,
                offset_s=13.0 if phase == "hit" else None,
                time_utc=utc_text(BEGAN_S + at_s),
            ),
        )
    lately = Lately(journal)
    journal.close()

    def has(stream: str, label: str, at_s: float) -> bool:
        return lately.has(stream, label, utc_text(BEGAN_S + at_s))

    near_s = SAME_MS / 1000
    assert has("kitchen", "hello", 5.0)
    assert has("kitchen", "hello", 5.0 + near_s)
    assert has("kitchen", "hello", 5.0 - near_s)
    assert not has("kitchen", "hello", 5.0 + near_s + 0.01)
    assert not has("kitchen", "hello", 5.0 - near_s - 0.01)
    assert not has("kitchen", "hello", 0.0), "only the last one of each"
    assert not has("hall", "hello", 5.0)
    assert not has("kitchen", "stop", 5.0)
    assert not has("kitchen", "dog-bark", 5.0), "a sound is told as begun once more"


def test_without_a_journal_everything_is_news() -> None:
    assert not Lately().has("kitchen", "hello", utc_text(BEGAN_S))

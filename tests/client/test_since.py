"""`--since` as people write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streamer.cli.remote import since


@pytest.mark.parametrize("text", ["all", "new"])
def test_words(text: str) -> None:
    assert since(text) == text


def test_a_number_is_that_of_an_event() -> None:
    assert since("0") == 0
    assert since("1234") == 1234


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1.5m", 90), ("2h", 7_200), ("3d", 259_200)])
def test_some_time_ago(text: str, seconds: float) -> None:
    moment = since(text)
    assert isinstance(moment, datetime)
    assert abs(datetime.now(UTC) - moment - timedelta(seconds=seconds)) < timedelta(seconds=60)


def test_a_time_of_the_day_is_the_last_such() -> None:
    for text, clock in (
        ("00:00", "00:00:00"),
        ("7:30:15", "07:30:15"),
        ("9:05", "09:05:00"),
        ("23:59", "23:59:00"),
    ):
        moment = since(text)
        assert isinstance(moment, datetime)
        assert moment.strftime("%H:%M:%S") == clock
        assert timedelta(0) <= datetime.now(UTC) - moment < timedelta(days=1, hours=2)


def test_a_moment_is_local_unless_it_says() -> None:
    assert since("2026-01-31T12:00") == datetime(2026, 1, 31, 12).astimezone()
    assert since("2026-01-31T12:00:00Z") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert since("2026-01-31") == datetime(2026, 1, 31).astimezone()

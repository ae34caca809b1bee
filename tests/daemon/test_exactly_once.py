"""The daemon and its subscribers are killed again and again, and no event is lost or doubled."""

from __future__ import annotations

import pytest

from tests.torture.kills import torture

KILLS = 20


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kills_lose_and_double_nothing(request: pytest.FixtureRequest) -> None:
    outcome = torture(KILLS, request.config.option.seed, pause_s=0.6)
    print(outcome.told)  # with the seed; pytest shows it where the test fails
    assert outcome.ok, outcome.told

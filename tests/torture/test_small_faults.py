"""Senders, network and disk of `make torture` at a small size."""

from __future__ import annotations

import pytest

from tests.support.failing_disk import lacks_small_disk, lacks_strace
from tests.support.namespaces import lacks_drop, lacks_network
from tests.torture import disk, network, senders

BUFFER_S = 2.0


@pytest.fixture
def namespaces() -> None:
    if missing := lacks_network():
        pytest.skip(missing)


@pytest.mark.slow
@pytest.mark.usefixtures("namespaces")
def test_cables_that_are_pulled_and_slowed() -> None:
    outcome = network.torture(
        [
            network.cut(1, "attic", "laptop"),
            network.cut(7, "attic", "laptop", loses_sound=True),
            network.slow(100, 2, "attic", loses_sound=None),
        ],
        BUFFER_S,
    )
    print(outcome.told)
    assert outcome.ok, outcome.told


@pytest.mark.slow
@pytest.mark.usefixtures("namespaces")
def test_cables_that_lose_packets() -> None:
    if missing := lacks_drop():
        pytest.skip(missing)
    outcome = network.torture([network.lossy(20, 4, "attic", "laptop")], 4 * BUFFER_S)
    print(outcome.told)
    assert outcome.ok, outcome.told


@pytest.mark.slow
def test_a_disk_that_is_full_and_one_that_is_read_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    if missing := lacks_small_disk(tmp_path_factory.mktemp("disk")):
        pytest.skip(missing)
    trials = ["disk full", "disk full, daemon killed and started", "read-only at the start"]
    outcome = disk.torture(1.0, trials)
    print(outcome.told)
    assert outcome.ok, outcome.told


@pytest.mark.slow
def test_writes_that_fail(tmp_path_factory: pytest.TempPathFactory) -> None:
    if missing := lacks_small_disk(tmp_path_factory.mktemp("disk")) or lacks_strace():
        pytest.skip(missing)
    outcome = disk.torture(1.0, [name for name in disk.TRIALS if "strace" in name])
    print(outcome.told)
    assert outcome.ok, outcome.told


@pytest.mark.slow
def test_kills_of_a_daemon_with_a_remote_microphone(request: pytest.FixtureRequest) -> None:
    outcome = senders.torture(4, request.config.option.seed)
    print(outcome.told)
    assert outcome.ok, outcome.told

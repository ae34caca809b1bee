"""What a call costs is measured against the yardstick, in the same run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from training.network import call_cost


def test_the_table(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_cost, "TURNS", 3)
    assert call_cost.main([str(tiny_bundle)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("plain 1 x 128 LSTM")
    assert lines[0].endswith("1.00 times the plain one")
    assert all(float(re.search(r"([\d.]+) us", line)[1]) > 0 for line in lines)
    assert len(lines) >= 2


def test_no_such_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert call_cost.main(["/no/such/bundle"]) == 5
    assert capsys.readouterr().err.count("\n") == 1

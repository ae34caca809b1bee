"""What the tests of the bridges share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def models(tiny_bundle: Path) -> Path:
    """The folder in which the tiny bundle is called "tiny"."""
    return tiny_bundle.parent

"""The wheel, installed somewhere else, stands on its own: its default model and demo scene are inside."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel, as pip would have put it into site-packages."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel (extra: test)")
    folder = tmp_path_factory.mktemp("wheel")
    build = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    name = subprocess.run(
        [sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()[-1]
    site = folder / "site"
    with zipfile.ZipFile(folder / name) as wheel:
        wheel.extractall(site)
    return site


def streamer(elsewhere: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command line, from a folder that is no checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMER_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "streamer", *arguments],
        cwd=elsewhere.parent,
        env={**environment, "PYTHONPATH": str(elsewhere)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_finds_its_default_model(elsewhere: Path) -> None:
    found = streamer(elsewhere, "models", "default")
    assert found.returncode == 0, found.stderr
    assert str(elsewhere / "streamer/_models/default") in found.stdout


def test_it_hears_its_demo_scene(elsewhere: Path) -> None:
    heard = streamer(elsewhere, "replay", str(elsewhere / "streamer/assets/demo.ogg"))
    assert heard.returncode == 0, heard.stderr
    assert '"phase": "hit"' in heard.stdout


def test_it_brings_the_default_recipe(elsewhere: Path) -> None:
    assert (elsewhere / "training/recipes/default.toml").is_file()


@pytest.mark.parametrize("whose", ["user", "system"])
def test_it_brings_its_units(elsewhere: Path, whose: str) -> None:
    shown = streamer(elsewhere, "install-service", f"--{whose}", "--print", "--program", "/usr/bin/env")
    assert shown.returncode == 0, shown.stderr
    assert "\nExecStart=/usr/bin/env run\n" in shown.stdout


def test_it_is_typed_and_brings_no_tests(elsewhere: Path) -> None:
    assert (elsewhere / "streamer/py.typed").is_file()
    assert not (elsewhere / "tests").exists()

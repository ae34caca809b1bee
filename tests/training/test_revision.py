"""The revision that bundles name: dirty when code was changed, and for nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from streamer import __version__
from training.revision import revision_of


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    answer = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository like this one, committed."""
    for name in (
        "training/__init__.py",
        "training/deep/code.py",
        "training/notes.md",
        "streamer/__init__.py",
        "models/default/manifest.json",
        "pyproject.toml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# one\n")
    (tmp_path / ".gitignore").write_text(".cache/\n*.log.py\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


@pytest.mark.parametrize(
    "changed",
    [
        "models/default/manifest.json",
        "models/mine/model.onnx",
        "training/notes.md",
        ".cache/run/latest.pt",
        "training/ignored.log.py",
        "tests/test_new.py",
        "scratch.txt",
    ],
)
def test_what_is_no_code_leaves_it_clean(changed: str, checkout: Path) -> None:
    (checkout / changed).parent.mkdir(parents=True, exist_ok=True)
    (checkout / changed).write_text("two\n")
    assert revision_of(checkout / "training") == git(checkout, "rev-parse", "--short=12", "HEAD")


@pytest.mark.parametrize(
    "changed", ["training/deep/code.py", "training/new.py", "streamer/__init__.py", "pyproject.toml"]
)
def test_changed_code_is_told(changed: str, checkout: Path) -> None:
    (checkout / changed).write_text("# two\n")
    assert revision_of(checkout / "training").endswith("-dirty")
    git(checkout, "add", ".")
    assert revision_of(checkout / "training").endswith("-dirty"), "added, and not committed"
    git(checkout, "commit", "--quiet", "-m", "two")
    assert not revision_of(checkout / "training").endswith("-dirty")


def test_a_package_installed_within_somebodys_checkout_is_no_part_of_it(checkout: Path) -> None:
    installed = checkout / ".cache" / "site-packages" / "training"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    assert revision_of(installed) == f"streamer {__version__}"


def test_without_a_checkout_it_is_the_version(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    assert revision_of(tmp_path) == f"streamer {__version__}"

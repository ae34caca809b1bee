"""Which version of this code is running."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from streamer import __version__

CODE = (":(glob)streamer/**/*.py", ":(glob)training/**/*.py", ":(glob)training/**/*.toml", "pyproject.toml")
"""What makes a model what it is. Notes, tests and the bundles themselves may change without it."""


@cache
def revision() -> str:
    """The commit, with `-dirty` if code was changed after it; the version where there is no checkout."""
    return revision_of(Path(__file__).parent)


def revision_of(package: Path) -> str:
    """The revision of the checkout that holds this package."""
    try:
        # A package that is installed below somebody's own checkout is no part of it.
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(package, "describe", "--always", "--abbrev=12")
        changed = _git(package.parent, "status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return f"streamer {__version__}"
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return answer.stdout.strip()

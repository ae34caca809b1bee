"""Who is measured, and how each is started."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.daemon import STREAMER, environment
from benchmarks.environments import PYTHON, ROOT

PEERS = ("pymicro-wakeword", "openwakeword", "pyopen-wakeword", "silero-vad", "pocketsphinx")
PLAIN = environment(Path(tempfile.gettempdir()))
"""For what keeps nothing and opens no socket."""


def replay_command(path: Path) -> list[str]:
    """A file through streamer."""
    return [*STREAMER, "replay", str(path)]


def peer_command(peer: str, what: str, argument: Path | str) -> list[str]:
    """A peer at work, see peer.py."""
    return [str(PYTHON), str(ROOT / "benchmarks/peer.py"), peer, what, str(argument)]


def peer_environment() -> dict[str, str]:
    """Ours, without our modules."""
    return {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}

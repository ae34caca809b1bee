"""The peers in an environment of their own: their pins clash with ours.

python -m benchmarks.environments      makes .bench/peers, once; what cannot be installed is told and left out
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".bench"
PEERS = FOLDER / "peers"
PYTHON = PEERS / "bin/python"
PROBLEMS = PEERS / "problems.json"
"""Why a peer is not there."""
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
COMMON = ("numpy>=2.0", "onnxruntime>=1.20", "sounddevice>=0.5")
STEPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "pymicro-wakeword": (("pymicro-wakeword>=2.5,<3",),),
    "pyopen-wakeword": (("pyopen-wakeword>=1.1,<2",),),
    # Its newest release, run by onnxruntime: the tflite-runtime that it names wants an older numpy. That
    # release fetches its models from elsewhere; 0.4.0 is the last that carries them.
    "openwakeword": (
        ("scipy", "scikit-learn", "tqdm", "requests"),
        ("--no-deps", "openwakeword==0.6.0"),
        ("--no-deps", "--target", str(PEERS / "openwakeword-models"), "openwakeword==0.4.0"),
    ),
    "silero-vad": (("--no-deps", "silero-vad>=6.2,<7"),),  # for its ONNX, which needs no torch
    "pocketsphinx": (("pocketsphinx>=5.1,<6",),),
}


def main() -> int:
    """Make it."""
    venv.create(PEERS, with_pip=True, clear=True)
    _install(COMMON)
    problems = {}
    for peer, steps in STEPS.items():
        print(f"peers: {peer}", flush=True)
        try:
            for step in steps:
                _install(step)
            _try_out(peer)
        except RuntimeError as error:
            problems[peer] = str(error)
            print(f"peers: {peer} will not be measured: {error}", file=sys.stderr, flush=True)
    PROBLEMS.write_text(json.dumps(problems, indent=1))
    return 0


def missing(peers: Sequence[str]) -> dict[str, str]:
    """Which of these cannot be measured, and why."""
    if not PROBLEMS.is_file():
        return dict.fromkeys(peers, "its environment has not been made (make bench makes it)")
    problems = json.loads(PROBLEMS.read_text())
    return {peer: problems[peer] for peer in peers if peer in problems}


def _install(words: Sequence[str]) -> None:
    _run([str(PYTHON), *PIP, *words])


def _try_out(peer: str) -> None:
    """It loads its model, and scores silence."""
    program = f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import peer; "
    _run([str(PYTHON), "-c", program + f"peer.PEERS[{peer!r}]()(bytes(2 * peer.FILE_CHUNK_SAMPLES))"])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        raise RuntimeError(lines[-1].strip() if lines else f"status {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())

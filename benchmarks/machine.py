"""What it was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.contestants import peer_command, peer_environment
from benchmarks.environments import ROOT
from streamer import __version__
from streamer.inference.bundle import load_bundle
from streamer.kernel import library

PACKAGES = ("numpy", "onnxruntime", "pyzmq", "soxr", "msgspec", "soundfile", "sounddevice")


def describe(peers: tuple[str, ...]) -> dict[str, Any]:
    """For the results."""
    return {
        "time_utc": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "processor": _line("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(_line("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "streamer": f"{__version__} ({_revision()})",
        "features": "with its compiled kernel" if library() else "without its compiled kernel",
        "labels": len(load_bundle("default").manifest.labels),
        "packages": {name: _version(name) for name in PACKAGES},
        "peers": {peer: _peer_version(peer) for peer in peers},
    }


def _line(path: str, name: str) -> str:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _revision() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "no git revision"


def _peer_version(peer: str) -> str:
    done = subprocess.run(
        peer_command(peer, "version", "-")[:4],
        env=peer_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()

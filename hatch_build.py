"""Compiles the C (recording, resampling, features, LSTM networks, what joins them) for the package.

Without a C compiler there is no kernel, and Python, numpy and onnxruntime do its work: the same, slower.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = [
    Path("streamer", name)
    for name in (
        "doze.c",
        "hear.c",
        "capture/recorder.c",
        "capture/kernel.c",
        "features/kernel.c",
        "inference/kernel.c",
    )
]
HEADER = Path("streamer/kernel.h")
LIBRARY = Path("streamer/libkernel.so")
# No fused operations but where asked for: with them each kind of processor would give other last bits.
OPTIONS = [
    "-std=gnu11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
]
PATIENCE_S = 120


class KernelHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling, for a wheel and for an editable installation."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the kernel in its place, and make the wheel one for this platform."""
        if self.target_name != "wheel":
            return
        if why := compile_kernel(Path(self.root)):
            self.app.display_warning(f"The kernel is left out, numpy and onnxruntime do its work: {why}")
            return
        build_data["artifacts"].append(f"/{LIBRARY}")
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"  # it is no Python extension: any Python will do


def compile_kernel(root: Path) -> str:
    """Why it cannot be had; "" where it is there."""
    sources, library = [root / source for source in SOURCES], root / LIBRARY
    if library.exists() and _changed_s(library) > max(
        map(_changed_s, (*sources, root / HEADER, Path(__file__)))
    ):
        return ""
    library.unlink(missing_ok=True)  # an old one would be worse than none
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        return "there is no C compiler"
    made = library.with_suffix(f".{os.getpid()}")  # it takes its place at once: others may be running
    command = [*compiler.split(), *OPTIONS, *map(str, sources), "-o", str(made), "-lm"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S)
        made.replace(library)
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip() or f"{compiler} ends with status {error.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        made.unlink(missing_ok=True)
    return ""


def _changed_s(path: Path) -> float:
    return path.stat().st_mtime

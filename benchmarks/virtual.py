"""A virtual microphone whose clock is ours: what is written into a pipe comes out of a sound server."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from streamer.audio import SAMPLE_RATE_HZ
from tests.support.virtual_microphone import VirtualMicrophone

SOUND_SERVER = ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_SERVER", "PULSE_COOKIE")


def at_server(microphone: VirtualMicrophone) -> dict[str, str]:
    """What a process needs in its environment to hear this microphone."""
    surroundings = microphone.environment()
    return {name: surroundings[name] for name in SOUND_SERVER}


class SteppedMicrophone(VirtualMicrophone):
    """It has sound when and as soon as it is written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SAMPLE_RATE_HZ)
        self._pipe = self.home / "microphone.pipe"
        self._modules = [
            f"module-pipe-source source_name=virtmic file={self._pipe} "
            f"format=s16le rate={SAMPLE_RATE_HZ} channels=1"
        ]

    def writer(self) -> IO[bytes]:
        """Where 16-bit samples are to be written, in real time."""
        return self._pipe.open("wb", buffering=0)

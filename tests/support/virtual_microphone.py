"""A microphone without hardware: a private PulseAudio whose null sink PortAudio captures from."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

READY_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0

DEFAULT_PA = "load-module module-native-protocol-unix socket={runtime}/native auth-anonymous=1\n"
SINK = "module-null-sink sink_name=mic_in rate={rate_hz} channels=1 format=s16le"
SOURCE = "module-remap-source master=mic_in.monitor source_name=virtmic"
ASOUNDRC = """\
pcm.!default {{ type pulse }}
pcm.virtmic {{ type pulse device "{source}" hint {{ show on description "mic" }} }}
"""


def available() -> str | None:
    """Why a virtual microphone cannot be had here (to be shown as the reason of a skip); None: it can."""
    for program in ("pulseaudio", "pactl", "paplay"):
        if shutil.which(program) is None:
            return f"{program} is not installed (packages pulseaudio pulseaudio-utils)"
    if ctypes.util.find_library("portaudio") is None:
        return "PortAudio is not installed (package libportaudio2)"
    folders = [*Path("/usr/lib").glob("*/alsa-lib"), Path("/usr/lib/alsa-lib"), Path("/usr/lib64/alsa-lib")]
    if not any((folder / "libasound_module_pcm_pulse.so").exists() for folder in folders):
        return "ALSA's pulse plugin is not installed (package libasound2-plugins)"
    return None


class VirtualMicrophone:
    """A sound server of our own while the `with` block lasts; what is played into it, "virtmic" captures.

    There are two sources, and the server moves who listens to the one that goes to the other; `sole`: one.
    """

    def __init__(self, tmp_path: Path, rate_hz: int = 48_000, *, sole: bool = False) -> None:
        self.home = tmp_path / "virtual-microphone"
        self.runtime = self.home / "run"
        self.rate_hz = rate_hz
        self.log_path = self.home / "pulseaudio.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._source = "mic_in.monitor" if sole else "virtmic"
        self._modules = [SINK.format(rate_hz=rate_hz), *([] if sole else [SOURCE])]
        self._players: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> VirtualMicrophone:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The sound server's process id."""
        assert self._server is not None
        return self._server.pid

    def environment(self) -> dict[str, str]:
        """The environment for a process that shall hear this microphone, and no other."""
        own = {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "PULSE_SERVER": f"unix:{self.runtime}/native",
            "PULSE_COOKIE": str(self.home / "cookie"),
        }
        return {**os.environ, **own}

    def start(self) -> None:
        """Start the server, and wait until the microphone is there."""
        self.runtime.mkdir(parents=True, exist_ok=True)
        self.runtime.chmod(0o700)
        settings = self.home / "default.pa"
        lines = [f"load-module {module}\n" for module in self._modules]
        settings.write_text(DEFAULT_PA.format(runtime=self.runtime) + "".join(lines) + self._set_default())
        (self.home / ".asoundrc").write_text(ASOUNDRC.format(source=self._source))
        command = ["pulseaudio", "-n", "--exit-idle-time=-1", "--daemonize=no", "-F", str(settings)]
        with self.log_path.open("wb") as log:
            self._server = subprocess.Popen(
                command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        assert self._server is not None
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while self._source not in self._sources():
            if self._server.poll() is not None or time.monotonic() > deadline_s:
                log = self.log_path.read_text(errors="replace")
                raise RuntimeError(f"pulseaudio did not get ready (status {self._server.poll()}):\n{log}")
            time.sleep(0.02)  # between looks, under a deadline

    def _set_default(self) -> str:
        return f"set-default-source {self._source}"

    def _sources(self) -> str:
        return self._pactl("list", "short", "sources")

    def _pactl(self, *words: str) -> str:
        done = subprocess.run(
            ["pactl", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_TIMEOUT_S,
        )
        return done.stdout

    def unplug(self) -> None:
        """The source that "virtmic" stands for goes away."""
        self._unload(next(word for word in self._modules[-1].split() if "_name=" in word))

    def plug(self) -> None:
        """It is there again, and the default."""
        self._pactl("load-module", *self._modules[-1].split())
        self._pactl(*self._set_default().split())

    def add_other(self) -> None:
        """Another microphone, "other", of which nobody hears anything."""
        self._pactl("load-module", "module-null-sink", "sink_name=other_in", "rate=44100", "channels=1")
        self._pactl(
            *("load-module", "module-remap-source", "master=other_in.monitor", "source_name=other"),
            "source_properties=device.description=Other",
        )

    def remove_other(self) -> None:
        """It goes, and what was played into it stays."""
        self._unload("source_name=other")

    def _unload(self, argument: str) -> None:
        """The module that was loaded with this argument; a module's name means all of that name."""
        listing = self._pactl("list", "short", "modules").splitlines()
        for line in listing:
            if argument in line.split():
                self._pactl("unload-module", line.split()[0])

    def remember_moves(self) -> None:
        """As on desktops: what a program records is found again where somebody has moved it."""
        self._pactl("load-module", "module-stream-restore")

    def list_sources(self) -> str:
        """All that is known of them."""
        return self._pactl("list", "sources")

    def source_of_recording(self) -> str:
        """The name of the source that PortAudio records from."""
        (number,) = self.recordings()
        outputs, sources = (
            {
                fields[0]: fields[1]
                for line in self._pactl("list", "short", what).splitlines()
                if (fields := line.split())
            }
            for what in ("source-outputs", "sources")
        )
        return sources[outputs[number]]

    def recordings(self) -> list[str]:
        """Numbers of what PortAudio records from it."""
        listing = self._pactl("list", "source-outputs").split("Source Output #")
        return [entry.split()[0] for entry in listing if "ALSA plug-in" in entry]

    def move(self, source: str) -> None:
        """As a person does in the mixer: have what is recorded come from another source."""
        for number in self.recordings():
            self._pactl("move-source-output", number, source)

    def set_default(self, source: str) -> None:
        """Another default source."""
        self._pactl("set-default-source", source)

    def play(self, wav_path: Path, latency_ms: int = 20) -> subprocess.Popen[bytes]:
        """Play a file into the microphone; the player is returned at once, and ends with the sound.

        A larger latency keeps the player from falling behind, and leaving holes, on a busy machine.
        """
        player = subprocess.Popen(
            ["paplay", "--device=mic_in", f"--latency-msec={latency_ms}", str(wav_path)],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._players.append(player)
        return player

    def kill_server(self) -> None:
        """The sound server dies without a word, as in a crash."""
        if self._server is not None:
            self._server.kill()
            self._server.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """End the players and the server; may be called twice."""
        for process in [*self._players, *([self._server] if self._server else [])]:
            _end(process)
        self._players.clear()
        self._server = None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait(STOP_TIMEOUT_S)

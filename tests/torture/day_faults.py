"""What happens to a microphone, its sound server and its daemon in the course of a day, each as one function.

Each plays tones where they can be heard; when it returns, all is as before, and the daemon should listen.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from streamer.client import ControlError
from streamer.delivery.messages import Health
from tests.torture.day_scene import BAD, GOOD, LIMIT_S, Hang, Scene

AWAY_MAX_S = 2.5
BUSY_S = (2.0, 4.0)
IN_FORCE = "config read again, and in force"
REFUSED = "config not taken over"


@dataclass
class Times:
    """How long things took, in seconds."""

    noticed_s: list[float] = field(default_factory=list)
    """From the beginning of an outage until health told of it."""
    back_s: list[float] = field(default_factory=list)
    """From the device's return until the daemon listened."""
    untold: list[str] = field(default_factory=list)
    """Outages that health never told of."""
    lost_under_load: int = 0
    """Samples, of a microphone that was there."""


class Outage:
    """One of them, on the clock; made at its beginning."""

    def __init__(self, scene: Scene, times: Times, name: str) -> None:
        self._scene, self._times, self._name = scene, times, name
        self._is_in_books = False
        scene.drain()
        self._began_s = time.monotonic()

    def noticed(self) -> None:
        """Wait until health tells of it."""

        def fits(health: Health) -> bool:
            return health.state in ("no-device", "stalled")

        self._is_in_books = True
        try:
            self._scene.health(fits, "told", LIMIT_S / 2)
        except Hang:
            if self._scene.is_dead:
                raise
            self._times.untold.append(self._name)
        else:
            self._times.noticed_s.append(time.monotonic() - self._began_s)

    def away(self) -> None:
        """It lasts: most of the time until it was told, at other times hardly at all."""
        if self._scene.rng.random() < 0.7:
            self.noticed()
            time.sleep(self._scene.rng.choice([0.0, self._scene.rng.uniform(0.0, AWAY_MAX_S)]))
        else:
            time.sleep(self._scene.rng.uniform(0.0, 0.3))

    def over(self, since_s: float | None = None) -> None:
        """The device is there again: wait until the daemon listens."""
        back_s, back_utc_s = since_s or time.monotonic(), time.time()
        if not self._is_in_books:
            self.noticed()
        self._scene.listens(back_utc_s)
        self._times.back_s.append(time.monotonic() - back_s)


def unplug(scene: Scene, times: Times) -> None:
    """The only source goes, and comes back."""
    outage = Outage(scene, times, "unplug")
    scene.server.unplug()
    outage.away()
    scene.server.plug()
    outage.over()


def kill_server(scene: Scene, times: Times) -> None:
    """The sound server dies without a word, and is started again."""
    outage = Outage(scene, times, "kill of the server")
    scene.server.kill_server()
    outage.away()
    scene.server.stop()
    scene.server.start()
    outage.over()


def stall_server(scene: Scene, times: Times) -> None:
    """The sound server stops in whatever it does, and goes on; a short one need not be noticed."""
    outage = Outage(scene, times, "stall of the server")
    is_short = scene.rng.random() < 0.3
    os.kill(scene.server.pid, signal.SIGSTOP)
    try:
        if is_short:
            time.sleep(scene.rng.uniform(0.1, 1.0))
        else:
            outage.noticed()
            time.sleep(scene.rng.choice([0.0, scene.rng.uniform(0.0, 2 * AWAY_MAX_S)]))
    finally:
        os.kill(scene.server.pid, signal.SIGCONT)
    if is_short:
        scene.listens(time.time())
    else:
        outage.over()


def stall_recorder(scene: Scene, times: Times) -> None:
    """The process that records hangs."""
    outage = Outage(scene, times, "stall of the recorder")
    _signal_recorder(scene, signal.SIGSTOP)
    outage.noticed()
    outage.over()


def kill_recorder(scene: Scene, times: Times) -> None:
    """The process that records dies."""
    began_s = time.monotonic()
    outage = Outage(scene, times, "kill of the recorder")
    _signal_recorder(scene, signal.SIGKILL)
    outage.noticed()
    outage.over(began_s)


def _signal_recorder(scene: Scene, number: int) -> None:
    recorders = scene.recorders()
    if len(recorders) != 1:
        raise RuntimeError(f"{len(recorders)} processes record while the daemon listens")
    os.kill(recorders[0], number)


def reload_by_signal(scene: Scene, _times: Times) -> None:
    """SIGHUP, with the same config, another one, or one that is to be refused."""
    _reload(scene, by_signal=True)


def reload_by_control(scene: Scene, _times: Times) -> None:
    """The same, asked for as `streamer ctl reload` does."""
    _reload(scene, by_signal=False)


def _reload(scene: Scene, *, by_signal: bool) -> None:
    variant = scene.rng.choice(["same", "bad", "other"])
    playing = None
    if variant == "other":  # a tone in the very moment of a change of models is neither's
        bundle, hop_ms = scene.rng.choice(["tiny", "other"]), scene.rng.choice([20, 50, 100])
        scene.good = GOOD.format(bundle=bundle, hop_ms=hop_ms)
    else:
        playing = scene.begin_tones()
        time.sleep(scene.rng.uniform(0.0, 1.5))
    scene.config.write_text(scene.rng.choice(BAD) if variant == "bad" else scene.good)
    said = REFUSED if variant == "bad" else IN_FORCE
    before = scene.daemon.stderr.count(said)
    if by_signal:
        scene.daemon.signal(signal.SIGHUP)
    else:
        _ask_to_reload(scene, refused=variant == "bad")
    _wait_said(scene, said, before + 1)
    if playing:
        scene.hear_tones(playing, "reload")


def _ask_to_reload(scene: Scene, *, refused: bool) -> None:
    try:
        scene.control.reload()
    except ControlError as error:
        if not refused:
            raise Hang(f"no reload: {error}") from error
    else:
        if refused:
            raise RuntimeError("a bad config was taken over")


def _wait_said(scene: Scene, said: str, times: int) -> None:
    try:
        scene.daemon.wait_log(said, times, LIMIT_S)
    except AssertionError as error:
        raise Hang(f"{said!r} was not said") from error


def mute(scene: Scene, times: Times) -> None:
    """The device is closed, nothing is reported, and it is opened again."""
    scene.drain()
    scene.control.mute()
    scene.health(lambda health: health.state == "muted", "muted")
    if scene.recorders():
        raise RuntimeError("a process records while the stream is muted")
    scene.play_unheard()
    began_s, began_utc_s = time.monotonic(), time.time()
    scene.control.unmute()
    scene.listens(began_utc_s)
    times.back_s.append(time.monotonic() - began_s)


def load(scene: Scene, times: Times) -> None:
    """Every core has twice as much to do as it can, at our own priority, while tones are played."""
    lost_before = scene.listens(time.time()).lost_samples
    end_s = time.monotonic() + scene.rng.uniform(*BUSY_S)
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        scene.hear_tones(scene.begin_tones(), "load")
        time.sleep(max(0.0, end_s - time.monotonic()))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    times.lost_under_load += scene.listens(time.time()).lost_samples - lost_before


KINDS: dict[str, Callable[[Scene, Times], None]] = {
    "unplug": unplug,
    "server killed": kill_server,
    "server stalled": stall_server,
    "recorder stalled": stall_recorder,
    "recorder killed": kill_recorder,
    "SIGHUP": reload_by_signal,
    "ctl reload": reload_by_control,
    "mute": mute,
    "load": load,
}

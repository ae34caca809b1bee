"""`training record`: takes of one label, from a microphone or cut from recordings, in folders to train on."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.capture.devices import NoInputDevice
from streamer.errors import DeviceError, StreamerError

if TYPE_CHECKING:
    from streamer.audio import F32
    from streamer.capture.source import Source
    from training.record_takes import Cutter, Take

NAME = "record"
HELP = "record takes of a word or sound, cut at the pauses, into a folder to train on"
EXAMPLE = "record hello --out recordings --speaker anna"

WHOLE = {"noise": "leave the microphone to what is always there", "speech": "talk, or let somebody talk"}
"""Folders that the `folders` reader knows and that hold no takes: recorded for so many seconds."""
REDRAW_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of record."""
    add = parser.add_argument
    add("label", help="the word or sound; unknown: other words; noise, speech: recorded without cutting")
    add("--out", type=Path, required=True, metavar="FOLDER", help="takes go to FOLDER/LABEL/")
    add("--speaker", default="me", help="who speaks, or which recording it is (default: %(default)s)")
    add("--takes", type=int, default=20, help="how many; Ctrl-C ends earlier (default: %(default)s)")
    add("--seconds", type=float, default=60.0, help="of noise or speech (default: %(default)g)")
    add("--device", help="microphone: number, name or part of a name (default: the system's)")
    add("--input", type=Path, nargs="+", metavar="FILE", help="cut these recordings instead")


def run(options: argparse.Namespace) -> None:
    """Record until all takes are there, the files are over, or Ctrl-C."""
    from streamer.capture.files import SoundFileSource
    from streamer.capture.microphone import Microphone
    from training.record_takes import PieceCutter, TakeCutter
    from training.train.interruption import Interruption

    label, speaker = _name(options.label), _name(options.speaker)
    shelf = TakeShelf(options.out / label, speaker)
    cutter = PieceCutter if label in WHOLE else TakeCutter
    recorder = Recorder(shelf, math.inf if options.input or label in WHOLE else options.takes)
    with Interruption(lambda line: None) as interruption:
        recorder.is_over = lambda: interruption.asked
        for path in options.input or ():
            recorder.record(SoundFileSource(path, realtime=False), cutter())
        if not options.input:
            longest_s = options.seconds if label in WHOLE else math.inf
            recorder.record(Microphone(options.device), cutter(), longest_s, _prompt(label, options))
    if not recorder.taken:
        raise StreamerError("no take: nothing stood out", recorder.advice)
    print(f"{recorder.taken} takes recorded; they are in {shelf.folder}")


def _name(text: str) -> str:
    from training.data.names import label_name

    try:
        return label_name(text)
    except ValueError as error:
        raise StreamerError(str(error)) from None


def _prompt(label: str, options: argparse.Namespace) -> str:
    if label in WHOLE:
        return f"{WHOLE[label]}, for {options.seconds:g} s; Ctrl-C ends earlier"
    what = "other words" if label == "unknown" else f'"{label.replace("_", " ")}"'
    return f"now {what}, {options.takes} times, with a second of silence after each; Ctrl-C ends earlier"


class TakeShelf:
    """A folder of takes, SPEAKER-NUMBER.flac; none is ever overwritten."""

    def __init__(self, folder: Path, speaker: str) -> None:
        self.folder, self._speaker = folder, speaker
        numbers = [path.stem.rpartition("-")[2] for path in folder.glob(f"{speaker}-*.*")]
        self._last = max((int(number) for number in numbers if number.isdecimal()), default=0)

    def add(self, take: Take) -> Path:
        """Write one, whole or not at all."""
        import soundfile

        from streamer.audio import SAMPLE_RATE_HZ

        self.folder.mkdir(parents=True, exist_ok=True)
        self._last += 1
        path = self.folder / f"{self._speaker}-{self._last:03d}.flac"
        fresh = path.with_name(f".{path.name}.new")
        soundfile.write(fresh, take.samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
        os.replace(fresh, path)
        return path


class Recorder:
    """Takes from one source after the other onto the shelf."""

    def __init__(self, shelf: TakeShelf, wanted: float) -> None:
        self._shelf, self._wanted = shelf, wanted
        self._screen = Screen()
        self._heard_anything = False
        self.taken = 0
        self.is_over: Callable[[], bool] = lambda: False
        """Whether somebody has asked for the end."""

    @property
    def advice(self) -> str:
        """What to do when there is none."""
        if not self._heard_anything:
            return "there was only digital silence: is the microphone muted?"
        return "speak up or come nearer, and leave a second of silence after each take"

    def record(self, source: Source, cutter: Cutter, longest_s: float = math.inf, prompt: str = "") -> None:
        """All takes of a source, until there are enough."""
        try:
            source.open()
        except NoInputDevice as error:
            raise DeviceError(
                error.message, "plug in a microphone, or cut recordings with --input FILE"
            ) from error
        if prompt:
            self._screen.say(f"{source.description}\n{prompt}")
        try:
            self._listen(source, cutter, longest_s)
        finally:
            self._screen.close()
            source.close()

    def _listen(self, source: Source, cutter: Cutter, longest_s: float) -> None:
        import numpy as np

        from training.record_sound import heard

        for samples in heard(source, longest_s, self.is_over):
            if samples is None:
                self._screen.say("some sound was lost")
                self._keep(cutter.lose())
                continue
            self._screen.heard(samples)
            self._heard_anything |= bool(samples.any())
            self._keep(cutter.feed(np.asarray(np.round(np.clip(samples, -1, 1) * 32767), np.int16)))
            if self.taken >= self._wanted:
                return
        self._keep(cutter.end())

    def _keep(self, takes: Iterable[Take]) -> None:
        for take in takes:
            if take.fault:
                self._screen.say(f"not kept: {take.fault}")
            elif self.taken < self._wanted:
                path = self._shelf.add(take)
                self.taken += 1
                of = "" if math.isinf(self._wanted) else f" of {self._wanted:g}"
                loud = "; too loud: it is clipped" if take.is_clipped else ""
                self._screen.say(f"{self.taken}{of}: {take.length_s:.2f} s, {path.name}{loud}")


class Screen:
    """Lines for the person at the microphone and, at a terminal, the level below them."""

    def __init__(self) -> None:
        from streamer.cli.terminal import StatusLine

        self._line = StatusLine(sys.stderr) if sys.stderr.isatty() else None
        self._drawn_s, self._square_sum, self._count = 0.0, 0.0, 0

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._line:
            self._line.write(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def heard(self, samples: F32) -> None:
        """Show how loud it is."""
        from streamer.cli.live import bar, level_dbfs

        self._square_sum += float(samples @ samples)
        self._count += len(samples)
        if self._line and time.monotonic() - self._drawn_s >= REDRAW_S:
            level = level_dbfs(self._square_sum, self._count)
            self._line.show(f"[{bar(level)}] {level:5.1f} dBFS")
            self._drawn_s, self._square_sum, self._count = time.monotonic(), 0.0, 0

    def close(self) -> None:
        """Take the level away."""
        if self._line:
            self._line.close()

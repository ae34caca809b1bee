"""The reference run, from recordings to a bundle with its card and report:

    python -m training.reference --data PACK [--out models/default] [--cache DIR] [options of `train`]

Every step is a command that can be given by hand as well. Called again it goes on where it stopped: what is
newer than all that it was made from is not made again.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamer import cli as streamer_cli
from streamer.errors import StreamerError
from training import cli

MANIFEST = "manifest.json"
DEMO = Path(streamer_cli.__file__).resolve().parent.parent / "assets" / "demo.ogg"
SNRS = ("clean", "10", "0")
"""The page goes with the bundle: fewer conditions than a page may have keep it small."""
MOST_BYTES = 4_000_000
"""Of one variant."""


class Failed(Exception):
    """A command has ended with this status, and said why."""


@dataclass(slots=True)
class Reference:
    """Where everything is, and what is to be told of it."""

    data: list[str]
    cache: Path
    out: Path
    labels: str = ""
    version: str = "0"
    notes: Path | None = None
    to_train: list[str] = field(default_factory=list)
    """Options of `train`."""

    @property
    def work(self) -> Path:
        """All that is made on the way."""
        return self.cache / "reference" / self.out.name

    def make(self) -> None:
        """Every step that is due."""
        run, tuned = self.work / "run", self.work / "tuned" / self.out.name
        thresholds, figures, page = (
            self.work / name for name in ("thresholds.json", "figures.json", "page.html")
        )
        draft = self.work / "draft" / self.out.name
        labels = ["--labels", self.labels] if self.labels else []
        self._do("prepare", ["prepare", "--data", *self.data, *labels])
        self._train(run)
        weights = checkpoints(run)
        self._do("draft", ["export", str(run), "--out", str(draft)], draft / MANIFEST, weights)
        self._do(
            "thresholds",
            ["evaluate", str(draft), "--tune", str(thresholds), "--report", str(figures)],
            figures,
            [draft / MANIFEST],
        )
        bundle = ["export", str(run), "--thresholds", str(thresholds), "--report", str(figures)]
        bundle += ["--version", self.version]
        bundle += ["--notes", str(self.notes)] if self.notes else []
        made_of = [*weights, thresholds, figures, *([self.notes] if self.notes else [])]
        self._do("tuned", [*bundle, "--out", str(tuned)], tuned / MANIFEST, made_of)
        report = ["report", str(tuned), "--snr", *SNRS, "--out", str(page)]
        self._do("report", report, page, [tuned / MANIFEST])
        self._do("bundle", [*bundle, "--page", str(page), "--out", str(self.out)])
        self._timed("check", self._check)

    def _train(self, run: Path) -> None:
        command = ["train", "--run", str(run), *self.to_train]
        if (run / "latest.pt").exists():
            command.append("--resume")
            if is_over(run, self._parsed(command)):
                _say(f"== train: {run} is up to date")
                return
        self._do("train", command)

    def _parsed(self, command: Sequence[str]) -> argparse.Namespace:
        return cli.parser().parse_args([*command, "--cache", str(self.cache)])

    def _do(
        self, name: str, command: Sequence[str], product: Path | None = None, made_of: Sequence[Path] = ()
    ) -> None:
        """One of the trainer's commands, unless its product is there and newer than what it is made of."""
        if product and is_newer(product, made_of):
            _say(f"== {name}: {product} is up to date")
            return
        arguments = [*command, "--cache", str(self.cache)]
        self._timed(name, lambda: _run(arguments), f"python -m training {shlex.join(arguments)}")

    def _timed(self, name: str, work: Callable[[], None], what: str = "") -> None:
        _say(f"== {name}: {what}".rstrip(": "))
        begun = time.monotonic()
        work()
        _say(f"== {name} took {(time.monotonic() - begun) / 60:.1f} min")

    def _check(self) -> None:
        """As somebody who gets it: hashes, sizes, and that every variant hears the demo scene to its end."""
        from streamer.inference.bundle import load_bundle
        from streamer.inference.model import VARIANTS

        bundle = load_bundle(self.out)
        for variant in VARIANTS:
            size = bundle.file(variant).stat().st_size
            if size > MOST_BYTES:
                raise StreamerError(f"{variant}: {size / 1e6:.1f} MB", "train a smaller network: --hidden")
            _say(f"{variant}: {size / 1e6:.2f} MB")
            command = ["replay", str(DEMO), "--model", str(self.out), "--variant", variant]
            if status := streamer_cli.main(command):
                raise Failed(status)


def checkpoints(run: Path) -> list[Path]:
    """What `export` may take."""
    return [path for path in (run / "latest.pt", run / "best.pt") if path.exists()]


def is_newer(product: Path, made_of: Sequence[Path]) -> bool:
    """Whether it is there, and was written after all of these."""
    return product.exists() and all(path.stat().st_mtime_ns <= product.stat().st_mtime_ns for path in made_of)


def is_over(run: Path, options: argparse.Namespace) -> bool:
    """Whether this run has nothing more to learn; raises if these options ask for another one."""
    from training.train import checkpoint
    from training.train.command import settings_of
    from training.train.held_out import Patience

    settings, saved = settings_of(options), checkpoint.load(run)[1]
    patience = Patience(settings.patience, **saved["patience"])
    return bool(saved["round"] >= settings.rounds or patience.is_over)


def _say(line: str) -> None:
    print(line, flush=True)


def _run(arguments: Sequence[str]) -> None:
    if status := cli.main(arguments):
        raise Failed(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """The whole of it; the exit status."""
    parser = argparse.ArgumentParser(
        "python -m training.reference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", nargs="+", required=True, metavar="DATA", help="as of `prepare`")
    add("--out", type=Path, default=Path("models/default"), help="the bundle (default: %(default)s)")
    add("--cache", type=Path, default=Path(".cache/training"), help="all else (default: %(default)s)")
    add("--labels", default="", metavar="default|data|FILE.toml", help="as of `prepare`")
    add("--version", default="0", help="of the bundle")
    add("--notes", type=Path, metavar="FILE", help="a text for the card")
    options, to_train = parser.parse_known_args(arguments)
    try:
        Reference(**vars(options), to_train=to_train).make()
    except Failed as failure:
        _say("== stopped; the same command goes on from here")
        return int(failure.args[0])
    except StreamerError as error:
        print(f"training: {error}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main())

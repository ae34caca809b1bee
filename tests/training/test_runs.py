"""A run's folder: it is not lost by mistake, and what is exported from it says where it comes from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the trainer needs the `train` extra")

from streamer.cli import main as streamer
from streamer.inference.bundle import Bundle, load_bundle
from training.cli import main
from training.train import checkpoint
from training.train.log import read

Train = Callable[..., int]

SMALL = ["--preset", "tiny", "--scene-s", "4", "--judge-every", "1", "--held-out-scenes", "1"]


@pytest.fixture(scope="module")
def train(toy_cache: Path) -> Train:
    """Rounds of next to nothing."""

    def run(folder: Path, *more: str, rounds: int = 3) -> int:
        settings = [] if "--resume" in more else [*SMALL, "--rounds", str(rounds)]
        return main(["train", "--cache", str(toy_cache), "--run", str(folder), *settings, *more])

    return run


@pytest.fixture(scope="module")
def trained(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose best weights are not its last ones."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert train(folder) == 0
    settings, best = checkpoint.load(folder / checkpoint.BEST)
    best["round"], best["patience"] = 2, {**best["patience"], "last_round": 2, "last_loss": 0.25}
    best["average"] = {name: 0.5 * weights for name, weights in best["average"].items()}
    checkpoint.save(folder, settings, best, checkpoint.BEST)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_is_not_overwritten_by_mistake(
    train: Train, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run)
    assert train(run) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "holds a run already, of 3 rounds" in told[0]
    assert all(option in told[0] for option in ("--resume", "--overwrite", "--run"))
    assert contents(run) == before
    (run / "log.jsonl").unlink()
    assert train(run) == 1, "a checkpoint alone is a run as well"


def test_a_run_is_overwritten_on_demand_and_nothing_beside_it(train: Train, run: Path) -> None:
    (run / "notes.txt").write_text("mine")
    before = contents(run)
    assert train(run, "--overwrite", "--seed", "7", rounds=1) == 0
    assert [entry["round"] for entry in read(run)] == [1]
    assert checkpoint.load(run / checkpoint.BEST)[0].seed == 7
    assert (run / "notes.txt").read_bytes() == before["notes.txt"]


def test_what_cannot_begin_destroys_nothing(train: Train, run: Path, tmp_path: Path) -> None:
    before = contents(run)
    assert train(run, "--overwrite", "--begin-from", str(tmp_path / "none")) == 1
    assert contents(run) == before


def test_going_on_and_beginning_anew_exclude_each_other(train: Train, run: Path) -> None:
    with pytest.raises(SystemExit):
        train(run, "--resume", "--overwrite")


def exported(run: Path, cache: Path, out: Path, *more: str) -> Bundle:
    assert main(["export", str(run), "--cache", str(cache), "--out", str(out), *more]) == 0
    return load_bundle(out)


@pytest.mark.parametrize(
    ("which", "file", "told"),
    [
        ([], "best.pt", "best.pt, after round 2, held-out loss 0.2500"),
        (["--checkpoint", "best"], "best.pt", "best.pt, after round 2, held-out loss 0.2500"),
        (["--checkpoint", "latest"], "latest.pt", "latest.pt, after round 3, held-out loss"),
        (["--checkpoint", "latest.pt"], "latest.pt", "latest.pt, after round 3, held-out loss"),
    ],
)
def test_the_weights_that_are_exported_are_named(
    which: list[str],
    file: str,
    told: str,
    run: Path,
    toy_cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = exported(run, toy_cache, tmp_path / "out", *which)
    assert f"weights: {told}" in capsys.readouterr().out
    assert bundle.manifest.provenance.checkpoint.startswith(told)
    assert f"* weights: {told}" in bundle.file("card").read_text()
    alone = exported(run / file, toy_cache, tmp_path / "alone")
    assert bundle.file("torch").read_bytes() == alone.file("torch").read_bytes()


def test_a_run_without_best_weights_gives_its_last_ones(run: Path, toy_cache: Path, tmp_path: Path) -> None:
    (run / checkpoint.BEST).unlink()
    assert exported(run, toy_cache, tmp_path / "out").manifest.provenance.checkpoint.startswith("latest.pt")


def test_weights_that_are_not_there_are_one_line(
    run: Path, toy_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(run), "--cache", str(toy_cache), "--out", str(tmp_path / "out")]
    assert main([*command, "--checkpoint", "worst"]) == 1
    assert "worst: no checkpoint there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_provenance_tells_every_command_and_setting(
    train: Train, run: Path, toy_cache: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    assert train(second, "--begin-from", str(run), "--seed", "5", rounds=1) == 0
    assert train(second, "--resume", "--patience", "3") == 0
    provenance = exported(second, toy_cache, tmp_path / "out").manifest.provenance
    small = "--scene-s 4.0 --judge-every 1 --held-out-scenes 1"
    assert provenance.earlier_commands == [f"python -m training train --preset tiny --rounds 3 {small}"]
    first, *rest = provenance.command.split(" --begin-from ")
    assert rest == ["run/best.pt"]
    assert set(first.split()) >= {"--seed", "5", "--rounds", "1", "--preset", "tiny"}
    assert provenance.settings["hidden"] == 32
    assert provenance.settings["chunk_rows"] == 50, "no option can change it, and it is told all the same"
    assert "labels" not in provenance.settings, "they are the default ones"
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()


@pytest.fixture(scope="module")
def paged(trained: Path, toy_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page about what `trained` exports."""
    folder = tmp_path_factory.mktemp("paged")
    exported(trained, toy_cache, folder / "draft")
    told = ["--cache", str(toy_cache), "--snr", "clean", "--variants", "onnx", "--no-clips"]
    assert main(["report", str(folder / "draft"), *told, "--out", str(folder / "page.html")]) == 0
    return folder / "page.html"


def test_the_page_goes_with_the_bundle(
    paged: Path, trained: Path, toy_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = exported(trained, toy_cache, tmp_path / "out", "--page", str(paged))
    assert bundle.file("page").name == "report.html"
    assert bundle.file("page").read_bytes() == paged.read_bytes()
    assert "weights" in paged.read_text()
    capsys.readouterr()
    assert streamer(["models", str(bundle.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("variants  onnx, onnx-int8, torch; runs as ") for line in lines)
    assert f"report    {bundle.folder / 'report.html'}" in lines


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: "<!doctype html><p>mine</p>", "none of `training report`"),
        (lambda text: text + "x" * 500_000, "500 kB"),
    ],
)
def test_a_page_that_does_not_belong_is_refused(  # type: ignore[no-untyped-def]
    spoil, told: str, paged: Path, trained: Path, toy_cache: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "page.html").write_text(spoil(paged.read_text()))
    out = ["--cache", str(toy_cache), "--out", str(tmp_path / "out"), "--page", str(tmp_path / "page.html")]
    assert main(["export", str(trained), *out]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_page_about_other_weights_is_refused(
    paged: Path, trained: Path, toy_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--cache", str(toy_cache), "--out", str(tmp_path / "out"), "--page", str(paged)]
    assert main(["export", str(trained), "--checkpoint", "latest", *out]) == 1
    assert "tells of other weights" in capsys.readouterr().err

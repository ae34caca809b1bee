"""The compiled features and those of numpy: the same rows, each bit-equal whatever it is computed with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamer.audio import F32
from streamer.features import static
from streamer.features.settings import FeatureSettings
from streamer.features.static import NumpyRows, StaticRows
from streamer.kernel import SWITCH, library

ROOT = Path(__file__).resolve().parents[2]
AGREE = 5e-4
"""Cepstral rows reach some hundred: this is what float32 can tell apart there, several times over."""
SETTINGS = {
    "default": FeatureSettings(),
    "few": FeatureSettings(mel_bins=13, coefficients=13, lifter=0.0),
    "log-mel": FeatureSettings(kind="log-mel", mel_bins=80, coefficients=None),
    "narrow": FeatureSettings(mel_bins=26, coefficients=20, low_hz=300.0, high_hz=3400.0, preemphasis=0.0),
}


def compiled(settings: FeatureSettings) -> StaticRows:
    if library() is None:
        pytest.skip("the kernel was not built: no C compiler, or not installed with pip")
    static.static_rows.cache_clear()
    return static.static_rows(settings)


@pytest.fixture(params=["kernel", "numpy"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def rows_by(way: str, settings: FeatureSettings) -> StaticRows:
    return compiled(settings) if way == "kernel" else NumpyRows(settings)


def sounds(rng: np.random.Generator, streams: int, frames: int) -> F32:
    loudness = 10.0 ** rng.uniform(-5, 0, (streams, 1))
    return (loudness * rng.standard_normal((streams, 240 + 160 * frames))).astype(np.float32)


@pytest.mark.parametrize("name", SETTINGS)
def test_both_give_the_same_rows(name: str, rng: np.random.Generator) -> None:
    settings = SETTINGS[name]
    kernel, plain = compiled(settings), NumpyRows(settings)
    for streams, frames in ((1, 1), (1, 9), (3, 8), (7, 1), (1, 100)):
        heard = sounds(rng, streams, frames)
        got, expected = kernel.rows(heard), plain.rows(heard)
        assert got.shape == expected.shape == (streams * frames, settings.static_size)
        np.testing.assert_allclose(got, expected, rtol=0, atol=AGREE)


@pytest.mark.parametrize("value", [0.0, 1e-44, 0.5, -1.0])
def test_no_sound_at_all(way: str, value: float) -> None:
    """A constant has no sound in it once its mean is gone: every band is at the floor, and finite."""
    rows = rows_by(way, SETTINGS["log-mel"]).rows(np.full((1, 560), value, np.float32))
    assert np.isfinite(rows).all()
    assert (rows < -10).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_row_depends_on_its_window_alone(name: str, way: str, rng: np.random.Generator) -> None:
    """Bit for bit: whatever other windows and streams it is computed with."""
    stage = rows_by(way, SETTINGS[name])
    heard = sounds(rng, 5, 11)
    together = stage.rows(heard).reshape(5, 11, -1)
    for stream, frame in ((0, 0), (1, 10), (2, 3), (4, 10), (4, 7)):
        window = np.ascontiguousarray(heard[stream : stream + 1, 160 * frame : 160 * frame + 400])
        np.testing.assert_array_equal(stage.rows(window)[0], together[stream, frame])
        beside = stage.rows(np.ascontiguousarray(heard[stream : stream + 1, 160 * frame :]))
        np.testing.assert_array_equal(beside[0], together[stream, frame])


def test_it_can_be_switched_off() -> None:
    code = "from streamer.kernel import library; print(library())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, SWITCH: "0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "None"


@pytest.mark.parametrize("compiler", ["/nowhere/cc", "false"])
def test_without_a_compiler_there_is_none(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is installed all the same, and an old kernel does not stay."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel (extra: test)")
    monkeypatch.syspath_prepend(str(ROOT))
    from hatch_build import HEADER, LIBRARY, SOURCES, compile_kernel

    copied = [*SOURCES, HEADER]
    for source in copied:
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, tmp_path / source)
    (tmp_path / LIBRARY).write_bytes(b"old")
    os.utime(tmp_path / LIBRARY, (0, 0))
    monkeypatch.setenv("CC", compiler)
    assert compile_kernel(tmp_path)
    assert not (tmp_path / LIBRARY).exists()
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path / one for one in copied}


@pytest.mark.parametrize("content", [b"", b"no library at all", "other"], ids=["empty", "nonsense", "other"])
def test_what_is_no_kernel_is_not_used(
    content: bytes | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is said why."""
    import streamer.kernel as module

    path = tmp_path / "libkernel.so"
    if content == "other":
        libc = next(
            (
                Path(folder)
                for folder in ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64")
                if (Path(folder) / "libc.so.6").exists()
            ),
            None,
        )
        if libc is None:
            pytest.skip("no library to take for it")
        shutil.copy(libc / "libc.so.6", path)
    else:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    monkeypatch.setattr(module, "LIBRARY", path)
    found, why = module._look.__wrapped__()
    assert found is None
    assert "does not load" in why
    assert "install streamer again" in why

"""Kept scenes and rooms: made once, the same whoever asks, made again when they are spoilt."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from streamer.errors import StreamerError
from training.augment.rooms import simulated_rooms
from training.augment.scene import SceneMaker
from training.label_files import cached_labels
from training.train.feed import Feed, SceneRenderer
from training.train.scenes import Scenes
from training.train.settings import TrainSettings


@pytest.fixture
def cache(toy_cache: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_cache, tmp_path / "cache", ignore=shutil.ignore_patterns("scenes")))


@pytest.fixture
def settings(cache: Path) -> TrainSettings:
    return TrainSettings(
        scene_s=4.0, streams=2, kept_hours=8 * 4 / 3600, rooms=0, easy_rounds=4, labels=cached_labels(cache)
    )


def scene_files(cache: Path) -> list[Path]:
    return sorted((cache / "scenes").glob("*/*.npz"))


def test_a_scene_is_rendered_once(
    cache: Path, settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, codes = Scenes(cache, settings).kept(3, 1.0)
    assert len(scene_files(cache)) == 1

    def refuse(*args: object, **more: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(SceneMaker, "make", refuse)
    again_rows, again_codes = Scenes(cache, settings).kept(3, 1.0)
    assert_array_equal(again_rows, rows)
    assert_array_equal(again_codes, codes)
    assert set(np.unique(codes)) > {0}


def test_a_kept_scene_is_the_fresh_one_to_half_precision(cache: Path, settings: TrainSettings) -> None:
    scenes = Scenes(cache, settings)
    (kept_rows, kept_codes), (rows, codes) = scenes.kept(5, 1.0), scenes.fresh(5, hardness=1.0)
    np.testing.assert_allclose(kept_rows, rows, rtol=1e-3, atol=1e-3)
    assert_array_equal(kept_codes, codes)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a scene"])
def test_a_spoilt_file_is_rendered_again(cache: Path, settings: TrainSettings, content: bytes) -> None:
    rows, _ = Scenes(cache, settings).kept(0, 0.0)
    (path,) = scene_files(cache)
    path.write_bytes(content or path.read_bytes()[:1000])
    assert_array_equal(Scenes(cache, settings).kept(0, 0.0)[0], rows)


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"scene_s": 5.0}, {"rooms": 3}], ids=lambda change: next(iter(change))
)
def test_other_settings_do_not_take_these_scenes(
    cache: Path, settings: TrainSettings, change: dict[str, float]
) -> None:
    if "rooms" in change:
        pytest.importorskip("pyroomacoustics", reason="the trainer needs the `train` extra")
    Scenes(cache, settings).kept(0, 1.0)
    Scenes(cache, msgspec.structs.replace(settings, **change)).kept(0, 1.0)
    assert len({path.parent for path in scene_files(cache)}) == 2


def test_no_room_on_the_disk_is_told_with_a_way_out(cache: Path, settings: TrainSettings) -> None:
    (cache / "scenes").write_text("a file where a folder should be")
    with pytest.raises(StreamerError, match="scenes cannot be kept") as told:
        Scenes(cache, settings).kept(0, 1.0)
    assert "--kept-hours 0" in str(told.value.remedy)


def test_rounds_draw_from_the_kept_scenes_and_are_the_same_with_any_number_of_workers(
    cache: Path, settings: TrainSettings
) -> None:
    played = []
    for workers in (1, 2):
        with Feed(cache, settings, workers) as feed:
            source = feed.rounds(0)
            played.append([next(source) for _ in range(6)])
    for (rows, codes), (other_rows, other_codes) in zip(*played, strict=True):
        assert rows.shape == (2, settings.rows_of_a_round * settings.stride, 40)
        assert codes.shape[:2] == (2, settings.rows_of_a_round)
        assert_array_equal(rows, other_rows)
        assert_array_equal(codes, other_codes)
    assert len(scene_files(cache)) <= settings.kept_scenes + settings.kept_easy_scenes


def test_the_same_scene_sounds_otherwise_each_time(cache: Path, settings: TrainSettings) -> None:
    one_scene = msgspec.structs.replace(settings, kept_hours=4 / 3600, easy_rounds=1, hardest=1.0)
    renderer = SceneRenderer(cache, one_scene)
    first, second = (renderer.render(number, 0)[0] for number in (5, 6))
    assert not np.allclose(first, second, atol=0.1)
    as_kept = SceneRenderer(cache, msgspec.structs.replace(one_scene, vary=False))
    assert_array_equal(as_kept.render(5, 0)[0], as_kept.render(6, 0)[0])


def test_rooms_are_made_once_and_are_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyroomacoustics", reason="the trainer needs the `train` extra")
    rooms = simulated_rooms(tmp_path, 12)
    assert len(rooms) == 12
    for room in rooms:
        energy = np.cumsum(np.square(room[::-1], dtype=np.float64))[::-1]
        assert np.abs(room).argmax() < 0.05 * 16_000  # the direct sound comes first
        assert energy[len(room) // 2] < 0.5 * energy[0]  # and what follows dies away
    monkeypatch.setattr("training.augment.rooms.make_rooms", None)
    for kept, made in zip(simulated_rooms(tmp_path, 12), rooms, strict=True):
        assert_array_equal(kept, made)
    assert simulated_rooms(tmp_path, 0) == []

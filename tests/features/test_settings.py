"""Feature settings: what is legal, and the hash by which a bundle proves that it was made with ours."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamer.features import settings as settings_module
from streamer.features.extractor import Extractor
from streamer.features.settings import FeatureSettings, frame_count

OTHER: dict[str, Any] = {
    "mel_bins": 41,
    "coefficients": 39,
    "low_hz": 21.0,
    "high_hz": 7999.0,
    "preemphasis": 0.96,
    "lifter": 0.0,
    "delta_order": 1,
}


def test_the_hash_of_the_defaults_is_what_it_always_was() -> None:
    """Every bundle carries such a hash: when this fails, no bundle made before will load."""
    assert FeatureSettings().sha256 == "ac60ecf1f41c70ebd91f6675498dbf95c80e94689f2c318b4e42b45eeddbbc01"


def test_the_hash_changes_with_every_field() -> None:
    log_mel = FeatureSettings(kind="log-mel", coefficients=None)
    others = [FeatureSettings(**{field: value}) for field, value in OTHER.items()]
    hashes = [FeatureSettings().sha256, log_mel.sha256, *(other.sha256 for other in others)]
    assert len(set(hashes)) == len(hashes)
    assert {"kind", *OTHER} == set(FeatureSettings.__struct_fields__), "a new field needs a line in OTHER"


def test_the_hash_changes_with_the_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FeatureSettings().sha256
    monkeypatch.setattr(settings_module, "ALGORITHM", settings_module.ALGORITHM + 1)
    assert FeatureSettings().sha256 != before


@pytest.mark.parametrize("field", OTHER)
def test_the_hash_survives_json(field: str) -> None:
    """Written to a manifest and read again; whole numbers written without a point too."""
    one = FeatureSettings(**{field: OTHER[field]})
    assert msgspec.json.decode(msgspec.json.encode(one), type=FeatureSettings).sha256 == one.sha256
    short = {
        name: int(value) if isinstance(value, float) and value == int(value) else value
        for name, value in msgspec.to_builtins(one).items()
    }
    assert msgspec.convert(short, FeatureSettings).sha256 == one.sha256


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "plp"},
        {"mel_bins": 12},
        {"mel_bins": 81},
        {"mel_bins": 40.5},
        {"coefficients": 12},
        {"coefficients": 41},
        {"coefficients": 30, "mel_bins": 23},
        {"coefficients": None},
        {"kind": "log-mel", "coefficients": 13},
        {"kind": "log-mel"},
        {"low_hz": -1},
        {"low_hz": 8000},
        {"low_hz": 4000, "high_hz": 4000},
        {"low_hz": 5000, "high_hz": 4000},
        {"high_hz": 8000.1},
        {"high_hz": 0},
        {"preemphasis": -0.1},
        {"preemphasis": 1},
        {"lifter": -1},
        {"delta_order": -1},
        {"delta_order": 3},
        {"delta_order": True},
        {"dither": 0},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, FeatureSettings)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize(("kind", "coefficients", "static"), [("mfcc", 13, 13), ("log-mel", None, 23)])
def test_sizes(kind: Any, coefficients: int | None, static: int, order: Any) -> None:
    settings = FeatureSettings(kind=kind, mel_bins=23, coefficients=coefficients, delta_order=order)
    assert (settings.static_size, settings.size) == (static, static * (1 + order))
    assert Extractor(settings).size == settings.size
    assert Extractor(settings).flush().shape == (0, settings.size)


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 0), (1, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98), (10**12, 6_249_999_998)],
)
def test_frame_count(samples: int, frames: int) -> None:
    assert frame_count(samples) == frames

"""The page and the command that writes it."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.inference.bundle import load_bundle
from tests.support import tiny_bundle
from training.cli import main
from training.data.corpus import Corpus
from training.evaluate import judge as judging
from training.evaluate.clips import play_clips
from training.evaluate.judge import Wish, judge
from training.evaluate.play import play
from training.label_files import default_labels
from training.report.command import prepared
from training.report.page import page
from training.report.spectrogram import png

EMPTY_TAGS = ("meta", "br", "line", "polyline", "polygon", "image", "img")
SECTIONS = ("curves", "confusions", "times", "noise", "sounds", "cases", "alarms", "origin")


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tone detectors under names that the toy data has: `yes` fits, `rain` is wrong about another word."""
    named = [tiny_bundle.LabelRule(**{**_fields(rule), "name": name}) for rule, name in _renamed()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_bundle, "RULES", tuple(named))
        return tiny_bundle.make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def _renamed() -> Any:
    return zip(tiny_bundle.RULES, ("yes", "no", "rain"), strict=True)


def _fields(rule: Any) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in rule.__struct_fields__}


@pytest.fixture(scope="module")
def result(bundle_folder: Path, toy_cache: Path) -> dict[str, Any]:
    """Everything judged, once."""
    wish = Wish(variants=("onnx",), snrs_db=(None, 10.0))
    return judge(load_bundle(bundle_folder), Corpus(toy_cache, "dev"), wish, lambda line: None)


def test_the_toy_model_is_judged_as_it_is(result: dict[str, Any]) -> None:
    clean = next(one for one in result["figures"] if one["condition"] == "clean" and one["mode"] == "stream")
    assert clean["words_f1"]["by_label"]["yes"]["recall"] == 1.0
    assert clean["words_f1"]["by_label"]["no"]["recall"] == 0.0
    assert clean["words"]["matrix"][0][0] == 1
    # The word `house` is a tone of 3 kHz, which this model calls rain; it is among the words alone.
    assert clean["false_alarms"]["rain"]["count"] == 1
    told = [one for one in result["false_alarms"] if one["label"] == "rain" and one["condition"] == "clean"]
    assert [(one["path"], one["playing"]) for one in told] == [("word/2.wav", "none of the labels (toy)")]
    assert {(one["variant"], one["mode"]) for one in result["figures"]} == {
        ("onnx", "stream"),
        ("onnx", "clips"),
    }
    assert any(one["what"] == "miss" and one["label"] == "no" for one in result["drawn"])


def test_it_can_be_kept_as_json(result: dict[str, Any]) -> None:
    assert page(json.loads(json.dumps(result))) == page(result)


class Tags(HTMLParser):
    """Whether every tag is closed, and what is referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.targets: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in EMPTY_TAGS:
            self.open.append(tag)
        self._note(attributes)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._note(attributes)

    def _note(self, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("href", "src", "xlink:href", "action", "data", "srcset"):
                self.targets.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_refers_to_nothing_outside(result: dict[str, Any]) -> None:
    text, tags = page(result), Tags()
    tags.feed(text)
    assert tags.open == []
    assert set(SECTIONS) <= set(tags.ids)
    assert all(
        target.startswith("data:image/png;base64,") or target[1:] in tags.ids for target in tags.targets
    )
    assert any(target.startswith("data:") for target in tags.targets)
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import|<script|<link|<iframe", re.sub('base64,[^"]*', "", text)
    )
    assert "viewport" in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_says_what_it_must(result: dict[str, Any]) -> None:
    text = page(result)
    main_part = text[text.index("<main>") :]
    assert main_part.index("<table>") < main_part.index("<svg")
    for words in (
        "yes",
        "no",
        "rain",
        "word/2.wav",
        "10dB",
        "clip by clip",
        "tests/support/tiny_bundle.py",
        "PSDS",
    ):
        assert words in main_part, words
    assert text.count('class="matrix"') == 2
    assert text.count('aria-label="yes"') == 1


def test_names_from_data_cannot_become_tags(result: dict[str, Any]) -> None:
    spoilt = json.loads(json.dumps(result))
    spoilt["false_alarms"][0]["path"] = spoilt["false_alarms"][0]["playing"] = "<script>alert(1)</script>"
    spoilt["drawn"][0]["playing"] = "<img src=x>"
    spoilt["bundle"]["name"] = spoilt["bundle"]["provenance"]["command"] = "<b>&"
    spoilt["notes"] = ["<u>"]
    text = page(spoilt)
    assert not re.search(r"<script|<img|<b>|<u>", text)
    assert "&lt;script&gt;" in text


def test_a_bundle_of_words_alone_or_sounds_alone_has_a_page(result: dict[str, Any]) -> None:
    for kind in ("keyword", "sound"):
        part = json.loads(json.dumps(result))
        labels = {entry["name"] for entry in part["bundle"]["labels"] if entry["kind"] != kind}
        for name in ("curves", "operating", "false_alarms", "drawn"):
            part[name] = [entry for entry in part[name] if entry["label"] not in labels]
        for one in part["figures"]:
            one["false_alarms"] = {k: v for k, v in one["false_alarms"].items() if v["kind"] == kind}
            if kind == "sound":
                one["words"], one["words_f1"] = {}, {"macro": None, "by_label": {}}
            else:
                none = dict.fromkeys(one["sounds_f1"]["macro"])
                one["sounds_f1"], one["psds"] = {"macro": none, "by_label": {}}, {}
        assert "<main>" in page(part)


def test_a_spectrogram_is_a_picture_of_its_size() -> None:
    data = png(np.arange(-6, 0, dtype=np.int8).reshape(2, 3))
    width, height, depth, colours = struct.unpack(">IIBB", data[16:26])
    assert (width, height, depth, colours) == (3, 2, 8, 3)
    at = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[at - 4 : at])
    pixels = zlib.decompress(data[at + 4 : at + 4 + length])
    assert len(pixels) == 2 * (1 + 3)
    assert list(pixels[1:4]) > list(pixels[5:8])  # the loudest band came last and is on top
    assert max(pixels) < data.index(b"IDAT") - 4 - (data.index(b"PLTE") + 4) - 4


def test_clip_mode_is_a_fresh_state_for_each_clip(bundle_folder: Path, toy_cache: Path) -> None:
    bundle = load_bundle(bundle_folder)
    kinds = dict(judging.streams_in(Corpus(toy_cache, "dev"), None))
    stream = kinds["keywords"]
    streamed = play(bundle, stream)
    in_clips = play_clips(bundle, stream, streamed)
    assert in_clips.scores.shape == streamed.scores.shape
    truth = next(one for one in stream.truths if one.label == "yes")
    row = round(truth.start_s * 16_000) // streamed.row_samples
    alone = judging.LongStream("alone", stream.samples[row * streamed.row_samples :][:24_000].copy())
    fresh = play(bundle, alone).scores
    np.testing.assert_allclose(in_clips.scores[row : row + 40], fresh[:40], atol=1e-5)
    starts = [round(one.start_s * 16_000) // streamed.row_samples for one in stream.truths]
    assert not in_clips.scores[: min(starts)].any()
    assert streamed.scores[: min(starts)].any()


def test_the_command_writes_page_and_figures(bundle_folder: Path, toy_cache: Path, tmp_path: Path) -> None:
    out, figures = tmp_path / "page.html", tmp_path / "figures.json"
    told = ["--variants", "onnx", "--snr", "clean", "--no-clips", "--json", str(figures), "--out", str(out)]
    assert main(["report", str(bundle_folder), "--data", str(toy_cache), *told]) == 0
    assert out.read_text(encoding="utf-8") == page(json.loads(figures.read_text()))
    assert str(tmp_path) not in out.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_told_at_once(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(bundle_folder), "--out", str(tmp_path / "none" / "page.html")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_cache_without_anything_in_it_is_one_line(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["report", str(bundle_folder), "--cache", str(tmp_path), "--out", str(tmp_path / "page.html")]
    assert main(arguments) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["report", "--help"])
    assert stop.value.code == 0
    assert "example: python -m training report" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("rate", ["0", "-1", "inf", "nan"])
@pytest.mark.parametrize("command", ["report", "evaluate"])
def test_an_impossible_budget_is_refused(command: str, rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "x", "--false-alarms-per-hour", rate])
    assert "rate above 0" in capsys.readouterr().err


def test_data_that_is_not_prepared_is_prepared_beside_the_cache(toy_cache: Path, tmp_path: Path) -> None:
    labels = default_labels().only(("yes", "rain"))
    assert prepared(None, tmp_path, labels) == tmp_path
    assert prepared(str(toy_cache), tmp_path, labels) == toy_cache
    own = prepared(f"pack:{toy_cache.parent}", tmp_path, labels)
    assert own.parent == tmp_path
    assert Corpus(own, "dev").items
    assert Corpus(own, "dev").labels == labels
    assert not any(tmp_path.glob("block-*"))


def test_spectra_survive_the_way_through_json(result: dict[str, Any]) -> None:
    lines = [base64.b85decode(line) for line in result["drawn"][0]["spectrum_db"]]
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 80

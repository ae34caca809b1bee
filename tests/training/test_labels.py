"""The labels to be learnt: from a file, from data, in a cache and a checkpoint; those that do not ship."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from streamer.inference.bundle import load_bundle
from tests.support.recordings import write_sound
from tests.training.conftest import PackMaker, tone
from training.augment.pieces import Shelf, stretch
from training.augment.scene import SceneMaker
from training.augment.targets import UNSURE, YES
from training.cli import main
from training.data.corpus import Corpus
from training.data.dataset import DataError, Dataset
from training.data.pack import read_pack
from training.data.prepare import prepare
from training.data.spec import open_dataset, open_datasets
from training.evaluate.metrics import TEN_COMMANDS, keyword_figures
from training.evaluate.play import Played
from training.evaluate.streams import LongStream, Truth, build, keyword_items
from training.label_choice import check_heard, choose, given_labels
from training.label_files import (
    FILE,
    LabelError,
    as_toml,
    cached_labels,
    check_same,
    default_labels,
    known_labels,
    read_labels,
)
from training.labels import Keyword, LabelSet, Sound, of_rules

ROOT = Path(__file__).resolve().parents[2]


def test_the_default_recipe_is_what_the_default_model_was_made_with() -> None:
    labels, bundle = default_labels(), load_bundle(ROOT / "models" / "default")
    assert (*TEN_COMMANDS, "computer", "jarvis") == labels.shipped_keywords[:12]
    assert (len(labels.shipped_keywords), len(labels.shipped_sounds)) == (16, 15)
    assert bundle.label_names == [name for name in labels.names if name in bundle.label_names]
    for rule in bundle.manifest.labels:
        assert labels.rule(rule.name, rule.threshold) == rule


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_can_be_as_short_as_names(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path / "l.toml", "[sounds.dog_bark]\n[keywords.hello]\n[keywords.Anna]\n"))
    assert labels == LabelSet({"hello": Keyword(), "Anna": Keyword()}, {"dog_bark": Sound()})
    assert labels.names == ("hello", "Anna", "dog_bark")
    assert [labels.column(name) for name in labels.names] == [0, 1, 2]
    assert labels.rule("hello").refractory_ms == 700
    assert (labels.merge_gap_s("dog_bark"), labels.merge_gap_s("nobody")) == (0.5, 0.2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[keyword.a]", "'keyword' is unknown; write [keywords.LABEL] or [sounds.LABEL]"),
        (
            "[keywords.a]\ngap = 1",
            "[keywords.a]: Object contains unknown field `gap` (there are: merge_gap_s,",
        ),
        ("[keywords.a]\nlead_s = 1", "[keywords.a]: Object contains unknown field `lead_s`"),
        ("[sounds.a]\nmin_ms = -1", "[sounds.a]: Expected `float` >= 0.0"),
        ("[sounds.a]\nship = 1", "[sounds.a]: Expected `bool`, got `int`"),
        ("[sounds.a]\nweight = 0", "[sounds.a]: Expected `float` > 0.0"),
        ("[keywords.a]\n[sounds.a]", "label 'a' is both a keyword and a sound"),
        ("[keywords.'a b']", "label 'a b': must be 1 to 64 letters"),
        ("[keywords]\na = 1", "[keywords.a]: Expected `object`"),
        ("keywords = 1", "keywords holds no tables"),
        ("[keywords.a]\nship = false", "no label that ships"),
        ("", "no label"),
        ("[[", "not TOML"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(LabelError, match=re.escape(reason)) as raised:
        read_labels(write(tmp_path / "l.toml", text))
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "l.toml"))


def test_a_missing_file_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="No such file or directory; give --labels default, data, or a TOML"):
        given_labels(str(tmp_path / "none.toml"))


def test_a_set_survives_files_and_messages_in_its_order(tmp_path: Path) -> None:
    labels = LabelSet({"b": Keyword(ship=False), "a": Keyword(merge_gap_s=0.4)}, {"d": Sound(lead_s=1.0)})
    assert read_labels(write(tmp_path / "l.toml", as_toml(labels))) == labels
    assert msgspec.json.decode(msgspec.json.encode(labels), type=LabelSet) == labels
    turned = LabelSet({"a": Keyword(merge_gap_s=0.4), "b": Keyword(ship=False)}, {"d": Sound(lead_s=1.0)})
    assert turned != labels, "another order is another network"
    assert read_labels(write(tmp_path / "d.toml", as_toml(default_labels()))) == default_labels()


def takes(folder: Path, label: str, count: int, hz: float, dev: int = 2) -> None:
    """Recordings of one label, some of them in the dev split."""
    for take in range(count + dev):
        split = "train" if take < count else "dev"
        write_sound(folder / split / label / f"{label}-{take}.wav", hz + 3 * take)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Two words, one of them rare, another word, and noise."""
    takes(tmp_path / "w", "hello", 6, 400)
    takes(tmp_path / "w", "bye", 3, 800)
    takes(tmp_path / "w", "unknown/cat", 6, 1200)
    takes(tmp_path / "w", "noise", 1, 1600)
    return tmp_path / "w"


def opened(words: Path, *more: str) -> list[Dataset]:
    return open_datasets([f"folders:{words}?kind=keyword", *more])


def test_what_the_data_names_often_enough_becomes_a_label(words: Path) -> None:
    choice = choose(opened(words), None)
    assert choice.labels == LabelSet({"hello": Keyword()})
    assert choice.left_out == ["bye (3 train recordings of 5)", "cat"]
    assert choice.warnings == []
    assert "bye (3 train recordings of 5), cat" in choice.as_text()


def test_a_label_that_is_known_keeps_its_parameters(words: Path, tmp_path: Path) -> None:
    takes(tmp_path / "s", "rain", 5, 300, dev=0)
    takes(tmp_path / "s", "smart mirror", 5, 600)
    choice = choose(opened(words, f"folders:{tmp_path / 's'}"), "data")
    known = known_labels()
    assert choice.labels.names == ("hello", "smart_mirror", "rain")
    assert choice.labels.sounds["rain"] == known.sounds["rain"]
    assert choice.labels.keywords["smart_mirror"] == known.keywords["smart_mirror"]
    assert choice.warnings == []
    assert ("rain", "none of its 5 recordings is in the dev split") in [
        warning for dataset in opened(words, f"folders:{tmp_path / 's'}") for warning in dataset.warnings
    ]


def test_a_word_that_only_teaches_the_default_model_ships_in_anothers(tmp_path: Path) -> None:
    helper = next(name for name in default_labels().keywords if not default_labels().ships(name))
    takes(tmp_path / "h", helper, 5, 300)
    with pytest.raises(DataError, match="neither a keyword nor a sound that is known"):
        open_dataset(f"folders:{tmp_path / 'h'}")
    choice = choose(open_datasets([f"folders:{tmp_path / 'h'}?kind=keyword"]), None)
    assert choice.labels == LabelSet({helper: Keyword()})


def test_labels_without_dev_recordings_are_told(words: Path) -> None:
    assert choose(open_datasets([f"folders:{words}?kind=keyword&split=train"]), None).warnings == [
        "bye",
        "hello",
    ]


def test_a_pack_alone_means_the_default_labels(pack_maker: PackMaker) -> None:
    for number, label in enumerate(default_labels().names):
        kind = "keyword" if default_labels().is_keyword(label) else "event"
        pack_maker.add(f"{label}.wav", tone(300 + 50 * number), label=label, kind=kind)
    pack = read_pack(pack_maker.write())
    assert choose([pack], None).labels == default_labels()
    pack.clips = [clip for clip in pack.clips if clip.label not in ("stop", "rain", "music")]
    with pytest.raises(
        LabelError, match=r"'stop' has no train recording \(and 1 more: rain\); add .* --labels data"
    ):
        choose([pack], None)  # music is made by code


def test_a_file_says_what_is_a_keyword_and_what_a_sound(words: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "l.toml", "[keywords.hello]\n[sounds.bye]\n[keywords.cat]\nship = false\n")
    datasets = open_datasets([f"folders:{words}"], given_labels(str(file)))
    choice = choose(datasets, str(file))
    assert choice.labels == read_labels(file)
    kinds = {(clip.kind, clip.label) for clip in datasets[0].clips}
    assert kinds == {("keyword", "hello"), ("event", "bye"), ("keyword", "cat"), ("noise", "")}
    assert "learnt, not shipped: cat" in choice.as_text()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[keywords.helo]", "label 'helo' has no train recording, did you mean 'hello'?; add recordings"),
        ("[keywords.hello]\n[sounds.bye]", "in the data it is a keyword, in the labels a sound"),
        ("[keywords.hello]\n[keywords.x]\n[keywords.y]", r"label 'x' has no train recording (and 1 more: y)"),
    ],
)
def test_a_label_without_recordings_is_an_error(words: Path, tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(LabelError, match=re.escape(reason)):
        choose(opened(words), str(write(tmp_path / "l.toml", text)))


def test_data_without_a_label_is_an_error(words: Path, tmp_path: Path) -> None:
    takes(tmp_path / "few", "bye", 4, 500)
    with pytest.raises(LabelError, match=r"no label has 5 train recordings: bye \(4 train"):
        choose(open_datasets([f"folders:{tmp_path / 'few'}?kind=keyword"]), None)
    takes(tmp_path / "both", "hello", 5, 500)
    with pytest.raises(LabelError, match="label 'hello' is a keyword and a sound; rename"):
        choose(opened(words, f"folders:{tmp_path / 'both'}?kind=event"), None)


def test_a_label_whose_train_recordings_are_all_broken_is_an_error(words: Path, tmp_path: Path) -> None:
    for path in (words / "train" / "hello").iterdir():
        path.write_text("not a sound")
    datasets = opened(words)
    choice = choose(datasets, None)
    prepare(datasets, tmp_path / "cache", 1, choice.labels)
    with pytest.raises(LabelError, match="label 'hello' has no train recording"):
        check_heard(tmp_path / "cache", choice.labels)


def test_other_gaps_are_aligned_anew(tmp_path: Path) -> None:
    write_sound(tmp_path / "d/yes/one.wav", length_s=1.5, at=[(0.2, 0.5), (0.8, 1.1)])
    dataset, cache = open_dataset(f"folders:{tmp_path / 'd'}?split=train"), tmp_path / "cache"
    for gap_s, length_s in ((0.2, 0.3), (0.4, 0.9), (0.2, 0.3)):
        prepare(dataset, cache, 1, LabelSet({"yes": Keyword(merge_gap_s=gap_s)}))
        ((onset_s, offset_s),) = Corpus(cache, "train").items[0].spans
        assert offset_s - onset_s == pytest.approx(length_s, abs=0.05)


def test_a_cache_for_other_labels_is_told_with_the_way_out(toy_cache: Path) -> None:
    assert cached_labels(toy_cache) == default_labels()
    with pytest.raises(LabelError, match=r"was prepared for other labels: no, up, .*; prepare again"):
        check_same(toy_cache, default_labels().only(("yes", "rain")))
    louder = {name: msgspec.structs.replace(s, lead_s=9.0) for name, s in default_labels().sounds.items()}
    with pytest.raises(LabelError, match="other parameters of the same labels"):
        check_same(toy_cache, LabelSet(default_labels().keywords, louder))


@pytest.fixture
def helped(toy_cache: Path, tmp_path: Path) -> Path:
    """The toy pack, where "house" is learnt and not shipped."""
    labels = LabelSet({**known_labels().keywords, "house": Keyword(ship=False)}, known_labels().sounds)
    cache = tmp_path / "helped"
    prepare(read_pack(toy_cache.parent), cache, 1, labels)
    return cache


def test_a_label_that_does_not_ship_changes_only_its_own_targets(toy_cache: Path, helped: Path) -> None:
    corpora = Corpus(helped, "train"), Corpus(toy_cache, "train", known_labels())
    with_it, without = (SceneMaker(Shelf(corpus), 20.0) for corpus in corpora)
    own, wanted = with_it.labels.column("house"), 0
    for seed in range(8):
        one, other = with_it.make(5, seed), without.make(5, seed)
        np.testing.assert_array_equal(one.samples, other.samples)
        np.testing.assert_array_equal(np.delete(one.codes, own, axis=1), other.codes)
        wanted += int((one.codes[:, own] == YES).sum())
    assert wanted > 50


def test_a_word_that_does_not_ship_and_is_cut_in_two_is_not_scored(
    helped: Path, rng: np.random.Generator
) -> None:
    item = next(i for i in Corpus(helped, "train").unknown_words() if i.clip.label == "house")
    assert item.label == "house"
    for _ in range(40):
        piece = stretch(item, rng, 0.5)
        assert (piece.label == "house") != ("house" in piece.unsure)


def test_labels_that_do_not_ship_are_not_judged(helped: Path) -> None:
    pytest.importorskip("torch", reason="features of scenes go with the `train` extra")
    from training.train.held_out import held_out_scenes
    from training.train.settings import TrainSettings

    settings = TrainSettings(scene_s=5.0, rooms=0, labels=cached_labels(helped))
    ((_, codes),) = held_out_scenes(helped, settings, 2)
    own = settings.labels.column("house")
    assert (codes[..., own] == UNSURE).all()
    assert (np.delete(codes, own, axis=-1) != UNSURE).any(axis=(0, 1)).all()


def test_evaluation_goes_by_the_labels_that_ship(toy_cache: Path, helped: Path) -> None:
    rules = [default_labels().rule(name) for name in ("yes", "rain")]
    corpus = Corpus(toy_cache, "dev", of_rules(rules, default_labels()))
    truths = build("keywords-clean", keyword_items(corpus), None, 4).truths
    assert sorted(truth.label for truth in truths) == ["", "", "yes"], "no and house are other words here"
    assert {item.clip.label for item in corpus.unknown_words()} == {"no", "house"}
    truths = build("keywords-clean", keyword_items(Corpus(helped, "dev")), None, 4).truths
    assert sorted(truth.label for truth in truths) == ["", "no", "yes"], "house does not ship"


@pytest.mark.parametrize(
    ("words", "twelve"), [(list(default_labels().keywords), True), (["yes", "no"], False)]
)
def test_the_twelve_label_figure_needs_the_ten_commands(words: list[str], twelve: bool) -> None:
    truths = [Truth("yes", "gsc", 1.0, 2.0, ((1.2, 1.6),)), Truth("", "silence", 3.0, 4.0, ())]
    played = Played(LongStream("k", np.zeros(80_000, np.float32), truths), words, np.zeros((1, 2)), 0, 480, 0)
    assert ("accuracy_twelve" in keyword_figures(played, [], words)) == twelve


def test_from_a_file_of_labels_to_a_bundle(
    words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the trainer needs the `train` extra")
    from training.train import checkpoint

    text = "[keywords.hello]\nrefractory_ms = 900\n[keywords.bye]\n[keywords.cat]\nship = false\n"
    file, cache = write(tmp_path / "l.toml", text), ["--cache", str(tmp_path / "cache")]
    data = ["--data", f"folders:{words}?kind=keyword", "--processes", "1"]
    run, small = tmp_path / "run", ["--preset", "tiny", "--rounds", "1", "--streams", "2", "--scene-s", "5"]
    assert main(["prepare", *cache, *data, "--labels", str(file)]) == 0
    assert (tmp_path / "cache" / FILE).is_file()
    assert main(["train", *cache, "--run", str(run), *small]) == 0
    assert checkpoint.load(run)[0].labels == read_labels(file)
    assert main(["export", *cache, str(run), "--out", str(tmp_path / "mine")]) == 0
    bundle = load_bundle(tmp_path / "mine")
    assert bundle.label_names == ["hello", "bye"]
    assert bundle.manifest.labels[0].refractory_ms == 900
    assert bundle.manifest.description == "2 keywords in one network."
    assert "* sounds" not in bundle.file("card").read_text()
    report = tmp_path / "report.json"
    tuned = ["--tune", str(tmp_path / "t.json"), "--report", str(report)]
    capsys.readouterr()
    assert main(["evaluate", *cache, str(tmp_path / "mine"), *tuned]) == 0
    told = capsys.readouterr().out
    assert "| hello | 2 |" in told
    assert "twelve" not in told
    assert "cat" not in told
    assert set(msgspec.json.decode((tmp_path / "t.json").read_bytes())) == {"hello", "bye"}
    final = ["--thresholds", str(tmp_path / "t.json"), "--report", str(report)]
    assert main(["export", *cache, str(run), "--out", str(tmp_path / "mine"), *final]) == 0

    assert main(["export", *cache, str(run), "--out", str(tmp_path / "x"), "--drop", "hello", "bye"]) == 1
    assert main(["export", *cache, str(run), "--out", str(tmp_path / "x"), "--drop", "helo"]) == 1
    told = capsys.readouterr().err
    assert "--drop: no label is left; its labels are hello, bye" in told
    assert "--drop helo: no label of this run" in told
    assert main(["prepare", *cache, *data]) == 0
    assert main(["train", *cache, "--run", str(run), "--resume"]) == 1
    assert "was prepared for other labels: bye, cat; prepare again" in capsys.readouterr().err
    assert main(["train", *cache, "--run", str(tmp_path / "run2"), *small, "--begin-from", str(run)]) == 1
    assert "has learnt other labels" in capsys.readouterr().err


def test_checkpoints_from_before_labels_could_be_chosen_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the trainer needs the `train` extra")
    from training.train import checkpoint
    from training.train.settings import TrainSettings

    old = msgspec.to_builtins(TrainSettings())
    old["labels"] = ["yes", "rain"]
    torch.save({"settings": msgspec.json.encode(old).decode()}, tmp_path / checkpoint.LATEST)
    assert checkpoint.load(tmp_path)[0].labels == default_labels().only(("yes", "rain"))

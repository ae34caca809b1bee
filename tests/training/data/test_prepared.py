"""From readers to prepared sound: any rate, times of every label, duplicates, the cache."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from streamer.audio import SAMPLE_RATE_HZ
from tests.support.recordings import told, write_sound, write_text
from training import label_files
from training.augment.pieces import Shelf, stretch, word
from training.augment.scene import SceneMaker
from training.augment.targets import NO, UNSURE, YES, blank, frame_of
from training.data import duplicates
from training.data.blocks import index_path, is_done, key_of, read_index
from training.data.corpus import Corpus
from training.data.dataset import Clip, DataError
from training.data.prepare import prepare
from training.data.spec import open_dataset, open_datasets
from training.label_files import default_labels

LABELS = default_labels()
STRONG_HEADER = "filename\tonset\toffset\tevent_label"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where prepared sound goes."""
    return tmp_path / "cache"


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_and_any_number_of_channels(tmp_path: Path, cache: Path, rate_hz: int) -> None:
    for channels in (1, 2, 6):
        name = f"yes/{channels}.wav"
        write_sound(
            tmp_path / "d" / name, 440 + channels, rate_hz=rate_hz, channels=channels, at=[(0.1, 0.3)]
        )
    assert prepare(open_dataset(f"folders:{tmp_path / 'd'}?split=train"), cache, processes=1) == []
    items = Corpus(cache, "train").keyword("yes")
    assert len(items) == 3
    for item in items:
        assert item.entry.samples == pytest.approx(0.4 * SAMPLE_RATE_HZ, abs=2)
        assert item.spans == [pytest.approx((0.1, 0.3), abs=0.03)]
        assert np.abs(item.samples()).max() == pytest.approx(0.5, abs=0.06)


def test_broken_recordings_are_listed_and_the_rest_is_prepared(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "d" / "yes"
    write_sound(folder / "good.wav")
    write_text(folder / "text.wav", "not a sound")
    whole = write_sound(folder / "cut.flac", 500).read_bytes()
    (folder / "cut.flac").write_bytes(whole[:40])
    soundfile.write(folder / "nan.wav", np.full(800, np.nan, np.float32), 16_000, subtype="FLOAT")
    soundfile.write(folder / "none.wav", np.empty(0, np.float32), 16_000)
    soundfile.write(folder / "quiet.wav", np.zeros(8_000, np.float32), 16_000)
    dataset = open_dataset(f"folders:{tmp_path / 'd'}?split=train")
    write_sound(folder / "gone.wav", 600)
    late = open_dataset(f"folders:{tmp_path / 'd'}?split=train")
    (folder / "gone.wav").unlink()
    assert len(late.clips) == len(dataset.clips) + 1
    faults = prepare(late, cache, processes=1)
    assert "not a sound file that can be read" in told(faults, "yes/text.wav")
    assert "not a sound file that can be read" in told(faults, "yes/cut.flac")
    assert told(faults, "yes/nan.wav") == "holds samples that are not numbers"
    assert told(faults, "yes/none.wav") == "no samples"
    assert told(faults, "yes/quiet.wav") == "nothing is heard in it"
    assert told(faults, "yes/gone.wav") == "no such file"
    assert [item.clip.path for item in Corpus(cache, "train").items] == ["yes/good.wav"]
    assert (cache / "faults.txt").read_text().count("\n") == len(faults) == 6


def test_a_label_whose_every_recording_is_broken_is_an_error(tmp_path: Path, cache: Path) -> None:
    write_sound(tmp_path / "d/yes/good.wav")
    write_text(tmp_path / "d/no/bad.wav", "not a sound")
    dataset = open_dataset(f"folders:{tmp_path / 'd'}?split=train")
    with pytest.raises(
        DataError, match=r"label 'no' has no usable recording \(no/bad.wav: not a sound.*faults.txt"
    ):
        prepare(dataset, cache, processes=1)


def test_the_same_sound_in_another_format_and_data_set_is_left_out(tmp_path: Path, cache: Path) -> None:
    first = write_sound(tmp_path / "a/yes/one.wav", 500)
    write_sound(tmp_path / "a/yes/two.wav", 600)
    samples, rate_hz = soundfile.read(first)
    (tmp_path / "b/yes").mkdir(parents=True)
    soundfile.write(tmp_path / "b/yes/copy.flac", np.repeat(samples[:, None], 2, axis=1), rate_hz)
    specs = [f"folders:{tmp_path / name}?split=train" for name in "ab"]
    faults = prepare(open_datasets(specs), cache, processes=1)
    assert faults == [("yes/copy.flac", "the same sound as yes/one.wav; left out")]
    assert [item.clip.path for item in Corpus(cache, "train").items] == ["yes/one.wav", "yes/two.wav"]


def test_the_same_sound_in_two_splits_is_an_error(tmp_path: Path, cache: Path) -> None:
    write_sound(tmp_path / "d/train/yes/one.wav", 500)
    write_sound(tmp_path / "d/dev/yes/other.wav", 500)
    dataset = open_dataset(f"folders:{tmp_path / 'd'}")
    with pytest.raises(
        DataError, match=r"dev/yes/other.wav \(dev\) and train/yes/one.wav \(train\): one recording is in"
    ):
        prepare(dataset, cache, processes=1)


def test_digital_silence_is_never_a_duplicate() -> None:
    silence = duplicates.digest(np.zeros(100, np.int16))
    sounds = [
        duplicates.Sound((0, n), f"{n}.wav", split, silence) for n, split in enumerate(("train", "dev"))
    ]
    assert duplicates.find(sounds) == []


def test_old_caches_hold(tmp_path: Path, cache: Path) -> None:
    """Blocks of an older version have neither stamps nor digests, and nobody chose their labels."""
    write_sound(tmp_path / "d/yes/one.wav")
    dataset = open_dataset(f"folders:{tmp_path / 'd'}?split=train")
    prepare(dataset, cache, processes=1)
    index = msgspec.json.decode(index_path(cache, 0).read_bytes())
    del index["stamp"], index["digests"], index["entries"][0]["clip"]["marks"]
    index_path(cache, 0).write_bytes(msgspec.json.encode(index))
    (cache / duplicates.FILE).unlink()
    (cache / label_files.FILE).unlink()
    assert is_done(cache, 0, dataset.folder, dataset.clips, LABELS)
    assert len(Corpus(cache, "train").items) == 1
    assert Corpus(cache, "train").labels == LABELS
    assert prepare(dataset, cache, processes=1) == []
    assert "stamp" not in msgspec.json.decode(index_path(cache, 0).read_bytes())


def test_a_recording_made_anew_is_prepared_anew(tmp_path: Path, cache: Path) -> None:
    path = write_sound(tmp_path / "d/yes/one.wav", length_s=0.4)
    dataset = open_dataset(f"folders:{tmp_path / 'd'}?split=train")
    prepare(dataset, cache, processes=1)
    index = index_path(cache, 0)
    before = index.stat().st_mtime_ns
    prepare(dataset, cache, processes=1)
    assert index.stat().st_mtime_ns == before, "nothing had changed"
    write_sound(path, 900, length_s=0.4, at=[(0.05, 0.2)])
    os.utime(path, ns=(before + 10**9, before + 10**9))
    prepare(dataset, cache, processes=1)
    assert Corpus(cache, "train").items[0].spans == [pytest.approx((0.05, 0.2), abs=0.03)]


def test_channels_are_averaged(tmp_path: Path, cache: Path) -> None:
    one = soundfile.read(write_sound(tmp_path / "one.wav", level=0.8))[0]
    (tmp_path / "d/yes").mkdir(parents=True)
    soundfile.write(tmp_path / "d/yes/right.wav", np.stack([np.zeros_like(one), one], axis=1), 16_000)
    prepare(open_dataset(f"folders:{tmp_path / 'd'}?split=train"), cache, processes=1)
    assert Corpus(cache, "train").items[0].samples() == pytest.approx(one / 2, abs=1e-4)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A recording of five seconds in which several labels are heard, two at once."""
    at = [(1.0, 1.4), (2.5, 2.9), (4.0, 4.3)]
    write_sound(tmp_path / "d/rec.wav", 700, length_s=5.0, at=at)
    rows = ("1.0\t1.4\tdog_bark", "1.2\t3.0\train", "2.5\t2.9\tyes", "4.0\t4.3\tdoorbell")
    write_text(tmp_path / "d/l.tsv", STRONG_HEADER, *(f"rec.wav\t{row}" for row in rows))
    return tmp_path / "d"


def test_every_label_has_its_own_spans(scene: Path, cache: Path) -> None:
    assert prepare(open_dataset(f"strong:{scene}?kind=event&split=train"), cache, processes=1) == []
    corpus = Corpus(cache, "train")
    (whole,) = corpus.recordings
    assert whole.spans == [(1.0, 3.0), (4.0, 4.3)]
    assert [mark[0] for mark in whole.marks] == ["dog_bark", "rain", "yes", "doorbell"]
    (bark,) = corpus.sound("dog_bark")
    assert len(bark.samples()) == int(2.4 * SAMPLE_RATE_HZ)
    assert bark.spans == [pytest.approx((1.0, 1.4))]
    assert bark.other_marks == [("rain", pytest.approx(1.2), pytest.approx(2.4))]
    assert bark.clip.unsure == ()
    loud = np.abs(bark.samples())[int(1.05 * SAMPLE_RATE_HZ) : int(1.35 * SAMPLE_RATE_HZ)]
    assert loud.max() > 0.4
    (yes,) = corpus.keyword("yes")
    assert yes.spans == [pytest.approx((1.0, 1.4))]
    assert [item.clip.label for item in corpus.other_sounds()] == ["doorbell"]
    assert not corpus.unknown_words()


def test_a_word_cut_in_two_is_not_scored(scene: Path, cache: Path) -> None:
    write_text(scene / "l.tsv", STRONG_HEADER, "rec.wav\t1.0\t1.4\tdog_bark", "rec.wav\t2.2\t2.9\tyes")
    prepare(open_dataset(f"strong:{scene}?kind=event&split=train"), cache, processes=1)
    (bark,) = Corpus(cache, "train").sound("dog_bark")
    assert bark.other_marks == []
    assert bark.clip.unsure == ("yes",)


def test_long_sounds_come_in_parts(tmp_path: Path, cache: Path) -> None:
    write_sound(tmp_path / "d/rec.wav", 700, length_s=24.0, at=[(1.0, 23.5)])
    write_text(tmp_path / "d/l.tsv", STRONG_HEADER, "rec.wav\t1\t23.5\train")
    prepare(open_dataset(f"strong:{tmp_path / 'd'}?split=train"), cache, processes=1)
    parts = Corpus(cache, "train").sound("rain")
    lengths_s = [part.entry.samples / SAMPLE_RATE_HZ for part in parts]
    assert lengths_s == [pytest.approx(12), pytest.approx(12), pytest.approx(4.0)]
    assert [part.spans[0] for part in parts] == [
        pytest.approx((1.0, 12.0)),  # the sound goes on in what comes with the part
        pytest.approx((0.0, 12.0)),
        pytest.approx((0.0, 3.5)),
    ]


def test_marks_beyond_the_end_and_points(tmp_path: Path, cache: Path) -> None:
    write_sound(tmp_path / "d/rec.wav", 700, length_s=3.0, at=[(1.0, 1.4)])
    write_text(
        tmp_path / "d/rec.txt",
        "1.2\t1.2\tdog_bark",
        "2.5\t9\train",
        "7\t8\tcough",
        "2.9\t2.9\tsneeze",
        "0.1\t0.2\tmusic",
    )
    write_sound(tmp_path / "d/more.wav", 800, length_s=1.0, at=[(0.2, 0.8)])
    write_text(tmp_path / "d/more.txt", "0.2\t0.5\tcough", "0.5\t0.8\tsneeze")
    faults = prepare(open_dataset(f"audacity:{tmp_path / 'd'}?split=train"), cache, processes=1)
    reasons = "\n".join(reason for path, reason in faults if path == "rec.wav")
    assert "rain at 2.5 s: ends at 9 s, the file at 3.000 s: cut there" in reasons
    assert "cough at 7 s: beyond the file's end at 3.000 s; left out" in reasons
    assert "sneeze at 2.9 s: a point label, and nothing stands out there; left out" in reasons
    assert len(faults) == 3
    whole = next(item for item in Corpus(cache, "train").recordings if item.clip.path == "rec.wav")
    found = {label: (onset_s, offset_s) for label, onset_s, offset_s in whole.marks}
    assert found["dog_bark"] == pytest.approx((1.0, 1.4), abs=0.03)
    assert found["rain"] == (2.5, 3.0)
    assert found["music"] == (0.1, 0.2)


def test_a_manifest_label_beyond_the_end(tmp_path: Path, cache: Path) -> None:
    rows = [("a.wav", "0.1", "9"), ("b.wav", "5", "6"), ("c.wav", "0.1", "0.3")]
    for number, (name, _, _) in enumerate(rows):
        write_sound(tmp_path / "d" / name, 500 + 50 * number)
    header = "path,kind,label,start_s,end_s,speaker,split,duration_s,collection,licence"
    lines = [f"{name},keyword,yes,{a},{b},,train,1,toy,CC0" for name, a, b in rows]
    write_text(tmp_path / "d/manifest.csv", header, *lines)
    faults = prepare(open_dataset(f"pack:{tmp_path / 'd'}"), cache, processes=1)
    assert told(faults, "a.wav") == "its label ends at 9 s, the file at 0.400 s: cut there"
    assert told(faults, "b.wav") == "its label begins at 5 s, the file ends at 0.400 s"
    assert [item.spans for item in Corpus(cache, "train").items] == [[(0.1, 0.4)], [(0.1, 0.3)]]


def test_pieces_carry_everything_that_is_heard(scene: Path, cache: Path, rng: np.random.Generator) -> None:
    prepare(open_dataset(f"strong:{scene}?kind=event&split=train"), cache, processes=1)
    shelf = Shelf(Corpus(cache, "train"))
    for _ in range(30):
        piece = stretch(shelf.sounds["dog_bark"][0], rng, 2.0)
        assert {mark[0] for mark in piece.marks} == {"dog_bark", "rain"}
        spoken = word(shelf.keywords["yes"][0], rng)
        assert [mark[0] for mark in spoken.marks if mark[0] == "yes"] == ["yes"]
        for _, onset_s, offset_s in (*piece.marks, *spoken.marks):
            assert 0 <= onset_s < offset_s <= 6.0


def test_targets_of_a_scene_follow_all_marks(scene: Path, cache: Path, rng: np.random.Generator) -> None:
    prepare(open_dataset(f"strong:{scene}?kind=event&split=train"), cache, processes=1)
    shelf = Shelf(Corpus(cache, "train"))
    maker, codes = SceneMaker(shelf, 8.0), blank(800, LABELS)
    piece = stretch(shelf.sounds["dog_bark"][0], rng, 9.0)
    maker._put(np.zeros(8 * SAMPLE_RATE_HZ, np.float32), codes, piece, 2.0, -26.0)
    assert (codes[:, LABELS.column("rain")] != NO).any()
    for label, onset_s, offset_s in piece.marks:
        middle = frame_of(2.0 + (onset_s + offset_s) / 2)
        assert codes[middle + 3, LABELS.column(label)] in (YES, UNSURE)
    assert (codes[:100] == NO).all()
    assert not codes[:, LABELS.column("music")].any()


def test_index_and_keys_tell_marks_apart(tmp_path: Path, cache: Path) -> None:
    fields = {"path": "a", "kind": "event", "label": "", "start_s": None, "end_s": None}
    fields |= {"speaker": "", "split": "train", "collection": "c", "licence": "l"}
    clips = [
        Clip(**fields),
        Clip(**fields, marks=(("rain", 0.0, 1.0),)),
        Clip(**fields, marks=(("rain", 0.0, 2.0),)),
    ]
    assert len({key_of([clip], LABELS) for clip in clips}) == 3
    with pytest.raises(DataError, match="nothing is prepared there"):
        read_index(cache)

"""The pack's reader: what it refuses, what it leaves out, and where it hears a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.errors import StreamerError
from tests.training.conftest import PackMaker, tone
from training.data.activity import active_spans, main_span
from training.data.corpus import Corpus
from training.data.pack import COLUMNS, PackError, read_pack
from training.data.prepare import prepare, sound_path
from training.data.spoken import with_spoken
from training.label_files import default_labels


def test_a_missing_manifest_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"manifest\.csv: No such file.*--data"):
        read_pack(tmp_path)


def test_a_missing_column_is_named(pack_maker: PackMaker) -> None:
    pack_maker.add("a.wav", tone(500))
    pack_maker.write(tuple(name for name in COLUMNS if name != "split"))
    with pytest.raises(PackError, match="no column 'split'"):
        read_pack(pack_maker.folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "song"}, "kind 'song', legal values: keyword"),
        ({"split": "test"}, "split 'test', legal values: train, dev"),
        ({"label": ""}, "a keyword without a label"),
        ({"start_s": "2", "end_s": "1"}, "ends at 1.0 s, before it starts"),
        ({"start_s": "soon"}, "could not convert"),
    ],
)
def test_a_bad_row_is_listed_and_the_rest_is_read(
    pack_maker: PackMaker, changes: dict[str, str], reason: str
) -> None:
    pack_maker.add("good.wav", tone(500))
    pack_maker.add("bad.wav", None, **changes)
    pack = read_pack(pack_maker.write())
    assert [clip.path for clip in pack.clips] == ["good.wav"]
    assert [path for path, _ in pack.faults] == ["bad.wav"]
    assert reason in pack.faults[0][1]


def test_a_speaker_in_both_splits_is_an_error(pack_maker: PackMaker) -> None:
    pack_maker.add("a.wav", None, speaker="ann", collection="gsc1a")
    pack_maker.add("b.wav", None, speaker="ann", collection="gsc1b", split="dev")
    with pytest.raises(StreamerError, match=r"b\.wav \(dev\): ann is in both splits"):
        read_pack(pack_maker.write())


def test_what_must_not_be_used_is_left_out_and_counted(pack_maker: PackMaker) -> None:
    pack_maker.add("good.wav", None)
    pack_maker.add("a/dcase16_1.wav", None, collection="dcase16", kind="event", label="knock")
    pack_maker.add("speech/mixed_1.wav", None, kind="speech", label="")
    pack = read_pack(pack_maker.write())
    assert [clip.path for clip in pack.clips] == ["good.wav"]
    assert sum(pack.left_out.values()) == 2


def test_keywords_spoken_in_a_sentence_are_unsure_there(pack_maker: PackMaker) -> None:
    pack_maker.add("s.wav", None, kind="speech", label="")
    pack_maker.add("c.wav", None, kind="speech", label="", collection="coffee")
    (pack_maker.folder / "kokoro-texts.csv").write_text(
        'path,text,voice,speed\ns.wav,"Go, view glass; upper.",x,1\n'
    )
    pack = with_spoken(read_pack(pack_maker.write()), default_labels())
    assert set(pack.clips[0].unsure) == {"go", "view_glass"}
    assert pack.clips[1].unsure == ("no", "on", "go")


def test_files_that_cannot_be_decoded_are_listed_not_fatal(pack_maker: PackMaker, tmp_path: Path) -> None:
    pack_maker.add("good.wav", tone(500))
    pack_maker.add("broken.wav", None)
    (pack_maker.folder / "broken.wav").write_bytes(b"RIFF not really")
    pack_maker.add("absent.wav", None)
    pack_maker.add("empty.wav", np.empty(0, np.float32))
    faults = dict(prepare(read_pack(pack_maker.write()), tmp_path / "cache", processes=1))
    assert set(faults) == {"broken.wav", "absent.wav", "empty.wav"}
    assert faults["empty.wav"] == "no samples"
    assert [item.clip.path for item in Corpus(tmp_path / "cache", "train").items] == ["good.wav"]


def test_any_rate_and_channel_count_becomes_mono_at_16_khz(pack_maker: PackMaker, tmp_path: Path) -> None:
    stereo = np.stack([tone(440), tone(440)], axis=1)
    pack_maker.add("a.wav", stereo, rate_hz=48_000)
    prepare(read_pack(pack_maker.write()), tmp_path / "cache", processes=1)
    (item,) = Corpus(tmp_path / "cache", "train").items
    assert len(item.samples()) == pytest.approx(len(stereo) / 3, abs=2)


def test_a_second_run_does_nothing_and_a_changed_pack_is_done_again(
    pack_maker: PackMaker, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    pack_maker.add("a.wav", tone(500))
    prepare(read_pack(pack_maker.write()), cache, processes=1)
    before = sound_path(cache, 0).stat().st_mtime_ns
    prepare(read_pack(pack_maker.folder), cache, processes=1)
    assert sound_path(cache, 0).stat().st_mtime_ns == before
    pack_maker.add("b.wav", tone(700))
    prepare(read_pack(pack_maker.write()), cache, processes=1)
    assert len(Corpus(cache, "train").items) == 2


def test_credits_go_with_the_sound(pack_maker: PackMaker, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the card is made where the model is")
    from training.export.card import credit_lines

    pack_maker.add("a.wav", tone(500))
    (pack_maker.folder / "toy-credits.csv").write_text("path,title,author,licence\na.wav,A,Ann,CC0\n")
    prepare(read_pack(pack_maker.write()), tmp_path / "cache", processes=1)
    assert "* Ann (CC0): A" in credit_lines(tmp_path / "cache")


def test_the_corpus_keeps_the_splits_apart(toy_cache: Path) -> None:
    train, dev = Corpus(toy_cache, "train"), Corpus(toy_cache, "dev")
    assert (len(train.keyword("yes")), len(dev.keyword("yes"))) == (2, 1)
    assert {item.clip.label for item in train.unknown_words()} == {"house"}


def test_energy_finds_the_word() -> None:
    samples = (tone(600, 0.5, 0.35, 0.6) * 32767).astype(np.int16)
    ((onset_s, offset_s),) = main_span(samples, 0.2)
    assert onset_s == pytest.approx(0.5, abs=0.03)
    assert offset_s == pytest.approx(0.85, abs=0.03)


def test_pauses_split_a_sound_only_beyond_the_gap() -> None:
    samples = (np.concatenate([tone(600, 0.2, 0.3, 0.2)] * 2) * 32767).astype(np.int16)
    assert len(active_spans(samples, 0.2)) == 2
    assert len(active_spans(samples, 0.6)) == 1


def test_silence_has_no_spans() -> None:
    assert active_spans(np.zeros(16_000, np.int16), 0.2) == []

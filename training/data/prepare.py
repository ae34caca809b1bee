"""Decode recordings once: blocks of int16 sound and their index; finished blocks are not done again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.data import duplicates
from training.data.activity import Spans, active_spans, main_span
from training.data.blocks import (
    Block,
    Entry,
    Fault,
    index_path,
    is_done,
    is_heard,
    key_of,
    read_index,
    sound_path,
    stamp_of,
    write_index,
)
from training.data.dataset import Clip, DataError, Dataset, labels_of
from training.data.marks import fitted, union
from training.data.sounds import I16, decode
from training.data.spoken import with_spoken
from training.label_files import default_labels, write_cached
from training.labels import LabelSet

FILES_A_BLOCK = 400
FAULTS = "faults.txt"


def prepare(
    data: Dataset | Sequence[Dataset], cache: Path, processes: int = 2, labels: LabelSet | None = None
) -> list[Fault]:
    """Decode what the cache lacks for these labels (None: the default ones); the faults of all files."""
    labels = labels or default_labels()
    datasets = [with_spoken(dataset, labels) for dataset in ([data] if isinstance(data, Dataset) else data)]
    cache.mkdir(parents=True, exist_ok=True)
    write_cached(cache, labels)
    pieces = list(_pieces(datasets))
    jobs = {n: piece for n, piece in enumerate(pieces) if not is_done(cache, n, *piece, labels)}
    _drop_surplus(cache, len(pieces))
    with ProcessPoolExecutor(processes) as pool, tqdm(total=len(pieces), unit="block", desc="prepare") as bar:
        bar.update(len(pieces) - len(jobs))
        futures = [pool.submit(_do_block, cache, number, *piece, labels) for number, piece in jobs.items()]
        for future in as_completed(futures):
            future.result()
            bar.update()
    for table in (path for dataset in datasets for path in dataset.folder.glob("*-credits.csv")):
        shutil.copyfile(table, cache / table.name)  # the model card names the authors
    blocks = read_index(cache)
    faults = [*(fault for dataset in datasets for fault in dataset.faults), *_faults(blocks)]
    faults += _leave_out_duplicates(cache, blocks)
    lines = "".join(f"{path}\t{reason}\n" for path, reason in faults)
    (cache / FAULTS).write_text(lines, encoding="utf-8")
    _check_labels(datasets, cache, blocks, faults)
    return faults


def _pieces(datasets: Sequence[Dataset]) -> Iterator[tuple[Path, list[Clip]]]:
    """(folder, clips) of each block."""
    for dataset in datasets:
        for at in range(0, len(dataset.clips), FILES_A_BLOCK):
            yield dataset.folder, dataset.clips[at : at + FILES_A_BLOCK]


def _drop_surplus(cache: Path, blocks: int) -> None:
    number = blocks
    while index_path(cache, number).exists():
        index_path(cache, number).unlink()
        number += 1


def _do_block(cache: Path, number: int, folder: Path, clips: Sequence[Clip], labels: LabelSet) -> None:
    block, first = Block(key_of(clips, labels), [], [], stamp_of(folder, clips), []), 0
    with sound_path(cache, number).open("wb") as sound:
        for clip in clips:
            try:
                samples = decode(folder / clip.path)
                fitting, faults = fitted(clip, samples, labels)
            except (OSError, ValueError) as error:
                block.faults.append((clip.path, str(error)))
                continue
            block.faults += [(clip.path, fault) for fault in faults]
            block.entries.append(Entry(fitting, first, len(samples), _spans(fitting, samples, labels)))
            block.digests.append(duplicates.digest(samples))
            sound.write(samples.tobytes())
            first += len(samples)
        sound.write(bytes(2))  # an empty file cannot be mapped
    write_index(cache, number, block)


def _spans(clip: Clip, samples: I16, labels: LabelSet) -> Spans:
    """Where the label holds: as given, else found by energy."""
    if clip.marks:
        return union(clip.marks)
    if clip.start_s is not None and clip.end_s is not None:
        return [(clip.start_s, clip.end_s)]
    if clip.kind == "keyword":
        return main_span(samples, labels.merge_gap_s(clip.label))
    return active_spans(samples, labels.merge_gap_s(clip.label))


def _faults(blocks: Sequence[Block]) -> Iterator[Fault]:
    for block in blocks:
        yield from block.faults
        for entry in block.entries:
            if not is_heard(entry):
                yield entry.clip.path, "nothing is heard in it"


def _leave_out_duplicates(cache: Path, blocks: Sequence[Block]) -> list[Fault]:
    pairs = duplicates.find(_sounds(cache, blocks))
    duplicates.write(cache, [second.place for second, _ in pairs])
    return [(second.path, f"the same sound as {first.path}; left out") for second, first in pairs]


def _sounds(cache: Path, blocks: Sequence[Block]) -> Iterator[duplicates.Sound]:
    for number, block in enumerate(blocks):
        digests = block.digests or _digests(cache, number, block)
        for place, (entry, name) in enumerate(zip(block.entries, digests, strict=True)):
            yield duplicates.Sound((number, place), entry.clip.path, entry.clip.split, name)


def _digests(cache: Path, number: int, block: Block) -> list[str]:
    sound = np.memmap(sound_path(cache, number), np.int16, mode="r")
    return [duplicates.digest(sound[e.first_sample : e.first_sample + e.samples]) for e in block.entries]


def _check_labels(
    datasets: Sequence[Dataset], cache: Path, blocks: Sequence[Block], faults: Sequence[Fault]
) -> None:
    """Every label that was read must still have a recording now."""
    left_out = duplicates.read(cache)
    heard = labels_of(
        entry.clip
        for number, block in enumerate(blocks)
        for place, entry in enumerate(block.entries)
        if (number, place) not in left_out and is_heard(entry)
    )
    wanted = labels_of(clip for dataset in datasets for clip in dataset.clips)
    for label in wanted:
        if label not in heard:
            why = f" ({faults[0][0]}: {faults[0][1]})" if faults else ""
            raise DataError(
                f"label {label!r} has no usable recording{why}", f"all faults are in {cache / FAULTS}"
            )

"""The audio pack's manifest: which clips there are, and which of them must not be used."""

from __future__ import annotations

import csv
from pathlib import Path

from training.data.dataset import KINDS, Clip, DataError, Dataset

COLUMNS = (
    "path",
    "kind",
    "label",
    "start_s",
    "end_s",
    "speaker",
    "split",
    "duration_s",
    "collection",
    "licence",
)
SPLITS = ("train", "dev")
MANIFEST = "manifest.csv"

UNCLEAR_LICENCE = ("dcase16",)
STRAY_COMMANDS = ("no", "on", "go")
"""Coffee orders have no transcript by word and may hold these."""


class PackError(DataError):
    """The pack cannot be read at all."""


def read_pack(folder: Path) -> Dataset:
    """Read manifest.csv; a bad row is listed with its reason, a bad manifest is an error."""
    path = folder / MANIFEST
    try:
        lines = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise PackError(
            f"{path}: {error.strerror}", "give the pack's folder with --data or STREAMER_DATA"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise PackError(f"{path}: not a table in UTF-8: {error}") from error
    missing = [name for name in COLUMNS if not lines or name not in lines[0]]
    if missing:
        raise PackError(f"{path}: no column {missing[0]!r}", f"the first line must name {', '.join(COLUMNS)}")
    pack = Dataset(folder)
    pack.texts = _texts(folder)
    for number, row in enumerate(lines, start=2):
        _take(pack, number, row)
    return pack.finish()


def _take(pack: Dataset, number: int, row: dict[str, str]) -> None:
    try:
        clip = _clip(row)
    except ValueError as error:
        pack.refuse(row.get("path") or f"line {number}", str(error))
        if row.get("label"):
            pack.named.setdefault(row["label"], f"{pack.folder / MANIFEST}:{number}")
        return
    reason = _why_not(clip)
    if reason:
        pack.leave_out(reason)
    else:
        pack.add(clip, f"line {number}")


def _clip(row: dict[str, str]) -> Clip:
    short = next((name for name in COLUMNS if row[name] is None), None)
    if short or not row["path"]:
        raise ValueError(f"no {short or 'path'}: the line has too few columns")
    for name, legal in (("kind", KINDS), ("split", SPLITS)):
        if row[name] not in legal:
            raise ValueError(f"{name} {row[name]!r}, legal values: {', '.join(legal)}")
    if row["kind"] in ("keyword", "event") and not row["label"]:
        raise ValueError(f"a {row['kind']} without a label")
    start_s, end_s = (float(row[name]) if row[name] else None for name in ("start_s", "end_s"))
    if start_s is not None and end_s is not None and not 0 <= start_s < end_s:
        raise ValueError(f"the label ends at {end_s} s, before it starts at {start_s} s")
    return Clip(
        path=row["path"],
        kind=row["kind"],
        label=row["label"],
        start_s=start_s,
        end_s=end_s,
        speaker=row["speaker"],
        split=row["split"],
        collection=row["collection"],
        licence=row["licence"],
        unsure=STRAY_COMMANDS if row["collection"] == "coffee" else (),
    )


def _why_not(clip: Clip) -> str:
    if clip.collection in UNCLEAR_LICENCE:
        return "no clear licence"
    if Path(clip.path).name.startswith("mixed_"):
        return "sentences that hold keywords and have no label"
    return ""


def _texts(folder: Path) -> dict[str, str]:
    """What the synthetic voices say; a pack without them is fine."""
    path = folder / "kokoro-texts.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as lines:
        return {row["path"]: row["text"] for row in csv.DictReader(lines)}

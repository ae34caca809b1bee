"""A run's log: one JSON object a round, and its curves as a picture."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

LOG = "log.jsonl"

Entry = dict[str, Any]


def read(folder: Path) -> list[Entry]:
    """All rounds so far."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("}")]  # a power cut may halve the last


def add(folder: Path, entry: Entry) -> None:
    """One more round."""
    with (folder / LOG).open("a", encoding="utf-8") as log:
        log.write(json.dumps(entry) + "\n")


def forget_after(folder: Path, round_number: int) -> None:
    """Rounds beyond the checkpoint are played again."""
    entries = read(folder)
    kept = [entry for entry in entries if entry["round"] <= round_number]
    if len(kept) < len(entries):
        fresh = folder / f"{LOG}.new"
        fresh.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
        os.replace(fresh, folder / LOG)


def hours_a_minute(entry: Entry) -> float:
    """Hours of sound learnt from in a minute, since the beginning."""
    return float(entry["sound_hours"] / max(entry["minutes"], 0.01))


def as_line(entry: Entry, rounds: int) -> str:
    """A round for the person who watches."""
    line = f"round {entry['round']}/{rounds}  loss {entry['loss']:.4f}  {entry['sound_hours']:.1f} h of sound"
    line += f"  {entry['minutes']:.1f} min  {hours_a_minute(entry):.1f} h/min"
    if "held_out_loss" in entry:
        line += f"  held out: loss {entry['held_out_loss']:.4f}"
    if "held_out_precision" in entry:
        line += f", precision {entry['held_out_precision']:.3f}"
    return line

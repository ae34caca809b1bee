"""Writes docs/PERFORMANCE.md and its pictures from what `make bench` measured.

python -m benchmarks.report [RESULTS.json] [--out docs]

Every sentence here is true whatever the figures are: those that say which is more are made from them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import sections, sections_growth
from benchmarks.environments import FOLDER, ROOT

PARTS: tuple[Callable[[dict[str, Any], sections.Picture], list[str]], ...] = (
    sections.in_short,
    sections.live,
    sections.whole_files,
    sections.beginning,
    sections.delay,
    sections_growth.against_hop,
    sections_growth.against_labels_and_subscribers,
    sections_growth.many,
    sections_growth.method,
    sections_growth.place,
)


def write(results: dict[str, Any], folder: Path) -> Path:
    """The page, the pictures and the numbers behind them."""
    pictures = folder / "performance"
    pictures.mkdir(parents=True, exist_ok=True)
    for former in pictures.glob("*.svg"):
        former.unlink()

    def picture(name: str, svg: str, says: str) -> list[str]:
        (pictures / f"{name}.svg").write_text(svg, "utf-8")
        return [f"![{says}](performance/{name}.svg)", ""]

    lines = ["# What it costs", ""]
    for part in PARTS:
        lines += part(results, picture)
    (pictures / "results.json").write_text(json.dumps(results) + "\n", "utf-8")
    page = folder / "PERFORMANCE.md"
    page.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return page


def main() -> int:
    """Read, write, say where."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument(
        "results", nargs="?", type=Path, default=FOLDER / "results.json", metavar="RESULTS.json"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs", metavar="FOLDER")
    options = parser.parse_args()
    try:
        results = json.loads(options.results.read_text("utf-8"))
    except (OSError, ValueError) as error:
        print(f"{options.results}: {error}; `make bench` writes it", file=sys.stderr)
        return 1
    print(write(results, options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: measures what streamer costs, beside others, and writes .bench/results.json.

python -m benchmarks [PART ...] [--sound PATH] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import files, growth, latency, machine, paced, start, streams
from benchmarks.contestants import PEERS
from benchmarks.environments import FOLDER, missing
from benchmarks.part import Bench, say
from benchmarks.sound import Sound

PARTS = (files, paced, start, latency, growth, streams)
LONGEST_S = 600.0
QUICK_SCALE, QUICK_ROUNDS, ROUNDS = 0.25, 1, 3


def main() -> int:
    """Run the parts that were asked for."""
    options = _options()
    wanted = [part for part in PARTS if part.NAME in (options.parts or [part.NAME for part in PARTS])]
    results = _former(options.out) if options.parts else {}
    skipped = missing(options.peers)
    with tempfile.TemporaryDirectory(prefix="streamer-bench-") as name:
        scale = QUICK_SCALE if options.quick else 1.0
        bench = Bench(
            sound=Sound(options.sound, LONGEST_S, Path(name)),
            folder=Path(name),
            rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
            scale=scale,
            quick=options.quick,
            peers=tuple(peer for peer in options.peers if peer not in skipped),
            skipped=skipped,
        )
        say(f"sound: {bench.sound.told}; {bench.rounds} rounds")
        results["machine"] = machine.describe(bench.peers)
        results["sound"], results["quick"] = bench.sound.told, options.quick
        for part in wanted:
            begun_s = time.monotonic()
            when = {name: results["machine"][name] for name in ("time_utc", "streamer")}
            results.setdefault("parts", {})[part.NAME] = part.run(bench) | when
            say(f"{part.NAME}: done in {time.monotonic() - begun_s:.0f} s")
            results["skipped"] = bench.skipped
            _write(options.out, results)
    for what, why in bench.skipped.items():
        print(f"not measured: {what}: {why}", file=sys.stderr)
    print(options.out)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [part.NAME for part in PARTS]
    told = ", ".join(f"{part.NAME} ({part.HELP})" for part in PARTS)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {told}; default: all, in a quarter of an hour"
    )
    sound = os.environ.get("BENCH_SOUND")
    parser.add_argument(
        "--sound",
        type=Path,
        default=Path(sound) if sound else None,
        metavar="PATH",
        help="a sound file, a folder of them, or a pack with manifest.csv "
        "(default: $BENCH_SOUND, else the demo scene)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round, short windows, fewer steps: three minutes"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help=f"repetitions of everything (default: {ROUNDS})"
    )
    parser.add_argument("--peers", nargs="*", default=PEERS, metavar="PEER", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--out", type=Path, default=FOLDER / "results.json", metavar="FILE")
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in names]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(names)}")
    if strangers := [peer for peer in options.peers if peer not in PEERS]:
        parser.error(f"no such peer: {', '.join(strangers)}; there are {', '.join(PEERS)}")
    return options


def _former(path: Path) -> dict[str, Any]:
    """Other parts' results stay when only some are measured again."""
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _write(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())

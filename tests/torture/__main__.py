"""`make torture`: each part prints its figures in one line; the exit status says whether all held.

python -m tests.torture [PART ...] [options]
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.torture import cuts, day, disk, fuzz, kills, live, network, senders, soak, stalled

DEFAULT = (kills, senders, stalled, network, disk, cuts, fuzz)
PARTS = (*DEFAULT, soak, live, day)
"""Those beyond the default ones take hours."""


def main() -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    names = [part.NAME for part in PARTS]
    told = ", ".join(f"{part.NAME} ({part.HELP})" for part in PARTS)
    usual = ", ".join(part.NAME for part in DEFAULT)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {told}; default: {usual}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), metavar="N")
    for part in PARTS:
        part.add_arguments(parser)
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in names]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(names)}")
    ok = True
    for part in PARTS:
        if part.NAME not in (options.parts or [part.NAME for part in DEFAULT]):
            continue
        began_s = time.monotonic()
        outcome = part.run(options)
        ok &= outcome.ok
        verdict = "ok" if outcome.ok else "FAILED"
        print(f"{part.NAME:<8} {verdict:<6} {outcome.told} [{time.monotonic() - began_s:.0f} s]", flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())

"""Run by test_microphone in a process of its own, because PortAudio reads its surroundings once.

Argument: JSON with Microphone's arguments. Says "listening" once sound arrives, records until a line comes on
standard input (then `rest_s` more) or something is wrong; prints what it knows as JSON.
"""

from __future__ import annotations

import itertools
import json
import select
import sys
import time

import numpy as np

from streamer.capture.microphone import Microphone

DEADLINE_S = 60.0


def main() -> None:
    order = json.loads(sys.argv[1])
    microphone = Microphone(**order["microphone"])
    microphone.open()
    chunks, stop_at_sample, started_s = [], None, time.monotonic()
    while time.monotonic() - started_s < DEADLINE_S:
        if microphone.trouble:
            break
        watched = [microphone.fileno()] + ([sys.stdin] if stop_at_sample is None else [])
        ready = select.select(watched, [], [], 0.5)[0]
        while (chunk := microphone.read()) is not None:
            if not chunks:
                print("listening", flush=True)
            chunks.append(chunk)
        end = chunks[-1].end_sample if chunks else 0
        if sys.stdin in ready:
            sys.stdin.readline()
            stop_at_sample = end + order["rest_s"] * microphone.rate_hz
        if stop_at_sample is not None and end >= stop_at_sample:
            break
    report = {
        "rate_hz": microphone.rate_hz,
        "device": microphone.device.name,
        "description": microphone.description,
        "overruns": microphone.overruns,
        "lost_samples": microphone.lost_samples,
        "contiguous": all(a.end_sample == b.first_sample for a, b in itertools.pairwise(chunks)),
        "utc_error_s": abs(chunks[-1].captured_utc_s - time.time()) if chunks else None,
    }
    before_s = time.monotonic()
    microphone.close()
    report["close_s"] = time.monotonic() - before_s
    np.save(order["save"], np.concatenate([chunk.samples for chunk in chunks] or [np.empty(0, np.float32)]))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()

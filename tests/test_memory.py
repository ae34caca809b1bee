"""What was needed at the start only is given back, and nothing that is needed goes with it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.daemon import ROOT, clean_environment

CODE = """
import ctypes, mmap, os, re, sys, tempfile
import numpy as np
import onnxruntime, streamer.service
from streamer.memory import give_back

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * mmap.PAGESIZE

# a page of a file that this process has changed for itself, and can change no more
with tempfile.NamedTemporaryFile() as file:
    file.write(b"disk" * mmap.PAGESIZE)
    file.flush()
    private = mmap.mmap(file.fileno(), 2 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
    private[:4] = b"ours"
    whole = (ctypes.c_char * len(private)).from_buffer(private)
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(ctypes.addressof(whole)), ctypes.c_size_t(len(private)), 1)
    before = resident_bytes()
    give_back()
    after = resident_bytes()
    assert bytes(whole[:8]) == b"oursdisk", bytes(whole[:8])
give_back()
rng = np.random.default_rng(1)
np.testing.assert_allclose(np.fft.irfft(np.fft.rfft(row := rng.normal(size=512))), row, atol=1e-12)
print(before - after)
"""

PLACES = """
import sys, tracemalloc
import numpy as np
from numpy.lib.stride_tricks import as_strided
from streamer.kernel import address
import streamer.pipeline

kept = [sys.intern(f"a name among many {number}") for number in range(20_000)]
sound = np.zeros(100, np.float32)
tracemalloc.start()
for _ in range(50_000):
    address(sound)
    as_strided(sound, (3,), (4,))
print(tracemalloc.get_traced_memory()[1])
"""


def test_start_up_memory_is_given_back() -> None:
    assert said(CODE) > 5_000_000  # some 25 million where this was written


def test_to_ask_where_arrays_lie_fills_no_tables() -> None:
    assert said(PLACES) < 100_000  # 1.9 million without _KEPT_NAMES


def said(code: str) -> int:
    """The number that a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)

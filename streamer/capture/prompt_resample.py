"""Any usual rate to 16 kHz without delay beyond the filter's own, for sound that is waited for.

soxr works in steps of up to 30 ms, and gives its output in such bursts. This is the same filter (its answer
to an impulse is asked for, and cut off where it is 120 dB down), applied as a matrix to a millisecond at a
time: it costs more than soxr, but gives what was heard 6 ms ago. Both differ by little more than rounding.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Callable
from functools import cache, lru_cache
from math import ceil, gcd, lcm
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from streamer.audio import F32, SAMPLE_RATE_HZ
from streamer.capture.resample import QUALITY, Resampler
from streamer.kernel import address, library

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH_S = 0.0057
"""Half the filter's length, at the higher of two rates of which the lower one is 16 kHz."""
WIDTHS = 4
"""Inputs of a product are a multiple of it, as the kernel wants it."""
PHASES_MAX = 640
"""More different answers than that to an impulse (odd rates), and the tables would become large."""
GROUP = 16
"""Outputs made by one product, as kernel.c has it."""
TABLE_MAX = 9_000
"""Numbers in a matrix for numpy, with smaller groups if need be: beyond it, it would start threads."""


_POINTER = ctypes.c_void_p


class Tables(NamedTuple):
    """Group g of outputs starts at input `g // len(starts) * period + starts[g % len(starts)]`."""

    reach: int
    """Inputs before and after an output that matter to it."""
    width: int
    """Inputs that matter to a group."""
    period: int
    starts: list[int]
    weights: F32
    """For each start: (starts, width, group)."""
    begins: NDArray[np.int64]
    """The starts once more, for the kernel."""
    places: tuple[int, int]
    """Where weights and begins lie."""
    group: int
    """Outputs made by one product."""


def open_resampler(from_hz: int, *, prompt: bool) -> Resampler:
    """A resampler to 16 kHz, prompt where that is wanted and to be had."""
    ratio = gcd(from_hz, SAMPLE_RATE_HZ)
    usual = from_hz != SAMPLE_RATE_HZ and max(from_hz, SAMPLE_RATE_HZ) // ratio <= PHASES_MAX
    return PromptResampler(from_hz) if prompt and usual else Resampler(from_hz)


class FilterPlace(NamedTuple):
    """How far a filter has come."""

    heard: F32
    """From the next group's first input on."""
    taken: int
    groups: int
    begin: int


class PromptResampler(Resampler):
    """The output is bit-equal for any chunking of the same input: each product has the same shape."""

    def reset(self) -> None:
        """Forget all sound, as if new."""
        super().reset()
        self.tables = _tables(self.from_hz, self.to_hz, _kernel() is not None)
        self._groups = 0  # made
        self._begin = 0  # the first input of the next group, before which all is forgotten
        self._heard = np.zeros(self.tables.reach, np.float32)  # from the next group's first input on

    def _new_stream(self) -> None:
        return None

    def missing_for(self, samples: int) -> int:
        """Input samples that must come before so many more are given."""
        tables = self.tables
        last = ceil((self._given_samples + samples) / tables.group) - 1
        return max(0, _start(tables, last) - tables.reach + tables.width - self._taken_samples)

    @property
    def is_compiled(self) -> bool:
        """The kernel does it."""
        return _kernel() is not None

    @property
    def place(self) -> FilterPlace:
        """How far it has come."""
        return FilterPlace(self._heard, self._taken_samples, self._groups, self._begin)

    def passed(self, place: FilterPlace) -> None:
        """Somebody has done our work, up to here."""
        self._heard, self._taken_samples, self._groups, self._begin = place
        self._given_samples = self._groups * self.tables.group

    def _feed(self, samples: F32, last: bool) -> F32:
        self._taken_samples += len(samples)
        total = ceil(self._taken_samples * self.to_hz / self.from_hz)
        if last:
            samples = np.zeros(self.tables.width + self.tables.period, np.float32)
        given = self._make(np.concatenate((self._heard, samples)))
        if last:
            given = given[: max(0, total - self._given_samples)]
        self._given_samples += len(given)
        return given

    def _make(self, heard: F32) -> F32:
        """The groups that this sound completes; the rest waits."""
        tables = self.tables
        first, begin, rounds = self._groups, self._begin, len(tables.starts)
        whole, rest = divmod(begin + len(heard) - tables.width, tables.period)
        count = max(0, whole * rounds + bisect_right(tables.starts, rest) - first)
        made = np.empty((count, tables.group), np.float32)
        if count:
            _multiply(tables, heard, first, made)
            self._groups += count
            self._begin = _start(tables, self._groups)
        self._heard = heard[self._begin - begin :].copy()
        return made.reshape(-1)


def _multiply(tables: Tables, heard: F32, first: int, made: F32) -> None:
    """Groups from `first` on, of which `heard` begins with the first sample."""
    kernel, rounds = _kernel(), len(tables.starts)
    if kernel:
        kernel(
            *tables.places, rounds, tables.period, tables.width,
            address(heard), first, len(made), address(made),
        )  # fmt: skip
        return
    begin = _start(tables, first)
    for number in range(min(len(made), rounds)):
        at = _start(tables, first + number) - begin
        some = made[number::rounds]
        step = tables.period * heard.itemsize
        windows = as_strided(
            heard[at:], (len(some), 1, tables.width), (step, step, heard.itemsize), writeable=False
        )
        some[:] = np.matmul(windows, tables.weights[(first + number) % rounds])[:, 0]


@cache
def _kernel() -> Callable[..., None] | None:
    found = library()
    if found is None:
        return None
    call = found.streamer_resample
    call.argtypes = [_POINTER, _POINTER, *[ctypes.c_int64] * 3, _POINTER, *[ctypes.c_int64] * 2, _POINTER]
    call.restype = None
    return call


def _start(tables: Tables, group: int) -> int:
    rounds, number = divmod(group, len(tables.starts))
    return rounds * tables.period + tables.starts[number]


@lru_cache(maxsize=8)
def _tables(from_hz: int, to_hz: int, compiled: bool) -> Tables:
    ratio = gcd(from_hz, to_hz)
    up, down = to_hz // ratio, from_hz // ratio
    reach = ceil(REACH_S * max(from_hz, to_hz))
    group = GROUP
    while not compiled and (2 * reach + 1 + group * down // up) * group > TABLE_MAX:
        group -= 1
    starts = [number * group * down // up for number in range(lcm(up, group) // group)]
    width = ceil((2 * reach + 2 + (group - 1) * down // up) / WIDTHS) * WIDTHS
    answers, places = _impulses(from_hz, to_hz, reach)
    weights = []
    for number, start in enumerate(starts):
        outputs = number * group + np.arange(group)
        inputs = start - reach + np.arange(width)[:, np.newaxis]
        rounds = (places[inputs % down] - inputs) // down
        weights.append(np.ascontiguousarray(answers[outputs + up * rounds]))
    period = len(starts) * group * down // up
    matrices, begins = np.stack(weights), np.array(starts, np.int64)
    return Tables(reach, width, period, starts, matrices, begins, (address(matrices), address(begins)), group)


def _impulses(from_hz: int, to_hz: int, reach: int) -> tuple[F32, np.ndarray]:
    """What soxr makes of impulses far from each other, one at each phase; and where each of them is."""
    import soxr

    down = from_hz // gcd(from_hz, to_hz)
    apart = ceil((2 * reach + 200) / down) * down
    places = 2 * apart + np.arange(down) * (apart + 1)
    sound = np.zeros(places[-1] + 2 * apart, np.float32)
    sound[places] = 1.0
    return soxr.resample(sound, from_hz, to_hz, quality=QUALITY), places

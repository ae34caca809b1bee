"""Cutting signals into chunks, and messages that say which cut went wrong where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def equal_chunks(total: int, size: int) -> list[int]:
    """Lengths of `size`, and the rest."""
    return [size] * (total // size) + ([total % size] if total % size else [])


def random_chunks(rng: np.random.Generator, total: int, typical: int) -> list[int]:
    """Lengths from 0 to several times the typical one, that add up to the total."""
    lengths: list[int] = []
    while (left := total - sum(lengths)) > 0:
        longest = int(rng.choice([1, 3, typical, 8 * typical]))
        lengths.append(min(left, int(rng.integers(0, longest + 1))))
    return lengths


def cut(array: NDArray[np.generic], lengths: Sequence[int]) -> Iterator[NDArray[np.generic]]:
    """The pieces of these lengths, which must add up."""
    assert sum(lengths) == len(array), f"{sum(lengths)} in the plan, {len(array)} in the signal"
    at = 0
    for length in lengths:
        yield array[at : at + length]
        at += length


def told(lengths: Sequence[int]) -> str:
    """Chunk lengths for people: all of a few, else the first ones and how many there are."""
    if len(set(lengths[:-1])) == 1 and len(lengths) > 3:
        return f"chunks of {lengths[0]}, the last {lengths[-1]}"
    some = ", ".join(map(str, lengths[:40]))
    return f"chunks [{some}{f', ... {len(lengths)} in all' if len(lengths) > 40 else ''}]"


def assert_equal(got: NDArray[np.generic], expected: NDArray[np.generic], what: str) -> None:
    """Exactly equal in type, shape and every bit that counts; else says where they first differ."""
    assert got.dtype == expected.dtype, f"{what}: {got.dtype} instead of {expected.dtype}"
    both = min(len(got), len(expected))
    assert got.shape[1:] == expected.shape[1:], f"{what}: shape {got.shape} instead of {expected.shape}"
    wrong = np.argwhere(
        ~(
            (got[:both] == expected[:both])
            | ((got[:both] != got[:both]) & (expected[:both] != expected[:both]))
        )
    )
    if len(wrong):
        at = tuple(int(index) for index in wrong[0])
        raise AssertionError(
            f"{what}: first mismatch at {at}: {got[at]!r} instead of {expected[at]!r}, {len(wrong)} in all"
        )
    assert len(got) == len(expected), (
        f"{what}: length {len(got)} instead of {len(expected)}, equal as far as both go"
    )

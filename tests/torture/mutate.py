"""Bytes that are almost right: messages with a field, a number or a bit that they should not have."""

from __future__ import annotations

import random
import re

NUMBERS = (
    b"-1",
    b"0",
    b"1e999",
    b"-0.0",
    b"1e-400",
    b"9223372036854775808",
    b"9" * 400,
    b"NaN",
    b"1.5",
    b"null",
)
TEXTS = (b'""', b'"\\u0000"', b'"\\ud800"', b'"' + b"a" * 5_000 + b'"', b"[]", b"{}", b"true", b'"\xff\xfe"')
NESTS = (b"[" * 2_000, b'{"a":' * 2_000, b"[" * 500 + b"]" * 500)

_NUMBER = re.compile(rb"(?<=[:\[,])-?\d[0-9.eE+-]*")
_TEXT = re.compile(rb'"[^"]*"')


class Mutator:
    """Makes inputs out of good ones."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._ways = (
            lambda text: text,
            self._cut,
            self._flip,
            self._insert,
            self._repeat,
            lambda text: self._swap(_NUMBER, NUMBERS, text),
            lambda text: self._swap(_TEXT, TEXTS, text),
            lambda text: self._swap(_TEXT, NESTS, text),
            lambda text: self.rng.randbytes(self.rng.randrange(200)),
        )
        self._weights = (3, 3, 3, 2, 2, 6, 6, 1, 1)

    def __call__(self, text: bytes) -> bytes:
        """The text, changed in up to three places."""
        for _ in range(self.rng.randrange(4)):
            text = self.rng.choices(self._ways, self._weights)[0](text)
        return text

    def parts(self, parts: list[bytes]) -> list[bytes]:
        """A message, with a part more or less now and then."""
        parts = [self(part) if self.rng.random() < 0.7 else part for part in parts]
        chance = self.rng.random()
        if chance < 0.05:
            parts = parts[:-1]
        elif chance < 0.1:
            parts.insert(self.rng.randrange(len(parts) + 1), self.rng.randbytes(self.rng.randrange(20)))
        elif chance < 0.13:
            self.rng.shuffle(parts)
        return parts

    def _cut(self, text: bytes) -> bytes:
        return text[: self.rng.randrange(len(text) + 1)]

    def _flip(self, text: bytes) -> bytes:
        if not text:
            return text
        changed = bytearray(text)
        for _ in range(self.rng.randrange(1, 4)):
            changed[self.rng.randrange(len(changed))] ^= 1 << self.rng.randrange(8)
        return bytes(changed)

    def _insert(self, text: bytes) -> bytes:
        place = self.rng.randrange(len(text) + 1)
        return text[:place] + self.rng.randbytes(self.rng.randrange(8)) + text[place:]

    def _repeat(self, text: bytes) -> bytes:
        first, last = sorted(self.rng.randrange(len(text) + 1) for _ in range(2))
        return text[:last] + text[first:last] + text[last:]

    def _swap(self, what: re.Pattern[bytes], others: tuple[bytes, ...], text: bytes) -> bytes:
        found = list(what.finditer(text[:4_000]))
        if not found:
            return text
        match = self.rng.choice(found)
        return text[: match.start()] + self.rng.choice(others) + text[match.end() :]

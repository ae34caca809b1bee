"""What can still be read in a damaged journal: its pages one by one, trusting nothing that joins them.

SQLite gives up a whole file where a page that leads to others is gone. The rows themselves lie in leaf pages,
each of which can be read alone (https://www.sqlite.org/fileformat2.html), and an event says its own number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PAGE_BYTES = 4096
"""The journal is always made with pages of this size."""

Value = int | float | str | bytes | None
Row = tuple[int, tuple[Value, ...]]
"""The row's number and its columns; the column that holds the row's number is None."""

_LEAF = 0x0D
_PAGE_HEADER_BYTES = 8
_PAYLOAD_MAX_BYTES = PAGE_BYTES - 35
"""Longer rows go on in other pages; ours are far shorter."""
_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_WAL_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
"""The byte order of the checksums."""
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def salvage_rows(database: Path, wal: Path) -> Iterator[Row]:
    """Every row of every table that can be read in either file; some come twice, some had been deleted."""
    for page in _pages(database):
        yield from _rows(page)
    for page in _wal_pages(wal):
        yield from _rows(page)


def _pages(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while page := file.read(PAGE_BYTES):
                yield page
    except OSError:  # what was read so far is what there is
        return


def _wal_pages(path: Path) -> Iterator[bytes]:
    """The pages of whole transactions: what SQLite would read itself."""
    try:
        with path.open("rb") as file:
            yield from _frames(file)
    except OSError:
        return


def _frames(file: BinaryIO) -> Iterator[bytes]:
    header = file.read(_WAL_HEADER_BYTES)
    if len(header) < _WAL_HEADER_BYTES:
        return
    order = _WAL_MAGIC.get(int.from_bytes(header[:4]))
    if order is None or int.from_bytes(header[8:12]) != PAGE_BYTES:
        return
    total = _checksum(header[:24], (0, 0), order)
    if total != struct.unpack(">2I", header[24:]):
        return
    transaction: list[bytes] = []
    while len(frame := file.read(_FRAME_HEADER_BYTES + PAGE_BYTES)) == _FRAME_HEADER_BYTES + PAGE_BYTES:
        head, page = frame[:_FRAME_HEADER_BYTES], frame[_FRAME_HEADER_BYTES:]
        total = _checksum(page, _checksum(head[:8], total, order), order)
        if head[8:16] != header[16:24] or total != struct.unpack(">2I", head[16:]):
            return  # the rest is older than the file's header, or was never finished
        transaction.append(page)
        if int.from_bytes(head[4:8]):  # the last one of its transaction
            yield from transaction
            transaction.clear()


def _checksum(data: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for index in range(0, len(words), 2):
        one = (one + words[index] + two) & 0xFFFFFFFF
        two = (two + words[index + 1] + one) & 0xFFFFFFFF
    return one, two


def _rows(page: bytes) -> Iterator[Row]:
    # the file's first page begins with the file's header, so it is no leaf here: it has no rows of ours
    if len(page) < _PAGE_HEADER_BYTES or page[0] != _LEAF:
        return
    count = int.from_bytes(page[3:5])
    places = page[_PAGE_HEADER_BYTES : _PAGE_HEADER_BYTES + 2 * count]
    for index in range(0, len(places) - 1, 2):
        row = _row(page, int.from_bytes(places[index : index + 2]))
        if row is not None:
            yield row


def _row(page: bytes, place: int) -> Row | None:
    try:
        size, place = _varint(page, place)
        number, place = _varint(page, place)
        if size > _PAYLOAD_MAX_BYTES or place + size > len(page):
            return None
        return number, _columns(page[place : place + size])
    except (IndexError, ValueError, struct.error):  # a page that is cut off, or was never a leaf
        return None


def _columns(payload: bytes) -> tuple[Value, ...]:
    values_at, place = _varint(payload, 0)
    kinds = []
    while place < values_at:
        kind, place = _varint(payload, place)
        kinds.append(kind)
    columns: list[Value] = []
    for kind in kinds:
        value, place = _value(payload, place, kind)
        columns.append(value)
    return tuple(columns)


def _value(payload: bytes, place: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, place
    if kind in (8, 9):
        return kind - 8, place
    size = _INTEGER_BYTES.get(kind) or (8 if kind == 7 else (kind - 12) // 2)
    if kind in (10, 11) or place + size > len(payload):
        raise ValueError("no value")
    data = payload[place : place + size]
    if kind in _INTEGER_BYTES:
        return int.from_bytes(data, signed=True), place + size
    if kind == 7:
        return struct.unpack(">d", data)[0], place + size
    return (data.decode() if kind % 2 else data), place + size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for index in range(place, place + 8):
        value = value << 7 | data[index] & 0x7F
        if data[index] < 0x80:
            return value, index + 1
    return value << 8 | data[place + 8], place + 9

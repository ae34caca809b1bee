"""Weights as the safetensors format keeps them: a header in JSON, then numbers. Nothing is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from streamer.audio import F32

Count = Annotated[int, msgspec.Meta(ge=0, lt=2**40)]


class Tensor(msgspec.Struct, frozen=True):
    """Where an array lies behind the header."""

    dtype: str
    shape: list[Count]
    data_offsets: tuple[Count, Count]


NOTES = "__metadata__"
_HEADER = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_tensors(path: Path) -> dict[str, F32]:
    """All arrays of a file; ValueError where it is none, or has other numbers than float32."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        raise ValueError("the file is cut short")
    try:
        header = _HEADER.decode(content[8 : 8 + length])
        tensors = {
            name: msgspec.json.decode(told, type=Tensor) for name, told in header.items() if name != NOTES
        }
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no safetensors header: {error}") from error
    data = memoryview(content)[8 + length :]
    return {name: _array(name, tensor, data) for name, tensor in tensors.items()}


def _array(name: str, tensor: Tensor, data: memoryview) -> F32:
    begin, end = tensor.data_offsets
    if tensor.dtype != "F32":
        raise ValueError(f"{name} is {tensor.dtype}, not F32")
    if not begin <= end <= len(data) or end - begin != 4 * int(np.prod([1, *tensor.shape], dtype=object)):
        raise ValueError(f"{name} is not where the header says")
    return np.frombuffer(data[begin:end], "<f4").reshape(tensor.shape)

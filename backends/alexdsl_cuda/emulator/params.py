"""Packs kernels' parameters by their PTX types; what an array becomes is for its compiler to say."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

_FORMATS = {
    **{f"{kind}{bits}": code for bits, code in ((8, "B"), (16, "H"), (32, "I"), (64, "Q")) for kind in "bu"},
    "s8": "b", "s16": "h", "s32": "i", "s64": "q", "f32": "f", "f64": "d",
}  # fmt: skip


def pack(places: Iterable[tuple[str, int]], values: Sequence[int | float]) -> bytes:
    """Values in a block of parameters: ``places`` are their PTX types and offsets in bytes.

    Integers are cut to their width; a parameter declared by its bits (``b32``) takes a float as f32 or f64.
    """
    data = bytearray()
    for (type, offset), value in zip(places, values, strict=True):
        width = int(type[1:])
        if isinstance(value, float):
            part = struct.pack({32: "<f", 64: "<d"}[width], value)
        elif type[0] == "f":
            part = struct.pack("<" + _FORMATS[type], value)
        else:
            part = (value & ((1 << width) - 1)).to_bytes(width // 8, "little")
        data += bytes(offset - len(data)) + part
    return bytes(data)

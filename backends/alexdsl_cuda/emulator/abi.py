"""Packs kernels' parameters: values by their PTX types, and arrays as the kernels that Numba compiles expect them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

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


def array(address: int, shape: Sequence[int], itemsize: int, strides: Sequence[int] | None = None) -> list[int]:
    """The parameters that one array becomes in a kernel of Numba's.

    They are the owner of its memory and its Python object (null here), the number of its elements, the bytes of one,
    the address of its data, its shape, and its strides in bytes (row-major if not given).
    """
    count = int(np.prod(shape, dtype=np.int64))
    if strides is None:
        strides = [itemsize * int(np.prod(shape[k + 1 :], dtype=np.int64)) for k in range(len(shape))]
    return [0, 0, count, itemsize, address, *shape, *strides]


def arguments(*values: Any) -> list[int | float]:
    """The parameters that Python arguments become in a kernel of Numba's: NumPy arrays in place, and numbers.

    Complex numbers, tuples and records are not understood. Raises ``TypeError`` for them.
    """
    found: list[int | float] = []
    for value in values:
        if isinstance(value, np.ndarray):
            found += array(value.ctypes.data, value.shape, value.itemsize, value.strides)
        elif isinstance(value, bool | np.bool_ | int | np.integer):
            found.append(int(value))
        elif isinstance(value, float | np.floating):
            found.append(float(value))
        else:
            raise TypeError(f"a kernel of Numba's takes no {type(value).__name__} here")
    return found

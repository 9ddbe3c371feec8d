"""How Numba's kernels take their arguments: an array is seven words, a number itself, each at its own multiple."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from alexdsl_cuda.driver import Argument, Span

ITEMS = {"F1": 4, "U1": 1, "I1": 4, "L1": 8}
"""Bytes of an element, by annotation."""


def words(address: int, count: int, size: int) -> Sequence[int]:
    """An array of one axis, of so many elements of so many bytes, as a kernel's parameters.

    They are two for its owner (none), its elements, the bytes of one, its address, and again its elements and the
    bytes from one to the next.
    """
    return 0, 0, count, size, address, count, size


def pack(args: Sequence[Argument]) -> bytes:
    """The arguments as they lie in a launch's parameters."""
    packed = b""
    for arg in args:
        if isinstance(arg, Span):
            piece = struct.pack("<7q", *words(arg.address, arg.count, ITEMS[arg.annotation]))
        else:
            piece = struct.pack("<f", arg) if isinstance(arg, float) else struct.pack("<i", arg)
        unit = 8 if isinstance(arg, Span) else 4
        packed += bytes(-len(packed) % unit) + piece
    return packed

"""How Numba's kernels take their arguments: an array is seven words, a number itself, each at its own multiple."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from alexdsl_cuda.driver import Argument, Span

ITEMS = {"F1": 4, "U1": 1, "I1": 4, "L1": 8}
"""Bytes of an element, by annotation."""


def pack(args: Sequence[Argument]) -> bytes:
    """The arguments as they lie in a launch's parameters.

    An array of one axis: two words for its owner (none), elements, bytes of one, address, elements again, stride.
    """
    packed = b""
    for arg in args:
        if isinstance(arg, Span):
            size = ITEMS[arg.annotation]
            piece = struct.pack("<QQqqQqq", 0, 0, arg.count, size, arg.address, arg.count, size)
        else:
            piece = struct.pack("<f", arg) if isinstance(arg, float) else struct.pack("<i", arg)
        unit = 8 if isinstance(arg, Span) else 4
        packed += bytes(-len(packed) % unit) + piece
    return packed

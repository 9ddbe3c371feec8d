"""The memory that a checked kernel may touch: allocations, and which of their bytes have been written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

WRITTEN, READ_HERE, WRITTEN_HERE, READ_BEFORE, WRITTEN_BEFORE, ADDED_TO = (1 << k for k in range(6))
"""What is known of a byte: it was written at all; in this launch it was read or written by the present block, or by an
earlier one; and the writes were all atomic."""
LASTING = WRITTEN
"""What is still true after a launch."""
PIECE = 1 << 20
"""Flags that are looked at together."""


@dataclass(frozen=True)
class Allocation:
    """Bytes in a row: their name, address and number, and where their flags begin."""

    name: str
    address: int
    size: int
    first: int


class Memory:
    """Global memory as checked runs see it: what is not allocated may not be touched, what is not written not read."""

    def __init__(self) -> None:
        self.allocations: list[Allocation] = []
        self._arrays: list[npt.NDArray[Any]] = []
        self._flags = np.zeros(1 << 12, np.uint8)
        self._used = 0

    @property
    def flags(self) -> npt.NDArray[np.uint8]:
        """What is known of every byte, allocation after allocation."""
        return self._flags[: self._used]

    def allocate(self, size: int, name: str = "") -> npt.NDArray[np.uint8]:
        """New memory of so many bytes, aligned to 256, none of them written."""
        part = aligned(size, 256)
        self._add(part, name)
        return part

    def array(self, shape: int | Sequence[int], dtype: npt.DTypeLike, name: str = "") -> npt.NDArray[Any]:
        """New memory for an array, none of it written."""
        count = int(np.prod(shape, dtype=np.int64))
        return self.allocate(count * np.dtype(dtype).itemsize, name).view(dtype).reshape(shape)

    def add(self, array: npt.NDArray[Any], name: str = "", *, written: bool = True) -> None:
        """Lets kernels touch an array's memory, all of it written already (or none). It must be contiguous."""
        if not array.flags.c_contiguous:
            raise ValueError("only a contiguous array can be memory")
        self._add(array, name)
        if written:
            self.mark_written(array)

    def mark_written(self, what: npt.NDArray[Any]) -> None:
        """Says that the host wrote an array, all of it."""
        self.known(what.ctypes.data, what.nbytes)[:] |= WRITTEN

    def known(self, address: int, size: int) -> npt.NDArray[np.uint8]:
        """The flags of bytes of one allocation; a view, until more is allocated."""
        for a in self.allocations:
            if a.address <= address and address + size <= a.address + a.size:
                first = a.first + address - a.address
                return self._flags[first : first + size]
        raise ValueError("this memory is not allocated here")

    def find(self, address: int) -> Allocation | None:
        """The allocation that an address lies in or, if it lies in none, the one that is nearest to it."""
        best, least = None, 1 << 62
        for a in self.allocations:
            distance = max(a.address - address, address - (a.address + a.size - 1), 0)
            if distance < least:
                best, least = a, distance
        return best

    def begin_launch(self) -> None:
        """Forgets what is known of the last launch only."""
        for piece in self._known_pieces():
            self._flags[piece] &= LASTING

    def _add(self, array: npt.NDArray[Any], name: str) -> None:
        size = array.nbytes
        if self._used + size > len(self._flags):
            # With room for more, such as a module's variables.
            grown = np.zeros(2 * (self._used + size), np.uint8)
            for piece in self._known_pieces():
                grown[piece] = self._flags[piece]
            self._flags = grown
        name = name or f"allocation {len(self.allocations)}"
        self.allocations.append(Allocation(name, array.ctypes.data, size, self._used))
        self._arrays.append(array)
        self._used += size

    def _known_pieces(self) -> Iterator[slice]:
        """Where flags are set. The system gives zeros memory only where they are written, so no others are."""
        for start in range(0, self._used, PIECE):
            piece = slice(start, min(start + PIECE, self._used))
            if self._flags[piece].any():
                yield piece


def aligned(size: int, align: int) -> npt.NDArray[np.uint8]:
    """Bytes in memory at an address that ``align`` divides."""
    whole = np.empty(size + align, np.uint8)
    start = -whole.ctypes.data % align
    return whole[start : start + size]

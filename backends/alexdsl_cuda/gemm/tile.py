"""A block's tile of a product, and how its threads share the work: what they fetch, keep in shared memory and sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

WARP = 32
BUSY = 256
"""Threads that a multiprocessor needs to multiply at its full rate."""
STRIP = 8
"""Floats along the depth that neighbouring threads fetch of one line: a sector of memory."""

Along = Literal["depth", "width", "run"]


@dataclass(frozen=True)
class Tile:
    """``rows`` x ``columns`` results of a block, summed in slabs of ``depth``; a thread has ``high`` x ``wide``."""

    rows: int
    columns: int
    depth: int
    high: int = 8
    wide: int = 8

    @property
    def threads(self) -> int:
        return self.rows * self.columns // (self.high * self.wide)

    @property
    def sums(self) -> int:
        return self.high * self.wide

    @property
    def resident(self) -> int:
        """Blocks that a multiprocessor shall hold at once: the compiler gets the registers that this leaves."""
        return max(1, min(16, (2 * BUSY if self.threads >= BUSY else 3 * BUSY // 2) // self.threads))

    @cached_property
    def lanes(self) -> tuple[int, int]:
        """How a warp's threads lie over the results: as square as fits, so that they share what they read."""
        warp = min(WARP, self.threads)
        fitting = [
            (warp // across, across)
            for across in range(1, warp + 1)
            if warp % across == 0
            and self.rows % (warp // across * self.high) == 0
            and self.columns % (across * self.wide) == 0
        ]
        return min(fitting, key=sum)

    @property
    def sizes(self) -> Mapping[str, int]:
        return {
            "ROWS": self.rows, "COLUMNS": self.columns, "DEPTH": self.depth, "HIGH": self.high, "WIDE": self.wide,
            "SUMS": self.sums, "THREADS": self.threads, "RESIDENT": self.resident,
        }  # fmt: skip

    @property
    def constants(self) -> Mapping[str, int]:
        """The sizes, and how warps lie over the tile."""
        down, across = self.lanes
        return {
            **self.sizes, "WARP": down * across, "LANES": across, "WARPS": self.columns // (across * self.wide),
            "A_STEP": 4 * down, "B_STEP": 4 * across,
        }  # fmt: skip


@dataclass(frozen=True)
class Operand:
    """One of a tile's two operands: ``width`` lines whose floats lie together along the depth or along the width.

    Threads fetch pieces of ``size`` floats, 4 where the addresses allow it. Along the depth neighbouring threads share
    a strip of a line, and put it across shared memory's rows, whose pitch is such that they meet in no bank. A run
    also lies along the depth, but begins anywhere: its threads fetch the quads that cover it, and up to three floats
    on either side go to rows of shared memory that nobody reads.
    """

    tile: Tile
    width: int
    along: Along
    size: Literal[1, 4]

    @property
    def lanes(self) -> int:
        """Neighbouring threads on one line, if along the depth; on one row of the slab, if along the width."""
        if self.along == "run":
            return -(-(self.tile.depth + 3) // 4)
        return STRIP // self.size if self.along == "depth" else self.width // self.size

    @property
    def fits(self) -> bool:
        return self.tile.threads % self.lanes == 0 and (self.along != "depth" or self.tile.depth % STRIP == 0)

    @property
    def lines(self) -> int:
        """Lines (rows of the slab) that all threads fetch at once."""
        return self.tile.threads // self.lanes

    @property
    def slots(self) -> int:
        """How often a thread fetches for a slab."""
        return -(-(self.tile.depth if self.along == "width" else self.width) // self.lines)

    @property
    def pieces(self) -> int:
        """Pieces of a thread in one slot."""
        return self.tile.depth // STRIP if self.along == "depth" else 1

    @property
    def registers(self) -> int:
        return self.slots * self.pieces * self.size

    @property
    def pitch(self) -> int:
        """Floats from one row of shared memory to the next; lines fetched beyond the width have room, too."""
        if self.along == "width":
            return self.width
        lines = max(self.width, self.slots * self.lines)
        return -(-lines // 8) * 8 + 4

    @property
    def slab(self) -> int:
        """Floats of one slab in shared memory."""
        rows = {"depth": self.tile.depth, "width": self.slots * self.lines, "run": 3 + 4 * self.lanes}
        return self.pitch * rows[self.along]

    def constants(self, name: str) -> Mapping[str, int]:
        return {
            f"{name}_SIZE": self.size, f"{name}_LANES": self.lanes, f"{name}_LINES": self.lines,
            f"{name}_SLOTS": self.slots, f"{name}_PIECES": self.pieces, f"{name}_REGISTERS": self.registers,
            f"{name}_PITCH": self.pitch, f"{name}_SLAB": self.slab,
        }  # fmt: skip


def shared_constants(a: Operand, b: Operand) -> Mapping[str, int]:
    """Two stages of shared memory, each a slab of both operands."""
    stage = a.slab + b.slab
    return {"STAGE": stage, "SHARED": 2 * stage // 4}

"""A block's tile on tensor cores: warps of 64 x 64 results, three slabs of bf16 in shared memory, and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from alexdsl_cuda.gemm.tiles import FLOAT_COST, LAUNCH_COST, PROCESSORS

DEPTH = 32
"""Numbers of a line in a slab: four chunks."""
STAGES = 3
FASTER = 16
"""How many times as many multiply-adds tensor cores do."""
BROUGHT = 16
"""Multiply-adds in whose time a number is brought to shared memory."""


@dataclass(frozen=True)
class WarpTile:
    """``rows`` x ``columns`` results of a block, summed in slabs of DEPTH; a warp has ``high`` x ``wide``."""

    rows: int
    columns: int
    high: int = 64
    wide: int = 64

    @property
    def threads(self) -> int:
        return 32 * self.rows * self.columns // (self.high * self.wide)

    @property
    def stage(self) -> int:
        """Floats of both operands' slabs."""
        return (self.rows + self.columns) * DEPTH // 2

    @property
    def cost(self) -> int:
        """Of a step of the depth, in multiply-adds."""
        return self.rows * self.columns + BROUGHT * (self.rows + self.columns)

    @property
    def constants(self) -> Mapping[str, int]:
        return {
            "ROWS": self.rows, "COLUMNS": self.columns, "DEPTH": DEPTH, "HIGH": self.high, "WIDE": self.wide,
            "WARPS": self.columns // self.wide, "SUMS": self.high * self.wide // 32, "THREADS": self.threads,
            "RESIDENT": 256 // self.threads, "STAGES": STAGES, "STAGE": self.stage,
            "SHARED": STAGES * self.stage // 4, "A_SLAB": self.rows * DEPTH // 2,
        }  # fmt: skip


LARGE = WarpTile(128, 128)
"""The tile of which three slabs just fit, and two blocks a multiprocessor's registers."""
CONVOLVING = (LARGE, WarpTile(128, 64), WarpTile(128, 48, wide=48))
"""Tiles of convolutions; those of few columns are for channels and maps that LARGE would pad."""
CORRELATING = (LARGE, WarpTile(64, 128))
"""Tiles of filters' gradients."""


def tile_of(tiles: Sequence[WarpTile], rows: int, columns: int) -> WarpTile:
    """The tile that takes least: padding is multiplied as all else is, and every number is brought once per tile."""
    return min(tiles, key=lambda t: ceil(rows / t.rows) * ceil(columns / t.columns) * t.cost)


def splits_of(rows: int, columns: int, depth: int, copies: int, tile: WarpTile) -> int:
    """Into how many parts the depth is split: by the work of the busiest multiprocessor and the parts' memory."""
    slabs = ceil(depth / DEPTH)
    blocks = ceil(rows / tile.rows) * ceil(columns / tile.columns) * copies

    def cost(splits: int) -> float:
        each = ceil(slabs / splits) + STAGES
        total = ceil(blocks * splits / PROCESSORS) * PROCESSORS * tile.rows * tile.columns * DEPTH * each / FASTER
        return total + (2 * splits * rows * columns * copies * FLOAT_COST + LAUNCH_COST if splits > 1 else 0)

    wanted: Sequence[int] = range(1, max(1, slabs // 4) + 1)
    best = min(wanted, key=cost)
    return ceil(slabs / ceil(slabs / best))

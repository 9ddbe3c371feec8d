"""Chooses a product's tile and splits: by the work of the busiest multiprocessor, padding and partial sums counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from alexdsl_cuda.gemm.tile import BUSY, Along, Operand, Tile, shared_constants

PROCESSORS = 108
"""Multiprocessors that a launch should fill; a fixed number, so that sums do not depend on the machine."""
SHARED = 48 * 1024
FLOAT_COST = 26
"""Multiply-adds of the whole machine in the time that a float takes to or from memory."""
CACHE_COST = 2
"""The same for a float from the second-level cache, most of which multiplications hide."""
LAUNCH_COST = 40_000_000
"""Multiply-adds of the whole machine in the time of one more launch."""
SPLIT_COST = 1.1
"""What a split product must be faster by."""
SLACK = 1.15
"""Executed over useful multiply-adds that no tile should exceed where another does not."""
FAIR = 0.90
"""``efficiency`` that every tile should have where another has it, as in linear layers."""


def shapes(depth: int) -> Sequence[Tile]:
    """Tiles of that depth; small ones for products of few rows, as of small batches."""
    large = (
        (128, 128), (128, 96), (96, 128), (128, 64), (64, 128), (128, 48), (48, 128), (256, 48),
        (192, 64), (64, 192), (96, 64), (64, 96), (64, 64),
    )  # fmt: skip
    small = ((32, 128, 8, 4), (16, 128, 4, 4), (8, 256, 4, 4))
    return [Tile(rows, columns, depth) for rows, columns in large] + [
        Tile(rows, columns, depth, high, wide) for rows, columns, high, wide in small
    ]


TILES = (*shapes(16), *shapes(8))


@dataclass(frozen=True)
class Side:
    """How an operand lies, whether it comes in quads, and how many instructions find a fetch's place."""

    along: Along
    quads: bool
    finding: int

    def operand(self, tile: Tile, width: int) -> Operand:
        return Operand(tile, width, self.along, 4 if self.quads else 1)


@dataclass(frozen=True)
class Product:
    """``rows`` x ``columns`` sums over ``depth``, ``copies`` of them."""

    rows: int
    columns: int
    depth: int
    copies: int
    a: Side
    b: Side
    splits: bool = True

    def operands(self, tile: Tile) -> tuple[Operand, Operand]:
        return self.a.operand(tile, tile.rows), self.b.operand(tile, tile.columns)

    def fits(self, tile: Tile) -> bool:
        a, b = self.operands(tile)
        # Without a loop all is in flight at once, and takes more registers.
        if not (a.fits and b.fits) or (tile.threads >= BUSY and self.depth <= tile.depth):
            return False
        return 4 * 2 * shared_constants(a, b)["STAGE"] <= SHARED and a.registers + b.registers <= 40

    def blocks(self, tile: Tile) -> int:
        return -(-self.rows // tile.rows) * -(-self.columns // tile.columns) * self.copies

    def executed(self, tile: Tile) -> int:
        """Multiply-adds of all blocks, padding included."""
        slabs = -(-self.depth // tile.depth)
        return self.blocks(tile) * tile.rows * tile.columns * tile.depth * slabs

    @property
    def useful(self) -> int:
        return self.rows * self.columns * self.depth * self.copies


def efficiency(product: Product, tile: Tile) -> float:
    """The part of a thread's instructions that multiply; the others read shared memory, fetch, put, and count."""
    sums = tile.sums * tile.depth
    reads = tile.depth * (tile.high + tile.wide) // 4
    fetches = sum(
        o.slots * side.finding + o.registers // o.size * (4 if o.along == "width" else 7)
        for o, side in zip(product.operands(tile), (product.a, product.b), strict=True)
    )
    return sums / (sums + reads + fetches + 16)


def cost(product: Product, tile: Tile, splits: int) -> float:
    """Multiply-adds of the whole machine in the time of the product."""
    slabs = ceil(ceil(product.depth / tile.depth) / splits)
    # A block starts and ends without multiplying, for about as long as some slabs take. A loop's efficiency weighs more
    # than idle multiprocessors: blocks do not end all at once, as the count of blocks below has it.
    block = tile.rows * tile.columns * (tile.depth * slabs + 48) / efficiency(product, tile) ** 3
    block += (tile.rows + tile.columns) * tile.depth * slabs * CACHE_COST
    blocks = product.blocks(tile) * splits
    resident = min(tile.resident, -(-blocks // PROCESSORS))
    rate = min(1.0, (0.25 + 0.75 * resident * tile.threads / BUSY) if resident * tile.threads < BUSY else 1.0)
    total = -(-blocks // PROCESSORS) * PROCESSORS * block / rate
    if splits > 1:
        # The parts' memory is worth some time, too.
        total *= SPLIT_COST
        total += 2 * splits * product.rows * product.columns * product.copies * FLOAT_COST + LAUNCH_COST
    return total


def choose(product: Product, tiles: Sequence[Tile] = TILES) -> tuple[Tile, int]:
    """The cheapest tile, and into how many parts the depth is split."""
    fitting = [tile for tile in tiles if product.fits(tile)]
    tight = [tile for tile in fitting if product.executed(tile) <= SLACK * product.useful]
    fair = [tile for tile in tight if efficiency(product, tile) >= FAIR]
    found = []
    for tile in fair or tight or fitting:
        slabs = -(-product.depth // tile.depth)
        wanted = {1} | ({n for n in _SPLITS if n <= slabs // 4} if product.splits else set())
        # As many slabs a split, except for the last: no split is empty.
        for splits in {-(-slabs // -(-slabs // n)) for n in wanted}:
            found.append((cost(product, tile, splits), splits, tile.rows, tile.columns, tile.depth, tile))
    if not found:
        raise ValueError(f"no tile fits {product}")
    best = min(found, key=lambda entry: entry[:-1])
    return best[-1], best[1]


_SPLITS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128)

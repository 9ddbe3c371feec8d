"""How a batch's maps are cut into square tiles: images lie beside each other on sheets, and tiles run on across them.

A 13 x 13 map is 9 tiles of 6 x 6, one and a half times its pixels; nine such maps with a line of zeros between are 49.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from alexdsl.layers.window import Axis

MOST = 6
"""Images beside each other on a sheet, at most."""


@dataclass(frozen=True)
class Sheet:
    """``down`` x ``across`` images to a sheet, ``tiles_down`` x ``tiles_across`` tiles to a sheet; images begin every
    ``tall`` rows and ``wide`` columns, and what a tile reads begins ``top`` and ``left`` before what it writes."""

    images: int
    down: int
    across: int
    tiles_down: int
    tiles_across: int
    tall: int
    wide: int
    top: int
    left: int

    @property
    def tiles(self) -> int:
        return -(-self.images // (self.down * self.across)) * self.tiles_down * self.tiles_across

    @property
    def sizes(self) -> Sequence[int]:
        """The sheet as kernels take it."""
        return (
            self.down, self.across, self.tiles_down, self.tiles_across, self.tall, self.wide, self.top, self.left,
        )  # fmt: skip


def sheet(images: int, rows: Axis, columns: Axis, step: int) -> Sheet:
    """The sheet of fewest tiles of ``step`` x ``step`` outputs, and of those the smallest."""
    found = []
    for down, across in product(range(1, min(MOST, images) + 1), repeat=2):
        if down * across > images:
            continue
        tall, wide = _period(rows), _period(columns)
        tiles_down = -(-((down - 1) * tall + rows.out) // step)
        tiles_across = -(-((across - 1) * wide + columns.out) // step)
        found.append(Sheet(images, down, across, tiles_down, tiles_across, tall, wide, rows.before, columns.before))
    return min(found, key=lambda s: s.tiles)


def _period(axis: Axis) -> int:
    """From one image to the next: no window reads two, and every pixel has a place."""
    return max(axis.out, axis.size + max(axis.before, axis.after, 0))


def turned(axis: Axis) -> Axis:
    """The axis of the data gradient: windows over the outputs' gradient, with the flipped filters."""
    before, after = axis.kernel - 1 - axis.before, axis.kernel - 1 - axis.after
    return Axis(axis.out, axis.kernel, 1, before, after, 1, axis.size)

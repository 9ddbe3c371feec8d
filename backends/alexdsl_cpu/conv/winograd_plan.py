"""How a pass of a convolution is cut into Winograd's tiles: its sizes, what lies where, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from alexdsl_cpu.conv.shape import Shape
from alexdsl_cpu.conv.sheet import Sheet, sheet, turned
from alexdsl_cpu.dialect import LANES
from alexdsl_cpu.offer import padded
from alexdsl_cpu.product import ROWS, vectors_for

BLOCK = 3 << 17
"""float32 numbers of the points of a block of tiles (1.5 MiB)."""
UNITS, LEAST = 16, 24
"""Blocks of tiles for workers to have something to do, but of so many tiles that reading the filters is worth it."""
CHUNK = 1 << 22
"""float32 numbers of the points that a weight gradient holds at once (16 MiB)."""
MANY, STAGE = 5 << 19, 1 << 23
"""float32 numbers of transformed filters beyond which every block of tiles would read them anew from memory (10 MiB),
so that products are made point by point instead; and of the points that are held at once then (32 MiB)."""
DEPTHS = 2 * LANES
"""Depth of a unit of work of the filters' transform."""
TILES = 4
"""Tiles of a unit of work where tiles are only transformed."""
RATE, TILES_RATE, FILTERS_RATE, BYTES, MEMORY = 75e9, 1.5e9, 0.8e9, 25e9, 15e9
"""Of one core, for the cost: multiply-adds of products, numbers of tiles and of filters transformed, bytes of filters
read again by every block of tiles, and bytes of points that wait in memory for their stage, in a second."""


@dataclass(frozen=True)
class Plan:
    """A pass of a convolution by tiles of ``step`` x ``step`` outputs: x, of ``inputs`` maps, gives ``outputs``."""

    shape: Shape
    step: int
    sheet: Sheet
    inputs: int
    outputs: int

    @property
    def taps(self) -> int:
        return self.shape.rows.kernel

    @property
    def side(self) -> int:
        """Points along an axis."""
        return self.step + self.taps - 1

    @property
    def points(self) -> int:
        return self.side**2

    @property
    def vectors(self) -> int:
        """Vectors of a block's rows in products; their columns are what lies in vectors last."""
        return vectors_for(self.inputs if self.shape.head == "conv_weight_grad" else self.outputs)

    @property
    def wide(self) -> int:
        """Columns of a block in products."""
        return LANES * self.vectors

    @property
    def rows(self) -> int:
        return ROWS[self.vectors]

    @property
    def deep(self) -> int:
        """Numbers of a tile's point on the side that products sum over, or whose rows they make."""
        return up(self.outputs if self.shape.head == "conv_weight_grad" else self.inputs, LANES)

    @property
    def broad(self) -> int:
        """Numbers of a tile's point on the side of the columns."""
        return up(self.inputs if self.shape.head == "conv_weight_grad" else self.outputs, self.wide)

    @property
    def block(self) -> int:
        """Tiles of a block, at once in a worker's caches; enough blocks for many workers."""
        most = BLOCK // (self.points * (self.deep + self.wide))
        return up(min(most, max(LEAST, -(-self.sheet.tiles // UNITS))), self.rows)

    @property
    def chunk(self) -> int:
        """Tiles of a weight gradient that are transformed before their products are added up."""
        most = max(1, CHUNK // (self.points * (self.deep + self.broad)))
        return -(-self.sheet.tiles // -(-self.sheet.tiles // most))

    @property
    def staged(self) -> bool:
        """Whether products are made point by point, of many tiles."""
        return self.shape.head != "conv_weight_grad" and self.filters > MANY

    @property
    def stage(self) -> int:
        """Tiles that are transformed before their products are made, where those are made point by point."""
        most = max(1, STAGE // (self.points * (self.deep + self.broad)))
        return -(-self.sheet.tiles // -(-self.sheet.tiles // most))

    @property
    def scratch(self) -> int:
        """A worker's numbers for one tile, or for filters."""
        reading, writing = 2 * self.points * LANES, self.step * self.side * LANES + self.step**2 * self.wide
        filters = (self.taps * (self.taps + self.side) + self.taps**2 * LANES) * LANES
        return padded(max(reading, writing, filters))

    @property
    def filters(self) -> int:
        """Numbers of the transformed filters."""
        panels = self.shape.groups * self.broad // self.wide
        return padded(panels * self.points * (self.inputs * self.wide + LANES))

    @property
    def share(self) -> int:
        """A worker's numbers."""
        return padded(self.points * (self.block * (self.deep + self.wide) + 2 * LANES) + self.scratch)

    @property
    def load(self) -> int:
        """Tiles of all groups, as two workers who take blocks in turn have them: twice those of whom ends later."""
        tiles = self.shape.groups * self.sheet.tiles
        if self.shape.head == "conv_weight_grad" or self.staged:
            return tiles
        turns, rest = divmod(tiles, 2 * self.block)
        return 2 * (turns * self.block + min(rest, self.block))

    @property
    def cost(self) -> float:
        """Seconds of one core."""
        filters = self.shape.groups * self.points * self.deep * self.broad
        multiply_adds = self.load * self.points * self.deep * self.broad
        transformed = self.load * self.points * (self.deep + self.broad)
        read = 4 * filters * -(-self.sheet.tiles // (self.stage if self.staged else self.block))
        moved = 2 * 4 * transformed if self.staged else 0
        work = multiply_adds / RATE + transformed / TILES_RATE + filters / FILTERS_RATE
        return work + read / BYTES + moved / MEMORY


def up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def plan_of(shape: Shape, step: int) -> Plan:
    rows, columns, inputs, outputs = shape.rows, shape.columns, shape.inputs, shape.filters
    if shape.head == "conv_input_grad":
        rows, columns, inputs, outputs = turned(rows), turned(columns), outputs, inputs
    return Plan(shape, step, sheet(shape.images, rows, columns, step), inputs, outputs)

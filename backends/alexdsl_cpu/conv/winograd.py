"""Winograd's strategies: which tiles a shape may be cut into, what each costs, and the launches of the chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Registry
from alexdsl_cpu.conv.shape import Shape
from alexdsl_cpu.conv.sheet import Sheet, sheet, turned
from alexdsl_cpu.conv.transforms import ONES, line, transforms, transpose
from alexdsl_cpu.conv.winograd_kernels import winograd, winograd_filters, winograd_fold, winograd_sums, winograd_tiles
from alexdsl_cpu.dialect import LANES
from alexdsl_cpu.offer import SLOTS, Args, Call, Constants, padded, tail, with_extra
from alexdsl_cpu.product import ROWS, block, vectors_for

STEPS = {3: (4, 5, 6), 5: (3, 4)}
"""Outputs of a tile along an axis, by the taps of a filter."""
NAME = "winograd"
BLOCK = 3 << 17
"""float32 numbers of the points of a block of tiles (1.5 MiB)."""
UNITS, LEAST = 16, 24
"""Blocks of tiles for workers to have something to do, but of so many tiles that reading the filters is worth it."""
CHUNK = 1 << 22
"""float32 numbers of the points that a weight gradient holds at once (16 MiB)."""
TILES = 4
"""Tiles of a unit of work where tiles are only transformed."""
RATE, TILES_RATE, FILTERS_RATE, BYTES = 75e9, 1.5e9, 0.8e9, 25e9
"""Of one core, for the cost: multiply-adds of products, numbers of tiles and of filters transformed, and bytes of
filters read again by every block of tiles, in a second."""


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
        return _up(self.outputs if self.shape.head == "conv_weight_grad" else self.inputs, LANES)

    @property
    def broad(self) -> int:
        """Numbers of a tile's point on the side of the columns."""
        return _up(self.inputs if self.shape.head == "conv_weight_grad" else self.outputs, self.wide)

    @property
    def block(self) -> int:
        """Tiles of a block, at once in a worker's caches; enough blocks for many workers."""
        most = BLOCK // (self.points * (self.deep + self.wide))
        return _up(min(most, max(LEAST, -(-self.sheet.tiles // UNITS))), self.rows)

    @property
    def chunk(self) -> int:
        """Tiles of a weight gradient that are transformed before their products are added up."""
        most = max(1, CHUNK // (self.points * (self.deep + self.broad)))
        return -(-self.sheet.tiles // -(-self.sheet.tiles // most))

    @property
    def scratch(self) -> int:
        """A worker's numbers for one tile."""
        reading, writing = 2 * self.points * LANES, self.step * self.side * LANES + self.step**2 * self.wide
        return padded(max(reading, writing))

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
    def cost(self) -> float:
        """Seconds of one core."""
        tiles, groups = self.sheet.tiles, self.shape.groups
        multiply_adds = tiles * self.points * self.deep * self.broad
        transformed, filters = self.points * tiles * (self.deep + self.broad), self.points * self.deep * self.broad
        read = 4 * filters * -(-tiles // self.block)
        return groups * (multiply_adds / RATE + transformed / TILES_RATE + filters / FILTERS_RATE + read / BYTES)


def _up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def strategies(shape: Shape) -> Sequence[Strategy]:
    """A strategy for every tile that fits; none where windows are not square, not near, or not of taps that pay."""
    rows, columns = shape.rows, shape.columns
    plain = all(a.stride == a.dilation == 1 for a in (rows, columns)) and rows.kernel == columns.kernel
    steps = STEPS.get(rows.kernel, ()) if plain else ()
    found = []
    for step in steps:
        plan = _plan(shape, step)
        floats = _Sums(plan).end if shape.head == "conv_weight_grad" else plan.filters + SLOTS * plan.share
        found.append(Strategy(f"{NAME}{step}", 4 * floats, plan.cost))
    return found


def _plan(shape: Shape, step: int) -> Plan:
    rows, columns, inputs, outputs = shape.rows, shape.columns, shape.inputs, shape.filters
    if shape.head == "conv_input_grad":
        rows, columns, inputs, outputs = turned(rows), turned(columns), outputs, inputs
    return Plan(shape, step, sheet(shape.images, rows, columns, step), inputs, outputs)


def calls(op: Op, shape: Shape, registry: Registry) -> Sequence[Call]:
    """The launches of an op under the strategy that it names."""
    plan = _plan(shape, int(op.attrs["strategy"].removeprefix(NAME)))
    names = [f"%{name}" for name in op.operands]
    if shape.head == "conv_weight_grad":
        return _weight_grad(plan, names, [f"%{r.name}" for r in op.results])
    forward = shape.head == "conv"
    x, weight = (names[0], names[1]) if forward else (names[1], names[0])
    matrices = transforms(plan.step, plan.taps)
    epilogue, y = tail(op, registry), f"%{op.name}"
    other = names[-1] if len(epilogue.args) == 2 else y
    bias = forward and shape.bias
    points: Constants = {"POINTS": plan.side, "WIDE": plan.wide}
    taps: Constants = {"TAPS": plan.taps, "TURNED": not forward, "SPREAD": line(matrices.kernel)}
    filters: Args = (weight, "workspace", shape.filters, shape.inputs, plan.broad, plan.filters, plan.share)
    args: Args = (
        x, names[2] if bias else y, other, y, "workspace", shape.groups, plan.sheet.tiles, plan.block, plan.filters,
        plan.share, *plan.sheet.sizes,
    )  # fmt: skip
    constants: Constants = {
        **points, "STEP": plan.step, "SPREAD": line(matrices.input), "GATHER": line(matrices.output),
        "ROWS": plan.rows, "BLOCK": block(plan.rows, plan.vectors), "BIAS": bias, "EPILOGUE": with_extra(epilogue),
    }  # fmt: skip
    return [
        Call(winograd_filters, filters, shape.groups * plan.broad // LANES, {**points, **taps}),
        Call(winograd, args, -(-plan.sheet.tiles // plan.block), constants),
    ]


@dataclass(frozen=True)
class _Sums:
    """Where a weight gradient's workspace holds what: points of gradients and of inputs, their products' sums, the
    sums of gradients, and the workers' scratch."""

    plan: Plan

    @property
    def grads_apart(self) -> int:
        return self.plan.chunk * self.plan.deep + LANES

    @property
    def inputs_at(self) -> int:
        # Rows of products are rounded up to whole blocks: the last reads a little beyond.
        return self.plan.points * self.grads_apart + LANES

    @property
    def inputs_apart(self) -> int:
        return self.plan.chunk * self.plan.broad + LANES

    @property
    def sums_at(self) -> int:
        return self.inputs_at + self.plan.points * self.inputs_apart

    @property
    def sums_apart(self) -> int:
        return _up(self.plan.outputs, self.plan.rows) * self.plan.broad + LANES

    @property
    def bias_at(self) -> int:
        return self.sums_at + self.plan.points * self.sums_apart

    @property
    def scratch_at(self) -> int:
        return self.bias_at + self.plan.deep

    @property
    def end(self) -> int:
        return self.scratch_at + SLOTS * self.plan.scratch


def _weight_grad(plan: Plan, names: Sequence[str], made: Sequence[str]) -> Sequence[Call]:
    """Chunk by chunk: the tiles of inputs and of gradients, then their products; at last the filters."""
    shape, at, matrices = plan.shape, _Sums(plan), transforms(plan.step, plan.taps)
    x, dy = names
    inputs, grads = plan.sheet.sizes, replace(plan.sheet, top=0, left=0).sizes
    scratch = (at.scratch_at, plan.scratch)
    tiles: Constants = {"STEP": plan.step, "POINTS": plan.side, "TILES": TILES}
    read: Constants = {**tiles, "SPREAD": line(matrices.input)}
    spread: Constants = {**tiles, "SPREAD": line(transpose(matrices.output))}
    multiply: Constants = {
        "ROWS": plan.rows, "WIDE": plan.wide, "BLOCK": block(plan.rows, plan.vectors),
        "ONES": ONES * (plan.side + 1),
    }  # fmt: skip
    fold: Constants = {
        "TAPS": plan.taps, "POINTS": plan.side, "GATHER": line(transpose(matrices.kernel)), "BIAS": len(made) == 2,
    }  # fmt: skip
    found = []
    for group in range(shape.groups):
        channel, filter = group * shape.inputs, group * shape.filters
        for first in range(0, plan.sheet.tiles, plan.chunk):
            count = min(plan.chunk, plan.sheet.tiles - first)
            for source, width, start, size, to, row, apart, places, constants in (
                (x, shape.inputs, channel, plan.side, at.inputs_at, plan.broad, at.inputs_apart, inputs, read),
                (dy, shape.filters, filter, plan.step, 0, plan.deep, at.grads_apart, grads, spread),
            ):
                args: Args = (
                    source, "workspace", first, count, start, width, size, to, row, apart, *scratch, *places,
                )  # fmt: skip
                found.append(Call(winograd_tiles, args, -(-count // TILES), constants))
            args = (
                "workspace", count, 0, plan.deep, at.grads_apart, at.inputs_at, plan.broad, at.inputs_apart,
                at.sums_at, at.sums_apart, at.bias_at, shape.filters, int(first > 0),
            )  # fmt: skip
            found.append(Call(winograd_sums, args, plan.points, multiply))
        args = (
            made[0], made[-1], "workspace", at.sums_at, plan.broad, at.sums_apart, at.bias_at, shape.inputs, filter,
            *scratch,
        )  # fmt: skip
        found.append(Call(winograd_fold, args, shape.filters, fold))
    return found

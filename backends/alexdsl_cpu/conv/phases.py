"""The input's gradient of strided convolutions, phase by phase: pixels a stride apart are read by the same taps.

Each phase is a convolution of dy with stride 1 and with its own taps of the filters, turned: no tap meets a zero
between dy's pixels, and no window is written. Bands of dy's rows are copied between zeros, and multiplied in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Registry
from alexdsl.layers.window import Axis
from alexdsl_cpu.conv.in_place_kernels import copy_band
from alexdsl_cpu.conv.shape import Shape
from alexdsl_cpu.dialect import F1, F2, F4, LANES, Function, f32
from alexdsl_cpu.offer import SLOTS, Args, Call, Constants, padded, tail, with_extra
from alexdsl_cpu.product import block, rows_for, vectors_for

NAME = "phases"
BAND = 5
"""Rows of a phase that are a unit of work."""
RATE, MOVED = 75e9, 2e9
"""Of one core, for the cost: multiply-adds, and numbers of filters and maps moved, in a second."""


@kernel
def columns_of_phase(
    lo: int, hi: int, slot: int, weight: F2, work: F1, start: int, maps: int, rows: int, columns: int, first_row: int,
    first_column: int, down: int, across: int, width: int, *, WIDE,
):  # fmt: skip
    """work[panel, row, column, filter, WIDE] = every ``down``-th row and ``across``-th column of the filters, back to
    front; zeros after the last of ``maps``. A unit is a panel of WIDE maps."""
    filters = weight.shape[0]
    for panel in range(lo, hi):
        first, at = panel * WIDE, start + panel * rows * columns * filters * WIDE
        count = min(WIDE, maps - first)
        for i in range(rows):
            for j in range(columns):
                tap = (first_row + (rows - 1 - i) * down) * width + first_column + (columns - 1 - j) * across
                for o in range(filters):
                    numbers, row = weight[o, tap * maps + first : tap * maps + first + count], work[at : at + WIDE]
                    for c in range(count):
                        row[c] = numbers[c]
                    for c in range(count, WIDE):
                        row[c] = f32(0.0)
                    at += WIDE


@kernel
def input_grad_phase(
    lo: int, hi: int, slot: int, dy: F4, other: F4, dx: F4, work: F1, filters: int, start: int, share: int, height: int,
    width: int, before: int, left: int, line: int, runs: int, depth: int, row: int, column: int, down: int, across: int,
    *, BAND, ROWS, WIDE, BLOCK: Function, EPILOGUE: Function,
):  # fmt: skip
    """dx = EPILOGUE(the gradient) of ``height`` x ``width`` pixels, every ``down``-th row from ``row`` on and every
    ``across``-th column from ``column`` on; a unit is a band of rows.

    A window is ``runs`` runs of ``depth`` numbers of dy, a run in each of its rows; the first begins ``before`` rows
    and ``left`` numbers before dy's first pixel.
    """
    step, maps, bands = dy.shape[3], dx.shape[3], (height + BAND - 1) // BAND
    wide = (maps + WIDE - 1) // WIDE * WIDE
    sums = work[start + slot * share : start + (slot + 1) * share]
    band = sums[width * wide :]
    for unit in range(lo, hi):
        n, first = unit // bands, unit % bands * BAND
        rows = min(BAND, height - first)
        if runs:
            copy_band(dy, n, first - before, rows + runs - 1, left, line, band)
        for y in range(rows):
            for j in range(0, maps, WIDE):
                columns = work[filters + j * runs * depth :]
                for i in range(0, width, ROWS):
                    # The last block reaches back: it makes some pixels twice, but reads whole windows.
                    x = min(i, width - ROWS)
                    place, target = y * line + x * step, x * wide + j
                    BLOCK(band, place, step, line, 1, columns, 0, WIDE, sums, target, wide, runs, depth, False)
            result, more = dx[n, (first + y) * down + row], other[n, (first + y) * down + row]
            for pixel in range(width):
                out, extra = result[pixel * across + column], more[pixel * across + column]
                made = sums[pixel * wide : pixel * wide + maps]
                for c in range(maps):
                    out[c] = EPILOGUE(made[c], extra[c])


@dataclass(frozen=True)
class Phase:
    """The pixels of an axis that lie a stride apart: the first, how many, the first of the taps that read them, how
    many those are, and how far before the axis of dy the first pixel's window begins."""

    first: int
    count: int
    tap: int
    taps: int
    before: int


def phases_of(axis: Axis) -> Sequence[Phase]:
    """An axis's pixels by what remains of their place over the stride."""
    found = []
    for first in range(min(axis.stride, axis.size)):
        tap = (first + axis.before) % axis.stride
        taps = -(-max(0, axis.kernel - tap) // axis.stride)
        before = taps - 1 - (first + axis.before - tap) // axis.stride
        found.append(Phase(first, -(-(axis.size - first) // axis.stride), tap, taps, before))
    return found


@dataclass(frozen=True)
class Plan:
    """What is done: the shape, and the phases of rows and of columns."""

    shape: Shape
    rows: Sequence[Phase]
    columns: Sequence[Phase]

    @property
    def wide(self) -> int:
        return LANES * vectors_for(self.shape.inputs)

    @property
    def filled(self) -> int:
        """Maps rounded up to whole blocks."""
        return -(-self.shape.inputs // self.wide) * self.wide

    @property
    def width(self) -> int:
        """Pixels of the shortest rows."""
        return min(phase.count for phase in self.columns)

    @property
    def block(self) -> int:
        """Pixels of a block."""
        return rows_for(self.width, self.wide // LANES)

    @property
    def packed(self) -> int:
        """Numbers of the filters by columns, all phases together."""
        return padded(self.shape.rows.kernel * self.shape.columns.kernel * self.shape.filters * self.filled)

    def line(self, columns: Phase) -> int:
        """Numbers of a row of a phase's band."""
        return (columns.count + columns.taps - 1) * self.shape.filters

    @property
    def share(self) -> int:
        """A worker's numbers: a row of sums, and a band of dy."""
        sums = max(phase.count for phase in self.columns) * self.filled
        tall = BAND + max(phase.taps for phase in self.rows) - 1
        return padded(sums + tall * max(self.line(phase) for phase in self.columns))

    @property
    def cost(self) -> float:
        """Seconds of one core."""
        adds, moved = 0, self.packed
        for rows, columns in product(self.rows, self.columns):
            made = rows.count * -(-columns.count // self.block) * self.block * self.filled
            adds += made * rows.taps * columns.taps * self.shape.filters
            bands = -(-rows.count // BAND)
            moved += self.shape.images * bands * (BAND + rows.taps - 1) * self.line(columns)
        return self.shape.images * adds / RATE + moved / MOVED


def plan_of(shape: Shape) -> Plan | None:
    """The plan, where there are strides, no groups and no dilation, and rows are long enough for a block."""
    axes = shape.rows, shape.columns
    if shape.head != "conv_input_grad" or shape.groups > 1 or any(a.dilation > 1 for a in axes):
        return None
    plan = Plan(shape, *(phases_of(axis) for axis in axes))
    strided = any(a.stride > 1 for a in axes)
    reached = all(phase.before >= 0 or not phase.taps for phase in plan.columns)
    return plan if strided and reached and plan.width >= plan.block else None


def strategies(shape: Shape) -> Sequence[Strategy]:
    plan = plan_of(shape)
    return (Strategy(NAME, 4 * (plan.packed + SLOTS * plan.share), plan.cost),) if plan else ()


def calls(op: Op, shape: Shape, registry: Registry) -> Sequence[Call]:
    """The kernel calls of an op: a phase's filters, then its pixels."""
    plan = plan_of(shape)
    assert plan is not None
    (weight, dy), dx = (f"%{name}" for name in op.operands[:2]), f"%{op.name}"
    epilogue, panels = tail(op, registry), plan.filled // plan.wide
    other = f"%{op.operands[-1]}" if len(epilogue.args) == 2 else dx
    constants: Constants = {
        "BAND": BAND, "ROWS": plan.block, "WIDE": plan.wide, "BLOCK": block(plan.block, plan.wide // LANES),
        "EPILOGUE": with_extra(epilogue),
    }  # fmt: skip
    down, across = shape.rows.stride, shape.columns.stride
    found, start = [], 0
    for rows, columns in product(plan.rows, plan.columns):
        taps = rows.taps * columns.taps
        if taps:
            args: Args = (
                weight, "workspace", start, shape.inputs, rows.taps, columns.taps, rows.tap, columns.tap, down, across,
                shape.columns.kernel,
            )  # fmt: skip
            found.append(Call(columns_of_phase, args, panels, {"WIDE": plan.wide}))
        args = (
            dy, other, dx, "workspace", start, plan.packed, plan.share, rows.count, columns.count, rows.before,
            columns.before * shape.filters if taps else 0, plan.line(columns), rows.taps if taps else 0,
            columns.taps * shape.filters, rows.first, columns.first, down, across,
        )  # fmt: skip
        found.append(Call(input_grad_phase, args, shape.images * -(-rows.count // BAND), constants))
        start += taps * shape.filters * plan.filled
    return found

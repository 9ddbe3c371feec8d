"""Convolution that reads windows where they lie: a window's rows are runs of the maps, no im2col is due.

Products are made in registers; the weight gradient sums over whole images there. Where windows reach beyond the image,
a band of its rows is copied between zeros. The input's gradient is the convolution of dy with the filters turned, where
the stride is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Registry
from alexdsl.layers.window import Axis
from alexdsl_cpu.conv.in_place_kernels import add_in_place, columns_of_filters, conv_in_place, weight_grad_in_place
from alexdsl_cpu.conv.shape import Shape
from alexdsl_cpu.dialect import LANES
from alexdsl_cpu.offer import SLOTS, Args, Call, Constants, padded, tail, with_extra
from alexdsl_cpu.product import block, rows_for, vectors_for

NAME = "in_place"
SEGMENTS = 8
"""Parts of the batch whose weight gradients are summed apart, then added in order, for any number of workers."""
BAND, UNITS = 5, 12
"""Output rows of a unit of work, or of a sum in registers; units that there are to be where images are few."""
DEPTH = 1024
"""Numbers of filters that a unit turns into columns: cores then have as much to do."""
RATE, ADDED, MOVED = 75e9, 0.8e9, 1e9
"""Of one core, for the cost: multiply-adds, numbers of segments' sums turned and added, and numbers of filters and maps
moved, in a second."""


@dataclass(frozen=True)
class Plan:
    """The convolution that is done: of x, or of dy with turned filters."""

    head: str
    images: int
    rows: Axis
    columns: Axis
    channels: int
    maps: int
    bias: bool

    @property
    def turned(self) -> bool:
        return self.head == "conv_input_grad"

    @property
    def wide(self) -> int:
        """Columns of a block: filters."""
        return LANES * vectors_for(self.maps)

    @property
    def filled(self) -> int:
        """Filters rounded up to whole blocks."""
        return -(-self.maps // self.wide) * self.wide

    @property
    def depth(self) -> int:
        """Numbers of a window's run."""
        return self.columns.kernel * self.channels

    @property
    def block(self) -> int:
        """Rows of a block: windows, or in the weight gradient numbers of a window's run."""
        count = self.depth if self.head == "conv_weight_grad" else self.columns.out
        return rows_for(count, self.wide // LANES)

    @property
    def cut(self) -> bool:
        """Whether windows reach beyond the image."""
        return any(a.before > 0 or self._span(a) > a.size for a in (self.rows, self.columns))

    @property
    def line(self) -> int:
        """Numbers of a row that windows are read from."""
        return self.channels * (max(self._span(self.columns), self.columns.before) if self.cut else self.columns.size)

    @property
    def tall(self) -> int:
        """Output rows of a unit."""
        return BAND if self.head == "conv_weight_grad" else max(1, min(BAND, self.images * self.rows.out // UNITS))

    @property
    def band(self) -> int:
        """Numbers of a band of rows that is copied."""
        rows = (self.tall - 1) * self.rows.stride + self.rows.reach
        return rows * self.line if self.cut else 0

    @staticmethod
    def _span(axis: Axis) -> int:
        """Pixels from the first window's first, which may lie before the image, to the last one's last."""
        return (axis.out - 1) * axis.stride + axis.reach

    @property
    def sizes(self) -> tuple[int, ...]:
        """line, down, hop, stride, runs, depth, top, left: as the kernels take them."""
        rows, columns = self.rows, self.columns
        top, left = rows.before, columns.before * self.channels
        steps = self.line, rows.dilation, rows.stride, columns.stride * self.channels
        return (*steps, rows.kernel, self.depth, top, left)

    @property
    def packed(self) -> int:
        """float32 numbers of the filters by columns."""
        return padded(self.rows.kernel * self.depth * self.filled)

    @property
    def share(self) -> int:
        """A worker's numbers: a row of sums, or a band of filled gradients, and a band of maps."""
        few = self.filled != self.maps
        sums = self.columns.out * self.filled * ((BAND if few else 0) if self.head == "conv_weight_grad" else 1)
        return padded(sums + self.band)

    @property
    def part(self) -> int:
        """A segment's numbers."""
        numbers = -(-self.depth // self.block) * self.block * self.rows.kernel
        return padded((numbers + 1) * self.filled)

    @property
    def cost(self) -> float:
        """Seconds of one core."""
        rounded = -(-self.columns.out // self.block) * self.block
        if self.head == "conv_weight_grad":
            runs = -(-self.depth // self.block) * self.block
            adds = self.images * self.rows.out * self.columns.out * self.rows.kernel * runs * self.filled
            few = self.images * self.rows.out * self.columns.out * self.filled if self.filled != self.maps else 0
            return adds / RATE + SEGMENTS * self.part / ADDED + (self._copied + few) / MOVED
        adds = self.images * self.rows.out * rounded * self.rows.kernel * self.depth * self.filled
        return adds / RATE + (self._copied + self.packed) / MOVED

    @property
    def _copied(self) -> int:
        return self.images * -(-self.rows.out // self.tall) * self.band


def plan_of(shape: Shape) -> Plan | None:
    """The plan, where runs of windows are whole and there is enough for a block."""
    rows, columns = shape.rows, shape.columns
    if shape.groups > 1 or columns.dilation > 1:
        return None
    plan = Plan(shape.head, shape.images, rows, columns, shape.inputs, shape.filters, shape.bias)
    if plan.turned:
        if rows.stride > 1 or columns.stride > 1 or any(a.reach - 1 < a.before for a in (rows, columns)):
            return None
        rows, columns = (
            Axis(a.out, a.kernel, 1, a.reach - 1 - a.before, 0, a.dilation, a.size) for a in (rows, columns)
        )
        plan = Plan(shape.head, shape.images, rows, columns, shape.filters, shape.inputs, False)
    count = plan.depth if shape.head == "conv_weight_grad" else plan.columns.out
    return plan if count >= plan.block else None


def strategies(shape: Shape) -> Sequence[Strategy]:
    plan = plan_of(shape)
    if plan is None:
        return ()
    first = SEGMENTS * plan.part if shape.head == "conv_weight_grad" else plan.packed
    return (Strategy(NAME, 4 * (first + SLOTS * plan.share), plan.cost),)


def calls(op: Op, shape: Shape, registry: Registry) -> Sequence[Call]:
    """The kernel calls of an op."""
    plan = plan_of(shape)
    assert plan is not None
    names, wide = [f"%{name}" for name in op.operands], plan.wide
    constants: Constants = {
        "BAND": plan.tall, "ROWS": plan.block, "WIDE": wide, "BLOCK": block(plan.block, wide // LANES), "CUT": plan.cut,
        "BIAS": plan.bias,
    }  # fmt: skip
    if shape.head == "conv_weight_grad":
        made = [f"%{r.name}" for r in op.results]
        args: Args = (*names, "workspace", SEGMENTS, plan.part, plan.share, *plan.sizes)
        added: Args = (made[0], made[-1], "workspace", SEGMENTS, plan.part, plan.rows.kernel, plan.depth)
        few: Constants = {"FEW": plan.filled != plan.maps}
        last: Constants = {"ROWS": plan.block, "WIDE": wide, "BIAS": plan.bias}
        return [
            Call(weight_grad_in_place, args, SEGMENTS, {**constants, **few}),
            Call(add_in_place, added, -(-shape.filters // LANES), last),
        ]
    epilogue, y = tail(op, registry), f"%{op.name}"
    x, weight = (names[1], names[0]) if plan.turned else (names[0], names[1])
    bias, other = names[2] if plan.bias else y, names[-1] if len(epilogue.args) == 2 else y
    bands = -(-plan.rows.out // plan.tall)
    args = (x, bias, other, y, "workspace", bands, plan.packed, plan.share, *plan.sizes)
    taps = plan.rows.kernel * plan.columns.kernel
    parts = -(-taps * plan.channels // DEPTH)
    columns: Args = (weight, "workspace", plan.maps, taps, parts)
    return [
        Call(columns_of_filters, columns, plan.filled // wide * parts, {"WIDE": wide, "TURNED": plan.turned}),
        Call(conv_in_place, args, shape.images * bands, {**constants, "EPILOGUE": with_extra(epilogue)}),
    ]

"""Winograd's strategies: which tiles a shape may be cut into, what each costs, and the launches of the chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Registry
from alexdsl_cpu.conv.shape import Shape
from alexdsl_cpu.conv.transforms import PAST, line, transforms
from alexdsl_cpu.conv.winograd_kernels import winograd, winograd_filters
from alexdsl_cpu.conv.winograd_plan import DEPTHS, plan_of
from alexdsl_cpu.conv.winograd_stage import Stage, by_points
from alexdsl_cpu.conv.winograd_sums import Sums, weight_grad
from alexdsl_cpu.offer import SLOTS, Args, Call, Constants, tail, with_extra
from alexdsl_cpu.product import block

STEPS = {3: (4, 5, 6), 5: (3, 4)}
"""Outputs of a tile along an axis, by the taps of a filter."""
NAME = "winograd"


@cache
def strategies(shape: Shape) -> Sequence[Strategy]:
    """A strategy for every tile that fits; none where windows are not square, not near, or not of taps that pay."""
    rows, columns = shape.rows, shape.columns
    plain = all(a.stride == a.dilation == 1 for a in (rows, columns)) and rows.kernel == columns.kernel
    steps = STEPS.get(rows.kernel, ()) if plain else ()
    found = []
    for step in steps:
        plan = plan_of(shape, step)
        floats = plan.filters + SLOTS * plan.share
        if shape.head == "conv_weight_grad":
            floats = Sums(plan).end
        elif plan.staged:
            floats = Stage(plan).end
        found.append(Strategy(f"{NAME}{step}", 4 * floats, plan.cost))
    return found


def calls(op: Op, shape: Shape, registry: Registry) -> Sequence[Call]:
    """The launches of an op under the strategy that it names."""
    plan = plan_of(shape, int(op.attrs["strategy"].removeprefix(NAME)))
    names = [f"%{name}" for name in op.operands]
    if shape.head == "conv_weight_grad":
        return weight_grad(plan, names, [f"%{r.name}" for r in op.results])
    forward = shape.head == "conv"
    x, weight = (names[0], names[1]) if forward else (names[1], names[0])
    matrices = transforms(plan.step, plan.taps)
    epilogue, y = tail(op, registry), f"%{op.name}"
    other = names[-1] if len(epilogue.args) == 2 else y
    bias = forward and shape.bias
    start, share = (Stage(plan).scratch_at, plan.scratch) if plan.staged else (plan.filters, plan.share)
    taps: Constants = {
        "TAPS": plan.taps, "POINTS": plan.side, "WIDE": plan.wide, "TURNED": not forward,
        "SPREAD": line(matrices.kernel), "LAST": line(matrices.kernel, PAST), "DEPTHS": DEPTHS,
    }  # fmt: skip
    filters: Args = (weight, "workspace", shape.filters, shape.inputs, plan.broad, start, share)
    parts = shape.groups * (plan.broad // plan.wide) * -(-plan.inputs // DEPTHS)
    transformed = Call(winograd_filters, filters, parts, taps)
    arrays = names[2] if bias else y, other, y
    write: Constants = {
        "STEP": plan.step, "POINTS": plan.side, "WIDE": plan.wide, "GATHER": line(matrices.output), "BIAS": bias,
        "EPILOGUE": with_extra(epilogue),
    }  # fmt: skip
    if plan.staged:
        return [transformed, *by_points(plan, x, arrays, write)]
    args: Args = (
        x, *arrays, "workspace", shape.groups, plan.sheet.tiles, plan.block, start, share, *plan.sheet.sizes,
    )  # fmt: skip
    constants: Constants = {
        **write, "SPREAD": line(matrices.input), "LAST": line(matrices.input), "ROWS": plan.rows,
        "BLOCK": block(plan.rows, plan.vectors),
    }  # fmt: skip
    return [transformed, Call(winograd, args, -(-plan.sheet.tiles // plan.block), constants)]

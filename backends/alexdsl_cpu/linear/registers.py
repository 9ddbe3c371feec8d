"""Linear layers' gradients by products made in registers: columns are brought together once for many of them.

BLAS is slow on few images and long rows; its packing of the weights then costs more than the products.
"""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Registry
from alexdsl_cpu.dialect import F1, F2, LANES, Function, load_some, prefetch, store
from alexdsl_cpu.linear.sizes import Sizes, made_of, operands_of, other_of, sum_images, update_of
from alexdsl_cpu.offer import Args, Call, Constants, padded, per_worker, tail, with_extra
from alexdsl_cpu.product import block, rows_for
from alexdsl_cpu.sgd import descend

NAME = "registers"
VECTORS = 3
"""Vectors of a block's rows: with 8 rows, that divide batches, the least of the weights is read for a sum."""
WIDE = LANES * VECTORS
BROAD, DEPTH = 4 * WIDE, 256
"""Columns and rows of the weights that the input's gradient brings together at once (192 KiB)."""
SPAN, OUTPUTS = 16, 8
"""Blocks of a unit of the weight gradient: so many of columns that rows are written in long runs, and so many of rows
that what was brought together is worth it."""
STEP_SPAN = 8
"""The same of columns where weights are updated: so many of the weights and velocities that were brought near wait."""
RATE, BYTES = 75e9, 8e9
"""Of one core, for the cost: multiply-adds, and bytes of the weights, in a second."""


@kernel
def gather_columns(x, at, distance, rows, count, panel, wide):
    """panel[row, wide] = ``count`` columns from place ``at`` on, then zeros; rows of x are ``distance`` apart."""
    for row in range(rows):
        for j in range(0, wide, LANES):
            lanes = max(0, min(LANES, count - j))
            store(panel, row * wide + j, load_some(x, at + row * distance + j if lanes else 0, lanes))


@kernel
def input_grad_in_registers(
    lo: int, hi: int, slot: int, weight: F2, dy: F2, other: F2, dx: F2, work: F1, share: int, *, BROAD, DEPTH, ROWS,
    WIDE, BLOCK: Function, EPILOGUE: Function,
):  # fmt: skip
    """dx = EPILOGUE(dy W); a unit is BROAD inputs, whose columns of DEPTH rows of the weights at a time are brought
    together first."""
    images, outputs = dy.shape
    inputs = weight.shape[1]
    flat, grads = weight.reshape(weight.size), dy.reshape(dy.size)
    panel = work[slot * share : (slot + 1) * share]
    sums = panel[DEPTH * BROAD :]
    for unit in range(lo, hi):
        first = unit * BROAD
        count = min(BROAD, inputs - first)
        for k in range(0, outputs, DEPTH):
            deep = min(DEPTH, outputs - k)
            gather_columns(flat, first + k * inputs, inputs, deep, count, panel, BROAD)
            for j in range(0, count, WIDE):
                for i in range(0, images, ROWS):
                    # The last block reaches back: some sums are made twice, each in a place of its own.
                    row, place = min(i, images - ROWS) * outputs + k, i * BROAD + j
                    BLOCK(grads, row, outputs, 0, 1, panel, j, BROAD, sums, place, BROAD, 1, deep, k > 0)
        for n in range(images):
            again = 0 if n < images - images % ROWS else ROWS - images % ROWS
            made, at = sums[(n + again) * BROAD :], first + count
            out, extra = dx[n, first:at], other[n, first:at]
            for j in range(count):
                out[j] = EPILOGUE(made[j], extra[j])


@kernel
def weight_grad_in_registers(
    lo: int, hi: int, slot: int, x: F2, dy: F2, dw: F2, db: F1, work: F1, share: int, span: int, *, OUTPUTS, ROWS, WIDE,
    BLOCK: Function, BIAS,
):  # fmt: skip
    """dW = dy' x and db = the sum of dy; a unit is OUTPUTS outputs, for which columns of x are brought together."""
    images, inputs = x.shape
    outputs = dy.shape[1]
    flat, grads, target = x.reshape(x.size), dy.reshape(dy.size), dw.reshape(dw.size)
    panel = work[slot * share : (slot + 1) * share]
    for unit in range(lo, hi):
        first, last = unit * OUTPUTS, min((unit + 1) * OUTPUTS, outputs)
        for i in range(0, inputs, span):
            # The last columns reach back: some are made twice.
            at = min(i, inputs - span)
            gather_columns(flat, at, inputs, images, span, panel, span)
            for o in range(first, last, ROWS):
                for j in range(0, span, WIDE):
                    place = o * inputs + at + j
                    BLOCK(grads, o, 1, 0, outputs, panel, j, span, target, place, inputs, 1, images, False)
        if BIAS:
            sum_images(dy, first, last, db)


@kernel
def weight_step_in_registers(
    lo: int, hi: int, slot: int, x: F2, dy: F2, weight: F2, velocity: F2, rate: F1, db: F1, lr: float, decay: float,
    momentum: float, work: F1, share: int, span: int, *, OUTPUTS, ROWS, WIDE, BLOCK: Function, BIAS, INSIDE, NESTEROV,
):  # fmt: skip
    """The weights descend by dW = dy' x, and db = the sum of dy; a unit is OUTPUTS outputs, as above."""
    images, inputs = x.shape
    outputs = dy.shape[1]
    flat, grads = x.reshape(x.size), dy.reshape(dy.size)
    weights, velocities = weight.reshape(weight.size), velocity.reshape(velocity.size)
    panel = work[slot * share : (slot + 1) * share]
    sums, step = panel[images * span :], lr * rate[0]
    for unit in range(lo, hi):
        first, last = unit * OUTPUTS, min((unit + 1) * OUTPUTS, outputs)
        for i in range(0, inputs, span):
            # The last columns reach back: some sums are made twice, but no weight descends twice.
            at = min(i, inputs - span)
            gather_columns(flat, at, inputs, images, span, panel, span)
            for o in range(first, last, ROWS):
                for j in range(0, span, WIDE):
                    # While sums are made, the weights that they are for come from memory.
                    for r in range(ROWS):
                        for k in range(j, j + WIDE, LANES):
                            prefetch(weights, (o + r) * inputs + at + k)
                            prefetch(velocities, (o + r) * inputs + at + k)
                    BLOCK(grads, o, 1, 0, outputs, panel, j, span, sums, j, span, 1, images, False)
                for r in range(ROWS):
                    w, v = weight[o + r, i : at + span], velocity[o + r, i : at + span]
                    descend(w, v, sums[r * span + i - at : (r + 1) * span], step, decay, momentum)
        if BIAS:
            sum_images(dy, first, last, db)


def strategies(sizes: Sizes) -> Sequence[Strategy]:
    """Where there are rows enough for a block."""
    cost = sizes.multiply_adds / RATE + sizes.bytes / BYTES
    if sizes.head == "linear_input_grad" and sizes.images >= rows_for(sizes.images, VECTORS):
        return (Strategy(NAME, per_worker(_grad_share(sizes)), cost),)
    whole = sizes.outputs % rows_for(sizes.outputs, VECTORS) == 0 and sizes.inputs >= WIDE
    if sizes.head == "linear_weight_grad" and whole:
        return (Strategy(NAME, per_worker(_weight_share(sizes)), cost),)
    return ()


def calls(op: Op, sizes: Sizes, registry: Registry) -> Sequence[Call]:
    """The kernel call of an op."""
    operands, made = operands_of(op, sizes), made_of(op)
    grad = sizes.head == "linear_weight_grad"
    rows = rows_for(sizes.outputs if grad else sizes.images, VECTORS)
    constants: Constants = {"ROWS": rows, "WIDE": WIDE, "BLOCK": block(rows, VECTORS)}
    if grad:
        unit = OUTPUTS * rows
        units, work = -(-sizes.outputs // unit), ("workspace", _weight_share(sizes), _span(sizes))
        constants = {**constants, "OUTPUTS": unit}
        if sizes.updates:
            more, settings = update_of(op, sizes)
            return [Call(weight_step_in_registers, (*operands, *more, *work), units, {**constants, **settings})]
        constants = {**constants, "BIAS": len(made) == 2}
        return [Call(weight_grad_in_registers, (*operands, made[0], made[-1], *work), units, constants)]
    epilogue = tail(op, registry)
    args: Args = (*operands, other_of(op, epilogue), made[0], "workspace", _grad_share(sizes))
    constants = {**constants, "BROAD": BROAD, "DEPTH": DEPTH, "EPILOGUE": with_extra(epilogue)}
    return [Call(input_grad_in_registers, args, -(-sizes.inputs // BROAD), constants)]


def _grad_share(sizes: Sizes) -> int:
    rows = rows_for(sizes.images, VECTORS)
    return padded((DEPTH + -(-sizes.images // rows) * rows) * BROAD)


def _weight_share(sizes: Sizes) -> int:
    rows = rows_for(sizes.outputs, VECTORS) if sizes.updates else 0
    return padded((sizes.images + rows) * _span(sizes))


def _span(sizes: Sizes) -> int:
    """Columns of x that are brought together at once."""
    return min(STEP_SPAN if sizes.updates else SPAN, sizes.inputs // WIDE) * WIDE

"""Linear layers by a BLAS product per tile."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Registry
from alexdsl_cpu.dialect import F1, F2, Function, N, T, sgemm
from alexdsl_cpu.linear.sizes import Sizes, made_of, operands_of, other_of, sum_images, update_of
from alexdsl_cpu.offer import Args, Call, head_attrs, per_worker, tail, with_extra
from alexdsl_cpu.sgd import descend

NAME = "blas"
TILE = 256
"""Outputs of a unit: a product large enough for BLAS, and units enough for the cores."""
ROWS, COLUMNS = 64, 1024
"""Of a gradient that goes into the weights: outputs of a unit, and inputs that it takes at a time (256 KiB)."""
RATE, BYTES = 70e9, 3e9
"""Of one core, for the cost: multiply-adds, and bytes of the weights, in a second."""


@kernel
def linear(
    lo: int, hi: int, slot: int, x: F2, weight: F2, bias: F1, other: F2, y: F2, *, TILE, BIAS, EPILOGUE: Function,
):  # fmt: skip
    """y = EPILOGUE(x W' + bias); a unit is a tile of outputs for the whole batch."""
    images, inputs = x.shape
    outputs = weight.shape[0]
    flat = y.reshape(y.size)
    for unit in range(lo, hi):
        first = unit * TILE
        count = min(TILE, outputs - first)
        sgemm(N, T, images, count, inputs, 1.0, x, inputs, weight[first:], inputs, 0.0, flat[first:], outputs)
        for n in range(images):
            for j in range(first, first + count):
                y[n, j] = EPILOGUE(y[n, j] + bias[j] if BIAS else y[n, j], other[n, j])


@kernel
def linear_input_grad(lo: int, hi: int, slot: int, weight: F2, dy: F2, other: F2, dx: F2, *, TILE, EPILOGUE: Function):
    """dx = EPILOGUE(dy W); a unit is a tile of inputs for the whole batch."""
    images, outputs = dy.shape
    inputs = weight.shape[1]
    flat, columns = dx.reshape(dx.size), weight.reshape(weight.size)
    for unit in range(lo, hi):
        first = unit * TILE
        count = min(TILE, inputs - first)
        sgemm(N, N, images, count, outputs, 1.0, dy, outputs, columns[first:], inputs, 0.0, flat[first:], inputs)
        for n in range(images):
            for j in range(first, first + count):
                dx[n, j] = EPILOGUE(dx[n, j], other[n, j])


@kernel
def linear_weight_grad(lo: int, hi: int, slot: int, x: F2, dy: F2, dw: F2, db: F1, *, TILE, BIAS):
    """dW = dy' x and db = the sum of dy; a unit is a tile of outputs for the whole batch."""
    images, inputs = x.shape
    outputs = dy.shape[1]
    grads = dy.reshape(dy.size)
    for unit in range(lo, hi):
        first = unit * TILE
        count = min(TILE, outputs - first)
        sgemm(T, N, count, inputs, images, 1.0, grads[first:], outputs, x, inputs, 0.0, dw[first:], inputs)
        if BIAS:
            sum_images(dy, first, first + count, db)


@kernel
def linear_weight_step(
    lo: int, hi: int, slot: int, x: F2, dy: F2, weight: F2, velocity: F2, rate: F1, db: F1, lr: float, decay: float,
    momentum: float, work: F1, *, ROWS, COLUMNS, BIAS, INSIDE, NESTEROV,
):  # fmt: skip
    """The weights descend by dW = dy' x, and db = the sum of dy; a unit is ROWS outputs, COLUMNS inputs at a time."""
    images, inputs = x.shape
    outputs = dy.shape[1]
    flat, grads = x.reshape(x.size), dy.reshape(dy.size)
    sums, step = work[slot * ROWS * COLUMNS :], lr * rate[0]
    for unit in range(lo, hi):
        first = unit * ROWS
        count = min(ROWS, outputs - first)
        for i in range(0, inputs, COLUMNS):
            wide = min(COLUMNS, inputs - i)
            sgemm(T, N, count, wide, images, 1.0, grads[first:], outputs, flat[i:], inputs, 0.0, sums, wide)
            for o in range(count):
                w, v = weight[first + o, i : i + wide], velocity[first + o, i : i + wide]
                descend(w, v, sums[o * wide : (o + 1) * wide], step, decay, momentum)
        if BIAS:
            sum_images(dy, first, first + count, db)


def strategies(sizes: Sizes) -> Sequence[Strategy]:
    return (
        Strategy(
            NAME, per_worker(ROWS * COLUMNS) if sizes.updates else 0, sizes.multiply_adds / RATE + sizes.bytes / BYTES
        ),
    )


def calls(op: Op, sizes: Sizes, registry: Registry) -> Sequence[Call]:
    """The kernel call of an op."""
    operands, made = operands_of(op, sizes), made_of(op)
    if sizes.updates:
        more, constants = update_of(op, sizes)
        constants = {"ROWS": ROWS, "COLUMNS": COLUMNS, **constants}
        return [Call(linear_weight_step, (*operands, *more, "workspace"), -(-sizes.outputs // ROWS), constants)]
    if sizes.head == "linear_weight_grad":
        constants = {"TILE": TILE, "BIAS": len(made) == 2}
        return [Call(linear_weight_grad, (*operands, made[0], made[-1]), -(-sizes.outputs // TILE), constants)]
    epilogue = tail(op, registry)
    args: Args = (*operands, other_of(op, epilogue), made[0])
    constants = {"TILE": TILE, "EPILOGUE": with_extra(epilogue)}
    if sizes.head == "linear_input_grad":
        return [Call(linear_input_grad, args, -(-sizes.inputs // TILE), constants)]
    return [Call(linear, args, -(-sizes.outputs // TILE), {**constants, "BIAS": bool(head_attrs(op)["bias"])})]

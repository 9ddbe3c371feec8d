"""Fully connected layers on the CPU: a BLAS product per tile, or for gradients products made in registers.

BLAS is slow on few images and long rows; its packing of the weights then costs more than the products.
"""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cpu.dialect import F1, F2, LANES, Function, N, T, f32, load_some, sgemm, store
from alexdsl_cpu.offer import (
    Args,
    Call,
    Constants,
    Offer,
    extras,
    head_attrs,
    padded,
    per_worker,
    scalars,
    tail,
    with_extra,
)
from alexdsl_cpu.product import block, rows_for

TILE = 256
"""Outputs of a unit: a product large enough for BLAS, and units enough for the cores."""
VECTORS = 3
"""Vectors of a block's rows: with 8 rows, that divide batches, the least of the weights is read for a sum."""
SPAN, OUTPUTS = 16, 8
"""Blocks of a unit of the weight gradient: so many of columns that rows are written in long runs, and so many of rows
that what was brought together is worth it."""
BLAS, REGISTERS = "blas", "registers"
BLAS_RATE, BLAS_BYTES = 70e9, 3e9
RATE, BYTES = 75e9, 8e9
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
            for j in range(first, first + count):
                db[j] = f32(0.0)
            for n in range(images):
                for j in range(first, first + count):
                    db[j] += dy[n, j]


@kernel
def gather_columns(x, at, distance, rows, count, panel, wide):
    """panel[row, wide] = ``count`` columns from place ``at`` on, then zeros; rows of x are ``distance`` apart."""
    for row in range(rows):
        for j in range(0, wide, LANES):
            lanes = max(0, min(LANES, count - j))
            store(panel, row * wide + j, load_some(x, at + row * distance + j if lanes else 0, lanes))


@kernel
def input_grad_in_registers(
    lo: int, hi: int, slot: int, weight: F2, dy: F2, other: F2, dx: F2, work: F1, share: int, *, ROWS, WIDE,
    BLOCK: Function, EPILOGUE: Function,
):  # fmt: skip
    """dx = EPILOGUE(dy W); a unit is WIDE inputs, whose columns of the weights are brought together first."""
    images, outputs = dy.shape
    inputs = weight.shape[1]
    flat, grads = weight.reshape(weight.size), dy.reshape(dy.size)
    panel = work[slot * share : (slot + 1) * share]
    sums = panel[outputs * WIDE :]
    for unit in range(lo, hi):
        first = unit * WIDE
        count = min(WIDE, inputs - first)
        gather_columns(flat, first, inputs, outputs, count, panel, WIDE)
        for i in range(0, images, ROWS):
            # The last block reaches back: it makes some rows twice.
            n = min(i, images - ROWS)
            BLOCK(grads, n * outputs, outputs, 0, 1, panel, 0, WIDE, sums, n * WIDE, WIDE, 1, outputs, False)
        for n in range(images):
            made, out, extra = sums[n * WIDE :], dx[n, first : first + count], other[n, first : first + count]
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
            for o in range(first, last):
                db[o] = f32(0.0)
            for n in range(images):
                for o in range(first, last):
                    db[o] += dy[n, o]


class Linear(Offer):
    """``linear`` and its two gradients; an epilogue takes elementwise kinds, with at most one further operand."""

    heads = ("linear", "linear_input_grad", "linear_weight_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        # A gradient of maps leaves in rows while what follows wants channels last: only flat values take an epilogue.
        return not keeps and chain[0].name == "linear" and scalars(chain[1:]) and extras(chain[1:]) <= 1

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        return [""] * len(operands), [""] * len(results)

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        images, inputs, outputs = _sizes(op, operands, results)
        blas = Strategy(BLAS, 0, images * inputs * outputs / BLAS_RATE + 4 * inputs * outputs / BLAS_BYTES)
        cost = images * inputs * outputs / RATE + 4 * inputs * outputs / BYTES
        if op.kind.startswith("linear_input_grad") and images >= rows_for(images, VECTORS):
            share = padded((outputs + images) * LANES * VECTORS)
            return (blas, Strategy(REGISTERS, per_worker(share), cost))
        if op.kind == "linear_weight_grad" and outputs % rows_for(outputs, VECTORS) == 0 and inputs >= LANES * VECTORS:
            return (blas, Strategy(REGISTERS, per_worker(images * _span(inputs)), cost))
        return (blas,)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        head = op.kind.split("+")[0]
        names = [f"%{name}" for name in op.operands]
        made = [f"%{r.name}" for r in op.results]
        if op.attrs["strategy"] == REGISTERS:
            return self._in_registers(op, names, made, _sizes(op, operands, results))
        tiles = {"linear": results[0].shape[-1], "linear_input_grad": operands[0].shape[-1]}
        units = -(-tiles.get(head, operands[1].shape[1]) // TILE)
        if head == "linear_weight_grad":
            given = {"TILE": TILE, "BIAS": len(made) == 2}
            return [Call(linear_weight_grad, (*names, made[0], made[-1]), units, given)]
        epilogue = tail(op, self.registry)
        other = names[-1] if len(epilogue.args) == 2 else made[0]
        constants: Constants = {"TILE": TILE, "EPILOGUE": with_extra(epilogue)}
        if head == "linear_input_grad":
            return [Call(linear_input_grad, (*names[:2], other, made[0]), units, constants)]
        bias = bool(head_attrs(op)["bias"])
        args: Args = (names[0], names[1], names[2] if bias else names[1], other, made[0])
        return [Call(linear, args, units, {**constants, "BIAS": bias})]

    def _in_registers(self, op: Op, names: Sequence[str], made: Sequence[str], sizes: Sequence[int]) -> Sequence[Call]:
        images, inputs, outputs = sizes
        wide, grad = LANES * VECTORS, op.kind == "linear_weight_grad"
        rows = rows_for(outputs if grad else images, VECTORS)
        constants: Constants = {"ROWS": rows, "WIDE": wide, "BLOCK": block(rows, VECTORS)}
        if grad:
            unit = OUTPUTS * rows
            args: Args = (*names, made[0], made[-1], "workspace", padded(images * _span(inputs)), _span(inputs))
            given: Constants = {**constants, "OUTPUTS": unit, "BIAS": len(made) == 2}
            return [Call(weight_grad_in_registers, args, -(-outputs // unit), given)]
        epilogue = tail(op, self.registry)
        other = names[-1] if len(epilogue.args) == 2 else made[0]
        args = (*names[:2], other, made[0], "workspace", padded((outputs + images) * wide))
        given = {**constants, "EPILOGUE": with_extra(epilogue)}
        return [Call(input_grad_in_registers, args, -(-inputs // wide), given)]


def _sizes(op: Op, operands: Types, results: Types) -> tuple[int, int, int]:
    """Images, inputs and outputs."""
    if op.kind.startswith("linear_input_grad"):
        return operands[1].shape[0], operands[0].shape[1], operands[0].shape[0]
    if op.kind == "linear_weight_grad":
        return operands[0].shape[0], results[0].shape[1], results[0].shape[0]
    return operands[0].shape[0], operands[1].shape[1], operands[1].shape[0]


def _span(inputs: int) -> int:
    """Columns of x that are brought together at once."""
    wide = LANES * VECTORS
    return min(SPAN, inputs // wide) * wide

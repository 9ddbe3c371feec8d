"""Fully connected layers on the CPU: a BLAS product per tile of outputs."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cpu.dialect import F1, F2, Function, N, T, f32, sgemm
from alexdsl_cpu.offer import Call, Constants, Offer, extras, head_attrs, scalars, tail, with_extra

TILE = 256
"""Outputs of a unit: a product large enough for BLAS, and units enough for the cores."""


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


class Linear(Offer):
    """``linear`` and its two gradients; an epilogue takes elementwise kinds, with at most one further operand."""

    heads = ("linear", "linear_input_grad", "linear_weight_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        # A gradient of maps leaves in rows while what follows wants channels last: only flat values take an epilogue.
        return not keeps and chain[0].name == "linear" and scalars(chain[1:]) and extras(chain[1:]) <= 1

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        return [""] * len(operands), [""] * len(results)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        head = op.kind.split("+")[0]
        names = [f"%{name}" for name in op.operands]
        made = [f"%{r.name}" for r in op.results]
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
        args = (names[0], names[1], names[2] if bias else names[1], other, made[0])
        return [Call(linear, args, units, {**constants, "BIAS": bias})]

"""Momentum updates on the CPU: one pass over weight, velocity and gradient."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Types
from alexdsl_cpu.dialect import F1
from alexdsl_cpu.offer import Call, Offer

BLOCK = 4096


@kernel
def sgd(
    lo: int, hi: int, slot: int, weight: F1, velocity: F1, grad: F1, rate: F1, lr: float, decay: float,
    momentum: float, *, BLOCK, INSIDE,
):  # fmt: skip
    """v = momentum v - lr (decay w + g), w += v; or, outside: v = momentum v + g + decay w, w -= lr v."""
    step = lr * rate[0]
    first, last = lo * BLOCK, min(hi * BLOCK, weight.size)
    w, v, g = weight[first:last], velocity[first:last], grad[first:last]
    for i in range(last - first):
        if INSIDE:
            v[i] = momentum * v[i] - decay * step * w[i] - step * g[i]
            w[i] += v[i]
        else:
            v[i] = momentum * v[i] + g[i] + decay * w[i]
            w[i] -= step * v[i]


class Sgd(Offer):
    """``sgd``, in place."""

    heads = ("sgd",)

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        same = operands[0].layout
        return [same, same, same, ""], [same, same]

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names = [f"%{name}" for name in op.operands]
        numbers = [float(op.attrs[key]) for key in ("lr", "decay", "momentum")]
        constants = {"BLOCK": BLOCK, "INSIDE": op.attrs["velocity"] == "inside"}
        return [Call(sgd, (*names, *numbers), -(-operands[0].elements // BLOCK), constants, grain=16)]

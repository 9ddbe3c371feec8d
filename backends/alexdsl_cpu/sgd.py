"""Momentum updates on the CPU: one pass over weight, velocity and gradient of one parameter or of several."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.offers import several
from alexdsl.ir.protocol import Types
from alexdsl_cpu.dialect import F1
from alexdsl_cpu.offer import Call, Offer

BLOCK = 4096


@kernel
def sgd(
    lo: int, hi: int, slot: int, rate: F1, lr: float, decay: float, momentum: float, blocks: int, *arrays: F1,
    BLOCK, INSIDE,
):  # fmt: skip
    """v = momentum v - lr (decay w + g), w += v; or, outside: v = momentum v + g + decay w, w -= lr v.

    The arrays are w, v and g of every parameter; each has so many blocks, of which the last may find nothing to do.
    """
    step = lr * rate[0]
    for unit in range(lo, hi):
        parameter, block = unit // blocks, unit % blocks
        weight, velocity, grad = arrays[3 * parameter], arrays[3 * parameter + 1], arrays[3 * parameter + 2]
        first, last = block * BLOCK, min((block + 1) * BLOCK, weight.size)
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
        weights = [weight.layout for weight in operands[:-1:3]]
        return [*(same for same in weights for _ in range(3)), ""], [same for same in weights for _ in range(2)]

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        *names, rate = [f"%{name}" for name in op.operands]
        numbers = [float(op.attrs[key]) for key in ("lr", "decay", "momentum")]
        blocks = -(-max(weight.elements for weight in operands[:-1:3]) // BLOCK)
        constants = {"BLOCK": BLOCK, "INSIDE": op.attrs["velocity"] == "inside"}
        units = len(names) // 3 * blocks
        return [Call(several(sgd, len(names)), (rate, *numbers, blocks, *names), units, constants, grain=16)]

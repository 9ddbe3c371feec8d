"""Momentum updates on the CPU."""

from __future__ import annotations

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl_cpu.dialect import F1
from alexdsl_cpu.offer import Constants
from alexdsl_cpu.updates import Update


@kernel
def sgd(
    lo: int, hi: int, slot: int, rate: F1, lr: float, decay: float, momentum: float, blocks: int, *arrays: F1,
    BLOCK, INSIDE, NESTEROV,
):  # fmt: skip
    """v = momentum v - lr (decay w + g), w += v; or, outside: v = momentum v + g + decay w, w -= lr v. Nesterov's
    weight goes by momentum once more, from the new velocity.

    The arrays are w, v and g of every parameter; each has so many blocks, of which the last may find nothing to do.
    """
    step = lr * rate[0]
    for unit in range(lo, hi):
        parameter, block = unit // blocks, unit % blocks
        weight, velocity, grad = arrays[3 * parameter], arrays[3 * parameter + 1], arrays[3 * parameter + 2]
        first, last = block * BLOCK, min((block + 1) * BLOCK, weight.size)
        w, v, g = weight[first:last], velocity[first:last], grad[first:last]
        for i in range(last - first):
            if NESTEROV:
                slope = g[i] + decay * w[i]
                if INSIDE:
                    v[i] = momentum * v[i] - step * slope
                    w[i] += momentum * v[i] - step * slope
                else:
                    v[i] = momentum * v[i] + slope
                    w[i] -= step * (slope + momentum * v[i])
            elif INSIDE:
                v[i] = momentum * v[i] - decay * step * w[i] - step * g[i]
                w[i] += v[i]
            else:
                v[i] = momentum * v[i] + g[i] + decay * w[i]
                w[i] -= step * v[i]


class Sgd(Update):
    """``sgd`` and ``nesterov``."""

    heads = ("sgd", "nesterov")
    function = sgd
    numbers = ("lr", "decay", "momentum")

    def constants(self, op: Op) -> Constants:
        return {"INSIDE": op.attrs["velocity"] == "inside", "NESTEROV": op.kind == "nesterov"}

"""Momentum updates on the CPU."""

from __future__ import annotations

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.kernels import kernel
from alexdsl_cpu.dialect import F1
from alexdsl_cpu.offer import Constants
from alexdsl_cpu.updates import Update


@kernel
def descend(w, v, g, step, decay, momentum, *, INSIDE, NESTEROV):
    """v = momentum v - step (decay w + g), w += v; or, outside: v = momentum v + g + decay w, w -= step v. Nesterov's
    weight goes by momentum once more, from the new velocity."""
    for i in range(len(w)):
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


@kernel
def sgd(
    lo: int, hi: int, slot: int, rate: F1, lr: float, decay: float, momentum: float, blocks: int, *arrays: F1,
    BLOCK, INSIDE, NESTEROV,
):  # fmt: skip
    """Parameters descend. The arrays are w, v and g of every one; each has so many blocks, of which the last may find
    nothing to do."""
    step = lr * rate[0]
    for unit in range(lo, hi):
        parameter, block = unit // blocks, unit % blocks
        weight, velocity, grad = arrays[3 * parameter], arrays[3 * parameter + 1], arrays[3 * parameter + 2]
        first, last = block * BLOCK, min((block + 1) * BLOCK, weight.size)
        descend(weight[first:last], velocity[first:last], grad[first:last], step, decay, momentum)


NUMBERS = ("lr", "decay", "momentum")


def settings(kind: str, attrs: Attrs) -> Constants:
    """What ``descend`` is compiled for."""
    return {"INSIDE": attrs["velocity"] == "inside", "NESTEROV": kind == "nesterov"}


class Sgd(Update):
    """``sgd`` and ``nesterov``."""

    heads = ("sgd", "nesterov")
    function = sgd
    numbers = NUMBERS

    def constants(self, op: Op) -> Constants:
        return settings(op.kind, op.attrs)

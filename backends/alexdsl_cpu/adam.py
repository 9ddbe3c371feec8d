"""Adam on the CPU."""

from __future__ import annotations

import math

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.solvers.adam import constants
from alexdsl_cpu.dialect import F1, L1, f32
from alexdsl_cpu.offer import Constants
from alexdsl_cpu.updates import Update


@kernel
def adam(
    lo: int, hi: int, slot: int, rate: F1, steps: L1, lr: float, beta1: float, beta2: float, epsilon: float,
    decay: float, blocks: int, *arrays: F1, BLOCK, REST1, REST2, LOG1, LOG2, BY_GRADIENT,
):  # fmt: skip
    """m = beta1 m + REST1 g, s = beta2 s + REST2 g g, w -= lr m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + epsilon).

    REST1 and REST2 are 1 - beta1 and 1 - beta2, LOG1 and LOG2 the logarithms of beta1 and beta2. The arrays are w, m, s
    and g of every parameter; each has so many blocks, of which the last may find nothing to do.
    """
    t = f32(steps[0] + 1)
    step = lr * rate[0]
    mean_step, square_part = step / -math.expm1(t * LOG1), f32(1.0) / -math.expm1(t * LOG2)
    for unit in range(lo, hi):
        parameter, block = unit // blocks, unit % blocks
        weight, mean = arrays[4 * parameter], arrays[4 * parameter + 1]
        square, grad = arrays[4 * parameter + 2], arrays[4 * parameter + 3]
        first, last = block * BLOCK, min((block + 1) * BLOCK, weight.size)
        w, m, s, g = weight[first:last], mean[first:last], square[first:last], grad[first:last]
        for i in range(last - first):
            slope = g[i]
            if BY_GRADIENT:
                slope += decay * w[i]
            else:
                w[i] -= step * decay * w[i]
            m[i] = beta1 * m[i] + REST1 * slope
            s[i] = beta2 * s[i] + REST2 * slope * slope
            w[i] -= mean_step * m[i] / (math.sqrt(s[i] * square_part) + epsilon)


class Adam(Update):
    """``adam``."""

    heads = ("adam",)
    function = adam
    numbers = ("lr", "beta1", "beta2", "epsilon", "decay")

    def constants(self, op: Op) -> Constants:
        return constants(op.attrs)

"""Adam on CUDA."""

from __future__ import annotations

import math

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.solvers.adam import constants
from alexdsl_cuda.dialect import F1, L1, Function, cuda, float32, uint32
from alexdsl_cuda.offer import Constants
from alexdsl_cuda.quads import read, write
from alexdsl_cuda.updates import Update


@kernel
def adam(
    rate: F1, steps: L1, lr: float, beta1: float, beta2: float, epsilon: float, decay: float, *arrays: F1,
    SIZE, REST1, REST2, LOG1, LOG2, BY_GRADIENT, PARAMETER: Function, BEFORE: Function,
) -> None:  # fmt: skip
    """m = beta1 m + REST1 g, s = beta2 s + REST2 g g, w -= lr m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + epsilon).

    REST1 and REST2 are 1 - beta1 and 1 - beta2, LOG1 and LOG2 the logarithms of beta1 and beta2. The arrays are w, m, s
    and g of each parameter. A block works on one: PARAMETER, which has so many blocks BEFORE it.
    """
    block = uint32(cuda.blockIdx.x)
    first = uint32(4 * PARAMETER(block))
    weight, mean = arrays[first], arrays[uint32(first + 1)]
    square, grad = arrays[uint32(first + 2)], arrays[uint32(first + 3)]
    at = uint32(((block - BEFORE(block)) * cuda.blockDim.x + cuda.threadIdx.x) * SIZE)
    if at < uint32(weight.size):
        w = cuda.local.array(SIZE, float32)
        m = cuda.local.array(SIZE, float32)
        s = cuda.local.array(SIZE, float32)
        g = cuda.local.array(SIZE, float32)
        read(w, weight, at)
        read(m, mean, at)
        read(s, square, at)
        read(g, grad, at)
        t = float32(steps[0] + 1)
        step = lr * rate[0]
        mean_step, square_part = step / -math.expm1(t * LOG1), float32(1.0) / -math.expm1(t * LOG2)
        for i in range(SIZE):
            slope = g[i]
            if BY_GRADIENT:
                slope += decay * w[i]
            else:
                w[i] -= step * decay * w[i]
            m[i] = beta1 * m[i] + REST1 * slope
            s[i] = beta2 * s[i] + REST2 * slope * slope
            w[i] -= mean_step * m[i] / (math.sqrt(s[i] * square_part) + epsilon)
        write(mean, at, m)
        write(square, at, s)
        write(weight, at, w)


class Adam(Update):
    """``adam``."""

    heads = ("adam",)
    function = adam
    numbers = ("lr", "beta1", "beta2", "epsilon", "decay")

    def constants(self, op: Op) -> Constants:
        return constants(op.attrs)

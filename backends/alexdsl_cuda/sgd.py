"""Momentum updates on CUDA."""

from __future__ import annotations

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl_cuda.dialect import F1, Function, cuda, float32, uint32
from alexdsl_cuda.offer import Constants
from alexdsl_cuda.quads import read, write
from alexdsl_cuda.updates import Update


@kernel
def sgd(
    rate: F1, lr: float, decay: float, momentum: float, *arrays: F1,
    SIZE, INSIDE, NESTEROV, PARAMETER: Function, BEFORE: Function,
) -> None:  # fmt: skip
    """v = momentum v - lr (decay w + g), w += v; or, outside: v = momentum v + g + decay w, w -= lr v. Nesterov's
    weight goes by momentum once more, from the new velocity.

    The arrays are w, v and g of each parameter. A block works on one: PARAMETER, which has so many blocks BEFORE it.
    """
    block = uint32(cuda.blockIdx.x)
    first = uint32(3 * PARAMETER(block))
    weight, velocity, grad = arrays[first], arrays[uint32(first + 1)], arrays[uint32(first + 2)]
    at = uint32(((block - BEFORE(block)) * cuda.blockDim.x + cuda.threadIdx.x) * SIZE)
    if at < uint32(weight.size):
        w = cuda.local.array(SIZE, float32)
        v = cuda.local.array(SIZE, float32)
        g = cuda.local.array(SIZE, float32)
        read(w, weight, at)
        read(v, velocity, at)
        read(g, grad, at)
        step = lr * rate[0]
        for i in range(SIZE):
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
        write(velocity, at, v)
        write(weight, at, w)


class Sgd(Update):
    """``sgd`` and ``nesterov``."""

    heads = ("sgd", "nesterov")
    function = sgd
    numbers = ("lr", "decay", "momentum")

    def constants(self, op: Op) -> Constants:
        return {"INSIDE": op.attrs["velocity"] == "inside", "NESTEROV": op.kind == "nesterov"}

"""Momentum updates on CUDA: one pass over weight, velocity and gradient of one parameter or of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import Scalar, kernel
from alexdsl.ir.offers import several
from alexdsl.ir.protocol import Types
from alexdsl_cuda.dialect import F1, Function, cuda, float32, uint32
from alexdsl_cuda.offer import THREADS, Call, Constants, Offer
from alexdsl_cuda.quads import read, size_of, whole_warps, write


@kernel
def sgd(
    rate: F1, lr: float, decay: float, momentum: float, *arrays: F1,
    SIZE, INSIDE, PARAMETER: Function, BEFORE: Function,
) -> None:  # fmt: skip
    """v = momentum v - lr (decay w + g), w += v; or, outside: v = momentum v + g + decay w, w -= lr v.

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
            if INSIDE:
                v[i] = momentum * v[i] - decay * step * w[i] - step * g[i]
                w[i] += v[i]
            else:
                v[i] = momentum * v[i] + g[i] + decay * w[i]
                w[i] -= step * v[i]
        write(velocity, at, v)
        write(weight, at, w)


class Sgd(Offer):
    """``sgd``, in place."""

    heads = ("sgd",)

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        weights = [weight.layout for weight in operands[:-1:3]]
        return [*(same for same in weights for _ in range(3)), ""], [same for same in weights for _ in range(2)]

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        *names, rate = [f"%{name}" for name in op.operands]
        numbers = [float(op.attrs[key]) for key in ("lr", "decay", "momentum")]
        elements = [weight.elements for weight in operands[:-1:3]]
        size = size_of(*elements)
        block = min(THREADS, whole_warps(max(elements) // size))
        ends = list(accumulate(-(-count // (size * block)) for count in elements))
        constants: Constants = {
            "SIZE": size,
            "INSIDE": op.attrs["velocity"] == "inside",
            "PARAMETER": _rising((end, 1) for end in ends[:-1]),
            "BEFORE": _rising((end, end - start) for start, end in pairwise([0, *ends[:-1]])),
        }
        return [Call(several(sgd, len(names)), (rate, *numbers, *names), (ends[-1], 1, 1), constants, (block, 1, 1))]


def _rising(steps: Iterable[tuple[int, int]]) -> Scalar:
    """A function of a block's number that rises from 0 at each of these blocks by so much."""
    return Scalar(("block",), (), " + ".join(f"({by} if block >= {at} else 0)" for at, by in steps) or "0")

"""Momentum updates on CUDA: one pass over weight, velocity and gradient."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Types
from alexdsl_cuda.dialect import F1, cuda, float32, uint32
from alexdsl_cuda.offer import Call, Offer
from alexdsl_cuda.quads import flat, read, size_of, thread, write


@kernel
def sgd(
    weight: F1, velocity: F1, grad: F1, rate: F1, lr: float, decay: float, momentum: float, count: int, *, SIZE, INSIDE,
) -> None:  # fmt: skip
    """v = momentum v - lr (decay w + g), w += v; or, outside: v = momentum v + g + decay w, w -= lr v."""
    t = thread()
    if t < uint32(count):
        at = uint32(t * SIZE)
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
        same = operands[0].layout
        return [same, same, same, ""], [same, same]

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, elements = [f"%{name}" for name in op.operands], operands[0].elements
        numbers = [float(op.attrs[key]) for key in ("lr", "decay", "momentum")]
        constants = {"SIZE": size_of(elements), "INSIDE": op.attrs["velocity"] == "inside"}
        return [flat(sgd, (*names, *numbers), elements // constants["SIZE"], constants)]

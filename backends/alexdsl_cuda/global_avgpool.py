"""Global average pooling on CUDA."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cuda.dialect import F1, Function, cuda, float32, uint32
from alexdsl_cuda.offer import Call, Constants, Offer, is_tail, tail, with_extra
from alexdsl_cuda.quads import flat, read, size_of, thread, write


@kernel
def global_avgpool(x: F1, y: F1, count: int, *, CHANNELS, PIXELS) -> None:
    """The mean of every map. A thread a map, not four: there are few, and each has many pixels to wait for."""
    t = thread()
    if t < uint32(count):
        at = uint32(t // CHANNELS * (PIXELS * CHANNELS) + t % CHANNELS)
        total = float32(0.0)
        for i in range(PIXELS):
            total += x[uint32(at + i * CHANNELS)]
        y[t] = total * (float32(1.0) / float32(PIXELS))


@kernel
def global_avgpool_grad(
    dy: F1, other: F1, dx: F1, count: int, *, SIZE, CHANNELS, PIXELS, EPILOGUE: Function,
) -> None:  # fmt: skip
    """dx = EPILOGUE(the mean's share of every pixel); a thread makes SIZE channels of a pixel."""
    t = thread()
    if t < uint32(count):
        grad = cuda.local.array(SIZE, float32)
        extra = cuda.local.array(SIZE, float32)
        at = uint32(t * SIZE)
        read(grad, dy, uint32(at // (PIXELS * CHANNELS) * CHANNELS + at % CHANNELS))
        read(extra, other, at)
        for i in range(SIZE):
            grad[i] = EPILOGUE(grad[i] * (float32(1.0) / float32(PIXELS)), extra[i])
        write(dx, at, grad)


class GlobalAvgPool(Offer):
    """``global_avgpool`` and its gradient; the gradient's epilogue takes at most one further operand."""

    heads = ("global_avgpool", "global_avgpool_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and chain[0].name == "global_avgpool_grad" and is_tail(chain[1:])

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, made = [f"%{name}" for name in op.operands], f"%{op.name}"
        maps = operands[0] if op.kind == "global_avgpool" else results[0]
        constants = {"CHANNELS": maps.shape[1], "PIXELS": maps.shape[2] * maps.shape[3]}
        if op.kind == "global_avgpool":
            return [flat(global_avgpool, (*names, made), results[0].elements, constants)]
        epilogue, size = tail(op, self.registry), size_of(maps.shape[1])
        other = names[-1] if len(epilogue.args) == 2 else made
        grads: Constants = {**constants, "SIZE": size, "EPILOGUE": with_extra(epilogue)}
        return [flat(global_avgpool_grad, (names[0], other, made), maps.elements // size, grads)]
